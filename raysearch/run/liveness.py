"""Whether a process runs a run, which one, and why the last one ended: read from locks and the journal.

    from raysearch.run.liveness import is_complete, run_by
    run_by(Path("runs/digits"))         # "process 4120 on gpu-3"; None if no process runs or starts it
    is_complete(Path("runs/digits"))    # True once nothing is left to do

These functions change nothing, and any process may call them.
"""

from __future__ import annotations

import time
from pathlib import Path

from raysearch.engine.wind_down import Ended, ended_of
from raysearch.storage.journal.reading import read_events
from raysearch.storage.liveness import Owner, holder_of, owner_in, owner_of
from raysearch.storage.mirror import mirror_at
from raysearch.storage.paths import JournalPaths, RunPaths

FAR_S = 120.0  # a driver on another machine, of a run at a store, counts as starting for so long


def held_by(journal: Path) -> str | None:
    """`process 12 on host` if a process has the journal open for writing; None if no process has."""
    if (mirror := mirror_at(journal.parent)) is not None:
        at_store = holder_of(mirror.store)
        return str(at_store) if at_store is not None and at_store.is_alive(time.time()) else None
    owner = owner_of(JournalPaths(journal).lock)
    return str(owner) if owner is not None else None


def started_by(root: Path) -> str | None:
    """`process 12 on host` if a process starts the run, and none has its journal open yet."""
    owner = starter_of(root)
    return str(owner) if owner is not None else None


def run_by(root: Path) -> str | None:
    """`process 12 on host` if a process runs or starts the run; None if no process does."""
    return held_by(RunPaths(root).journal) or started_by(root)


def starter_of(root: Path) -> Owner | None:
    """The process that drives the run while it has no coordinator, at its start or after a crash."""
    owner = owner_of(RunPaths(root).driver) or _far_away(root)
    if owner is None:
        return None
    events = read_events(RunPaths(root).journal)
    return None if any(event.kind == "end" and event.at >= owner.at for event in events) else owner


def stopped(root: Path) -> str:
    """The process that runs or drives the run, and how it goes on, if it is stopped; empty if none is."""
    paths = RunPaths(root)
    for lock in (JournalPaths(paths.journal).lock, paths.driver):
        owner = owner_of(lock)
        if owner is not None and owner.is_stopped:
            return str(owner)
    return ""


def last_ending(journal: Path) -> str:
    """Why the last process to run it ended, in words; empty while one runs it, or if it was killed."""
    ended = last_ended(journal)
    return ended.words if ended is not None else ""


def last_ended(journal: Path) -> Ended | None:
    """Why the last process to run it ended; None while one runs it, or if it was killed."""
    last = None
    for event in read_events(journal):
        if event.kind in ("start", "end"):
            last = ended_of(event.detail)
    return last


def is_complete(root: Path) -> bool:
    """Whether the run ended because nothing was left to do, and no one has made it larger since."""
    last = None
    for event in read_events(RunPaths(root).journal):
        last = ended_of(event.detail) if event.kind == "end" else None
    return last is not None and last.is_done


def _far_away(root: Path) -> Owner | None:
    """The driver on another machine that the run's store names, while it can still be starting."""
    mirror = mirror_at(root)
    content = mirror.store.get(RunPaths(root).driver.name) if mirror is not None else None
    owner = owner_in(content) if content is not None else None
    return owner if owner is not None and not owner.is_here and time.time() - owner.at < FAR_S else None
