"""What the pages of the Python interface leave out: public names without a docstring, or without a place.

Reads the source and imports nothing, so that no framework of an integration is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
# Modules whose public names must stand on a page: those of `__all__`, or the names here.
PUBLIC: dict[str, tuple[str, ...]] = {
    "raysearch": (),
    "raysearch.schedule": ("Schedule", "Step", "from_dict", "load", "of"),
    "raysearch.sources": ("from_optuna", "from_ray_searcher"),
    **dict.fromkeys((f"raysearch.{name}" for name in ("torch", "torch.scaling", "testing")), ()),
    **dict.fromkeys((f"raysearch.workflows.{name}" for name in ("memory", "plan", "retest", "scaling")), ()),
}
NOT_OBJECTS = {"__version__"}
PRIVATE = ("_", "test_")  # names of tests are sentences
_SHOWN = re.compile(r"^::: (\S+)$", re.MULTILINE)


def missing(folder: Path) -> list[str]:
    """A line for each public name that no page of `folder` shows, and for each one without a docstring."""
    loader = griffe.GriffeLoader(search_paths=[str(ROOT)])
    package = loader.load("raysearch", try_relative_path=False)
    loader.resolve_aliases(implicit=False, external=False)
    text = "\n".join(page.read_text("utf-8") for page in sorted(folder.glob("*.md")))
    shown = {path: package[path.removeprefix("raysearch.")] for path in _SHOWN.findall(text)}
    places = {_home(one) for one in shown.values()}
    lines = [
        f"reference: {name} is public and on no page" for name, home in _public(package) if home not in places
    ]
    return lines + [
        f"{name}: public, and without a docstring" for one in shown.values() for name in _silent(one)
    ]


def _home(one: griffe.Object | griffe.Alias) -> str:
    return one.canonical_path


def _public(package: griffe.Object | griffe.Alias) -> Iterator[tuple[str, str]]:
    """(A name as people import it, where it is defined.)"""
    for module, names in PUBLIC.items():
        loaded = package if module == "raysearch" else package[module.removeprefix("raysearch.")]
        for name in names or map(str, loaded.exports or ()):
            if name not in NOT_OBJECTS:
                found = loaded[name]
                yield f"{module}.{name}", _home(found[name] if found.is_module else found)


def _silent(one: griffe.Object | griffe.Alias) -> Iterator[str]:
    """The names of the object, and of its public functions and classes, that have no docstring."""
    if one.docstring is None:
        yield one.path
    if one.is_class:
        for name, member in one.members.items():
            offered = member.is_function or "property" in member.labels
            if offered and not name.startswith(PRIVATE) and not _documented(one, name):
                yield member.path


def _documented(kind: griffe.Object | griffe.Alias, name: str) -> bool:
    """Whether a method, or the one that it overrides, has a docstring."""
    above = [kind, *(kind.mro() if isinstance(kind, griffe.Class) else ())]
    return any(name in each.members and each.members[name].docstring is not None for each in above)
