"""A run that is looked at again and again, from outside its search: how it stands, and who holds it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from raysearch.engine.snapshot import Snapshot
from raysearch.engine.wind_down import Ended, ended_of
from raysearch.errors import RaysearchError


class Look(NamedTuple):
    """What a look at a run finds: how it stands, which process holds it, and which one is starting it."""

    snapshot: Snapshot
    holder: str | None
    starter: str | None


class Follower:
    """Folds a run's journal into snapshots; each look costs what is new."""

    def __init__(self, root: Path) -> None:
        from raysearch.results.results import Results
        from raysearch.run.journal_status import JournalStatus
        from raysearch.storage.paths import RunPaths

        results = Results(root)
        self._root = root
        self._journal = RunPaths(root).journal
        self._standing = JournalStatus(self._journal, results.metric, results.mode, results.goals)
        self._holder: str | None = None
        self._began, self._ended_at, self._before_s = 0.0, 0.0, 0.0
        self._ended: Ended | None = None

    def look(self, now: float) -> Look:
        """How the run stands now.

        Raises:
            JournalError: the journal is broken.
        """
        from raysearch.run.liveness import held_by, started_by

        holder = held_by(self._journal)
        starter = None if holder else started_by(self._root)
        self._standing.read()
        self._read_events(holder)
        until = now if holder else max(self._standing.last_at, self._ended_at)
        life_s = max(0.0, until - self._began) if self._began else 0.0
        snapshot = self._standing.snapshot().but(
            life_s=0.0 if starter else life_s,
            seconds=self._before_s + life_s,
            end=None if holder or starter else self._ended,
        )
        return Look(snapshot, holder, starter)

    def _read_events(self, holder: str | None) -> None:
        """Reads start and end of the run from its events; again only if its holder changed or is gone."""
        from raysearch.run.session import account_of
        from raysearch.storage.journal.reading import read_events

        if self._began and holder is not None and holder == self._holder:
            return
        self._holder, known = holder, self._began
        for event in read_events(self._journal):
            if event.kind == "start":
                self._began, self._ended_at, self._ended = event.at, 0.0, None
            elif event.kind == "end":
                self._ended_at, self._ended = event.at, ended_of(event.detail)
        if self._began != known:  # a life that is new; those before it are over
            self._before_s = account_of(self._root).before.seconds


def spent_so_far(root: Path) -> str:
    """The cost of the run so far, in words; empty if its spec sets no budget and no prices."""
    from raysearch.run.session import spent_on
    from raysearch.spec.search_spec import load_spec

    try:
        budget = load_spec(root / "spec.yaml").budget
    except RaysearchError:  # a strategy that is not installed here
        return ""
    return budget.in_words(spent_on(root)) if budget.is_set else ""
