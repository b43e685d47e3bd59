"""A run opened for going on: its journal, replayed into a Search."""

from __future__ import annotations

import bisect
import dataclasses
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from raysearch.checkpoints import Checkpoints
from raysearch.engine import Limits, Search
from raysearch.errors import JournalBusyError, JournalError, SpecError
from raysearch.growth import Growth
from raysearch.journal import Journal
from raysearch.orders import Orders
from raysearch.paths import RunPaths
from raysearch.spec import SearchSpec
from raysearch.tree import Outcome
from raysearch.version import __version__

PATIENCE_S = 15.0  # a killed driver's coordinator ends some seconds after it
POLL_S = 0.2
STALE_S = 3600.0  # an unacknowledged checkpoint older than this belongs to no living worker


@dataclass(frozen=True, slots=True)
class Setup:
    """What it takes to open a run.

    Attributes:
        run: where it is.
        spec: resolved, without the trainable.
        notes: what the user should be told.
        prefers_home, growth: see `engine.Search`.
        least_workers: see `engine.Limits`.
        fingerprint: what the run rests on (see `raysearch.fingerprint`); noted in the journal.
    """

    run: str
    spec: SearchSpec
    notes: tuple[str, ...] = ()
    prefers_home: bool = False
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    least_workers: int = 1
    growth: Growth = field(default_factory=Growth)


class Session:
    """One life of a run, from opening its journal to closing it."""

    def __init__(
        self, search: Search, journal: Journal, checkpoints: Checkpoints, orders: Orders, taken: set[str]
    ) -> None:
        self.search = search
        self.journal = journal
        self.checkpoints = checkpoints
        self._orders = orders
        self._taken = taken

    @classmethod
    def open(cls, setup: Setup, now: float) -> Session:
        """Opens the run and folds its journal.

        Raises:
            JournalError: the journal is damaged, or another process holds it.
        """
        paths, spec = RunPaths(setup.run), setup.spec
        journal = open_journal(paths)
        try:
            checkpoints = Checkpoints(paths.checkpoints)
            search = Search(
                spec.strategy.start(
                    spec.space, metric=spec.metric, mode=spec.mode, seed=spec.seed, baseline=spec.baseline
                ),
                metric=spec.metric,
                mode=spec.mode,
                journal=journal,
                checkpoints=Deleter(checkpoints),
                limits=dataclasses.replace(limits_of(spec), least_workers=setup.least_workers),
                now=now,
                prefers_home=setup.prefers_home,
                growth=setup.growth,
            )
            starts = [event.at for event in journal.events() if event.kind == "start"]
            clock = _Clock(starts)
            taken = set()
            for event in journal.events():
                if event.kind == "intervention":
                    search.intervene(event.detail)
                    taken.add(str(event.detail.get("order", "")))
            search.replay(clock.watching(journal.outcomes()))
            search.seconds_before = clock.seconds
            for note in (*journal.notes, *setup.notes):
                search.warn(note)
            checkpoints.sweep(search.register.checkpoints(), STALE_S)
            search.register.keep_existing(set(checkpoints.names()))
            journal.append_event("start", {**_versions(), "fingerprint": dict(setup.fingerprint)}, now)
        except BaseException:
            journal.close()
            raise
        session = cls(search, journal, checkpoints, Orders(paths.orders), taken)
        session.take_orders(now)
        return session

    def take_orders(self, now: float) -> bool:
        """Takes in what people ordered since the last look, and answers; True if there was anything.

        An order is journalled before it is applied, and known by its name: none is applied twice.
        """
        found = self._orders.waiting()
        for name in found:
            self._orders.answer(name, *self._take(name, now))
        return bool(found)

    def _take(self, name: str, now: float) -> tuple[bool, str]:
        if name in self._taken:
            return True, "taken in before"
        try:
            stamped = {**self.search.plan_intervention(self._orders.read(name)), "order": name}
            self.journal.append_event("intervention", stamped, now)
        except (SpecError, JournalError) as error:
            return False, str(error)
        self._taken.add(name)
        self.search.intervene(stamped)
        return True, str(stamped.get("words", "taken in"))

    def close(self, now: float) -> None:
        """Deletes what is not needed, notes why the life ended, and lets go of the journal."""
        try:
            self.search.collect()
            if isinstance(self.search.checkpoints, Deleter):
                self.search.checkpoints.close()
            self.journal.append_event("end", {"ending": self.search.ending or "interrupted"}, now)
        except JournalError as error:
            self.search.warn(f"the end of the run could not be noted in its journal: {error}")
        finally:
            self.journal.close()


def open_journal(paths: RunPaths, patience_s: float = PATIENCE_S) -> Journal:
    """The run's journal, to go on with; waits a while for a process that is just dying to let go of it.

    Raises:
        JournalError: it is damaged, or still held; says by whom.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            return Journal.open(paths.journal)
        except JournalBusyError as error:
            if time.monotonic() > until:
                raise JournalBusyError(
                    f"{error}: this run is being searched there (raysearch status {paths.root} --watch)"
                ) from error
            time.sleep(POLL_S)


def limits_of(spec: SearchSpec) -> Limits:
    """The limits that a spec sets."""
    return Limits(
        hours=spec.budget.hours,
        gpu_hours=spec.budget.gpu_hours,
        trials=spec.budget.trials,
        gpus_per_worker=spec.workers.gpu,
        quota_bytes=spec.quota,
        retries=spec.retries,
        stall_timeout_s=spec.stall_timeout_s,
    )


class Deleter:
    """Checkpoints whose deletion does not hold up the search: it happens in a thread, in order."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")

    def delete(self, names: Iterable[str]) -> None:
        """Starts to delete; what cannot be deleted is left for the sweep at the next opening."""
        self._thread.submit(self._checkpoints.delete, list(names))

    def exists(self, name: str) -> bool:
        """Whether the checkpoint is there."""
        return self._checkpoints.exists(name)

    def size(self) -> int:
        """Bytes that the checkpoints take."""
        return self._checkpoints.size()

    def close(self) -> None:
        """Waits until all is deleted."""
        self._thread.shutdown()


class _Clock:
    """Adds up how long earlier lives of a run lasted, each until its last outcome."""

    def __init__(self, starts: list[float]) -> None:
        self._starts = sorted(starts)
        self._last = list(self._starts)

    def watching(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        for outcome in outcomes:
            life = bisect.bisect_right(self._starts, outcome.finished_at) - 1
            if life >= 0 and outcome.finished_at > self._last[life]:
                self._last[life] = outcome.finished_at
            yield outcome

    @property
    def seconds(self) -> float:
        return sum(last - start for start, last in zip(self._starts, self._last, strict=True))


def _versions() -> dict[str, str]:
    return {"raysearch": __version__, "python": platform.python_version(), "host": platform.node()}
