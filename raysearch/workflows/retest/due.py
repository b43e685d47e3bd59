"""Which settings are due for a retest: by date, or because their fingerprint has changed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.errors import RaysearchError
from raysearch.run.fingerprint import changes, fingerprint
from raysearch.storage.journal.reading import read_events
from raysearch.storage.paths import RunPaths
from raysearch.workflows.retest.calendar import FIRST, day_of, plus_months
from raysearch.workflows.retest.records import history, last_fingerprint, searches_in, unfinished


@dataclass(frozen=True)
class Due:
    """The state of a run's settings between two retests.

    Attributes:
        run: the folder of the search that found them.
        last: the last verdict on them; "searched" before the first.
        since: the day of it.
        due: the day of the next retest.
        reasons: why they are due now; empty if they are not.
        notes: what could not be looked at, or is odd.
    """

    run: Path
    last: str
    since: dt.date
    due: dt.date
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Damaged:
    """A run that cannot be read, and why."""

    run: Path
    error: str


def due_in(storage: Path, now: float) -> tuple[list[Due], list[Damaged]]:
    """(one Due for each finished search in a folder, the due ones first; the damaged runs)."""
    found, damaged = [], []
    for run in searches_in(storage):
        try:
            if (one := due_of(run, now)) is not None:
                found.append(one)
        except RaysearchError as error:
            damaged.append(Damaged(run, str(error)))
    return sorted(found, key=lambda d: (not d.reasons, d.due, d.run)), damaged


def due_of(run: Path, now: float) -> Due | None:
    """The state of one run's settings; None until its search has ended."""
    ended = _ended_at(run)
    if ended is None:
        return None
    past = history(run)
    at = past[-1].at if past else ended
    due = past[-1].due if past else plus_months(day_of(ended), FIRST)
    rests_on = past[-1].fingerprint if past else last_fingerprint(run)
    reasons, notes = [], []
    if now < at:
        notes.append(f"the clock says {day_of(now)}, which is before {day_of(at)}; judged as on that day")
    if day_of(max(now, at)) >= due:
        reasons.append(f"since {due}, by date")
    try:
        reasons += changes(rests_on, _now(run)) if rests_on else []
    except RaysearchError as error:
        notes.append(f"what it rests on could not be looked at: {error}")
    if (going := unfinished(run)) is not None:
        notes.append(f"retest {going.name} has no verdict yet; `raysearch retest {run}` goes on with it")
    return Due(run, past[-1].word if past else "searched", day_of(at), due, tuple(reasons), tuple(notes))


def _ended_at(run: Path) -> float | None:
    """Unix time at which the search last ended; None if it never did."""
    at = None
    for event in read_events(RunPaths(run).journal):
        if event.kind in ("start", "end"):
            at = event.at if event.kind == "end" else None
    return at


def _now(run: Path) -> dict[str, Any]:
    from raysearch.spec.search_spec import load_spec
    from raysearch.spec.trainables import load_trainable

    spec = load_spec(RunPaths(run).spec)
    found = fingerprint(spec, load_trainable(spec.trainable))
    if spec.workers.gpu:  # on a cluster the GPUs are elsewhere than this process
        found["gpu"] = None
    return found
