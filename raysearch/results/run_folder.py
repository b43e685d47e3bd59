"""The folder of a run as results need it: that it is one, and its spec."""

from __future__ import annotations

from typing import Any

from raysearch.core.yaml_io import read_yaml
from raysearch.errors import RunError, SpecError
from raysearch.storage.paths import RunPaths


def check_run(paths: RunPaths) -> None:
    """Raises RunError where there is no run."""
    if not paths.root.is_dir():
        raise RunError(f"{paths.root}: there is no such folder, so no run to load")
    if not paths.journal.is_dir():
        runs = [path.parent.name for path in sorted(paths.root.glob("*/journal"))[:5]]
        hint = f"; runs in it: {', '.join(runs)}" if runs else ""
        raise RunError(f"{paths.root}: not a run, it has no journal{hint}")


def read_spec(paths: RunPaths) -> dict[str, Any]:
    """The fields of the run's spec; none where it has no spec. Raises RunError."""
    try:
        spec = read_yaml(paths.spec.read_text(encoding="utf-8"), paths.spec.name)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, SpecError) as error:
        raise RunError(f"{paths.spec}: cannot be read: {error}") from error
    if not isinstance(spec, dict):
        raise RunError(f"{paths.spec}: holds {type(spec).__name__}, not the fields of a spec")
    return spec
