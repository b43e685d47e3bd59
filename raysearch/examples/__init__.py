"""Searches on real data that come with the package, each a trainable and a YAML file.

`raysearch launch digits` starts one by its name. The trainables need the extra `examples`; those
of other frameworks lie in `raysearch/integrations/examples` and need that framework's extra.
"""

from __future__ import annotations

from pathlib import Path

from raysearch.errors import SpecError, unknown

_HERE = Path(__file__).parent
_FOLDERS = (_HERE, _HERE.parent / "integrations" / "examples")


def names() -> list[str]:
    """The examples, by the names that `path` and `raysearch launch` take."""
    return sorted(_files())


def path(name: str) -> Path:
    """The YAML file of an example.

    Raises:
        SpecError: there is none of that name.
    """
    files = _files()
    if name not in files:
        raise SpecError(unknown("example", name, sorted(files)))
    return files[name]


def _files() -> dict[str, Path]:
    return {file.stem: file for folder in _FOLDERS for file in folder.glob("*.yaml")}
