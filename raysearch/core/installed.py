"""What installed packages register under a group of entry points."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint
from typing import Any

from raysearch.core.error_text import in_words
from raysearch.errors import SpecError


def names(group: str) -> set[str]:
    """The names that packages register in the group; nothing is imported."""
    return {point.name for point in importlib.metadata.entry_points(group=group)}


def load(group: str, name: str, what: str) -> Any:
    """What the package that registers the name means by it.

    Args:
        what: what it is to the user, such as `strategy`, for errors.

    Raises:
        SpecError: two packages mean different things by the name; or the import fails, whatever is raised
            there, or would end the process.
        KeyError: no package registers the name.
    """
    points = {point.value: point for point in importlib.metadata.entry_points(group=group, name=name)}
    if len(points) > 1:
        listed = ", ".join(f"{_package(point)} ({value})" for value, point in sorted(points.items()))
        raise SpecError(f"{what} {name!r} is registered by several packages: {listed}; uninstall all but one")
    if not points:
        raise KeyError(name)
    ((value, point),) = points.items()
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise SpecError(f"{what} {name!r} ({value}) cannot be imported: {in_words(error)}") from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "a package without a name"
