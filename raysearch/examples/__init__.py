"""Searches on real data that come with the package, each a trainable and a YAML file.

`raysearch launch digits` starts one by its name. The trainables need the extra `raysearch[examples]`.
"""

from __future__ import annotations

from pathlib import Path

from raysearch.errors import SpecError, unknown

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The examples, by the names that `path` and `raysearch launch` take."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def path(name: str) -> Path:
    """The YAML file of an example.

    Raises:
        SpecError: there is none of that name.
    """
    if name not in names():
        raise SpecError(unknown("example", name, names()))
    return _FOLDER / f"{name}.yaml"
