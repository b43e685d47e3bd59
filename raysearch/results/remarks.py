"""What readers of a run are to know of its files, where these can be read and are not as they were left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.core.yaml_io import read_yaml
from raysearch.errors import SpecError
from raysearch.storage.journal import reading
from raysearch.storage.journal.schema import JournalEvent
from raysearch.storage.paths import RunPaths

KEPT = "spec"  # the kind of the event that holds the spec of a launch


def remarks(root: Path) -> list[str]:
    """A sentence on each file of a run that is damaged at its end, has no checksum, or was edited.

    Raises:
        JournalError: the journal is broken.
        SpecError: spec.yaml is no YAML.
    """
    paths = RunPaths(root)
    found = reading.remarks(paths.journal)
    kept = kept_spec(paths.journal)
    if kept is None or not paths.spec.exists():
        return found
    _, edited = differing(paths, kept)
    if edited:
        found.append(
            f"{paths.spec}: differs from the spec that the run was last started with, which its journal "
            f"keeps: {', '.join(edited)}"
        )
    return found


def kept_spec(journal: Path) -> str | None:
    """The text of the spec that the run was last started with; None in a journal of an older version."""
    found = None
    for event in reading.read_events(journal):
        found = spec_after(found, event)
    return found


def spec_after(text: str | None, event: JournalEvent) -> str | None:
    """The text of the spec that a run has after an event, which had `text` before it."""
    if event.kind == KEPT:
        return str(event.detail.get("text"))
    if event.kind == "edit":
        return str(event.detail.get("after") or text)
    return text


def differing(paths: RunPaths, kept: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(the kept spec as a mapping, the fields in which spec.yaml says something else).

    Raises:
        SpecError: one of the two is no YAML.
    """
    then = read_yaml(kept, "the journal's spec")
    try:
        now = read_yaml(paths.spec.read_text(encoding="utf-8"), "spec.yaml")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{paths.spec}: cannot be read: {error}") from None
    if not isinstance(now, Mapping) or not isinstance(then, Mapping):
        return {}, ()
    edited = tuple(name for name in sorted({*then, *now}, key=str) if then.get(name) != now.get(name))
    return dict(then), edited
