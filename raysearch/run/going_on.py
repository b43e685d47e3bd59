"""What a run was last started with, as its journal keeps it, beside what it is to go on with now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.errors import LocatedError, SpecError
from raysearch.results.remarks import differing, spec_after
from raysearch.run.fingerprint import changes, source_of
from raysearch.spec.search_spec import SearchSpec, make_spec
from raysearch.storage.journal.reading import read_events
from raysearch.storage.paths import RunPaths

STILL_COMPARED = (
    "Outcomes of before and of now are compared as if they were of one training; where they are not, begin "
    "a new run"
)


@dataclass(frozen=True, slots=True)
class Started:
    """A spec that the journal keeps because a run was last started with it, where spec.yaml says another one.

    Attributes:
        spec: as the journal keeps it.
        written: the same, as the mapping that a spec.yaml holds.
        edited: the fields in which spec.yaml differs.
    """

    spec: SearchSpec
    written: dict[str, Any]
    edited: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LastStart:
    """What a run's journal keeps of its last start.

    Attributes:
        spec: the text of its spec; None in a journal of an older version.
        fingerprint: of its code, data and libraries; empty in a journal of an older version.
    """

    spec: str | None
    fingerprint: Mapping[str, Any]


def last_start(journal: Path) -> LastStart:
    """What the journal keeps of the run's last start; reads its events once."""
    spec: str | None = None
    fingerprint: Mapping[str, Any] = {}
    for event in read_events(journal):
        spec = spec_after(spec, event)
        if event.kind == "start":
            fingerprint = event.detail.get("fingerprint") or fingerprint
    return LastStart(spec, fingerprint)


def started_otherwise(paths: RunPaths, last: LastStart) -> Started | None:
    """The spec that the run was last started with; None if spec.yaml says the same, or the journal is older.

    Raises:
        SpecError: the journal's spec cannot be read any more.
    """
    if last.spec is None:
        return None
    then, edited = differing(paths, last.spec)
    return Started(_as_spec(then), then, edited) if edited else None


def _as_spec(kept: Mapping[str, Any]) -> SearchSpec:
    try:
        return make_spec(**kept)
    except LocatedError as error:
        raise SpecError(f"the journal's spec [{error.place}]: {error.text}") from None


def changed_since(last: LastStart, rests_on: Mapping[str, Any], trainable: Any) -> list[str]:
    """What has changed since the run was last started, a sentence each: code, data, libraries.

    GPUs are left out: workers may lie on other machines.
    """
    then, code = last.fingerprint, source_of(trainable)
    found = changes(then, {**rests_on, "gpu": None}, str(code) if code else None) if then else []
    return [f"since the run was last started: {text}. {STILL_COMPARED}" for text in found]
