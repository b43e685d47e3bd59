"""What a shell completes: folders of runs, specs and examples. Looks at names of files alone: it is quick."""

from __future__ import annotations

import os
from pathlib import Path

RUNS = "runs"  # where a spec's runs lie if it does not say otherwise
IS_RUN, SPECS = "spec.yaml", (".yaml", ".yml")


def run_names(incomplete: str) -> list[str]:
    """Runs whose path begins with what is typed, or whose name below `runs/` does; and folders on the way."""
    if "://" in incomplete:
        return []
    found = _beside(incomplete)
    if os.sep not in incomplete:
        found |= {os.path.join(RUNS, name) for name in _names(RUNS) if name.startswith(incomplete)}
    runs = {path for path in found if Path(path, IS_RUN).is_file()}
    ways = {path + os.sep for path in found - runs if _holds_folders(path)}
    return sorted(runs | ways)


def spec_names(incomplete: str) -> list[str]:
    """YAML files and folders whose path begins with what is typed, and the examples that do."""
    from raysearch import examples

    found = _beside(incomplete)
    files = {path for path in found if path.endswith(SPECS)}
    folders = {path + os.sep for path in found if Path(path).is_dir()}
    return sorted(files | folders | {name for name in examples.names() if name.startswith(incomplete)})


def _beside(incomplete: str) -> set[str]:
    """Paths that begin with what is typed; hidden ones only if a dot is."""
    folder, start = os.path.split(incomplete)
    names = [name for name in _names(folder) if name.startswith(start)]
    return {os.path.join(folder, name) for name in names if start or not name.startswith(".")}


def _holds_folders(folder: str) -> bool:
    """Whether runs may lie in the folder."""
    return any(Path(folder, name).is_dir() for name in _names(folder))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(Path(folder or ".").expanduser())
    except OSError:  # there is none, or it may not be read
        return []
