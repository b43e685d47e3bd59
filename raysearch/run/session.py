"""A run opened for going on: its journal, replayed into a Search."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raysearch.core.budget import Account, Spent
from raysearch.core.version import __version__
from raysearch.engine.limits import Limits
from raysearch.engine.memory_retry import Growth
from raysearch.engine.search import Search
from raysearch.engine.wind_down import INTERRUPTED
from raysearch.errors import JournalBusyError, JournalError, SpecError
from raysearch.run import edits
from raysearch.run.liveness import stopped
from raysearch.run.orders import Orders, given_at
from raysearch.run.pause import RUN_ORDERS, begin
from raysearch.storage.checkpoints.remote import checkpoints_of
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_events, read_table
from raysearch.storage.paths import RunPaths
from raysearch.strategies.gain_forecast.stopping import FORECAST

if TYPE_CHECKING:
    from raysearch.core.segment import Outcome
    from raysearch.engine.fair_share import Claim
    from raysearch.spec.search_spec import SearchSpec
    from raysearch.storage.checkpoints.local import Checkpoints

PATIENCE_S = 15.0  # a killed driver's coordinator ends some seconds after it
POLL_S = 0.2
SETTLE_S = 10.0  # time for workers to claim what they hold before a run that was pausing may end
NOTE_S = 60.0  # between two notes of what was spent
STALE_S = 3600.0  # an unacknowledged checkpoint older than this belongs to no living worker


@dataclass(frozen=True, slots=True)
class Setup:
    """What it takes to open a run.

    Attributes:
        run: where it is.
        spec: resolved, without the trainable.
        notes: warnings for the user.
        prefers_home, growth: see `Search`.
        least_workers: see `Limits`.
        fingerprint: what the run rests on (see `raysearch.run.fingerprint`); noted in the journal.
        held: CPUs and GPUs of a worker of each level, if they grow.
        claim: on the cluster's workers, beside those of other searches.
        restores: see `Search`.
        edit, write: make and write the spec that an order changes; without them such orders are refused.
        began: when this life was asked for; earlier orders to pause or stop were meant for an earlier life.
    """

    run: str
    spec: SearchSpec
    notes: tuple[str, ...] = ()
    prefers_home: bool = False
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    began: float = 0.0
    restores: bool = True
    claim: Claim | None = None
    held: tuple[tuple[float, float], ...] = ()
    least_workers: int = 1
    growth: Growth = field(default_factory=Growth)
    edit: Callable[[RunPaths, Mapping[str, Any]], tuple[str, SearchSpec]] | None = None
    write: Callable[[RunPaths, str], None] | None = None


class Session:
    """One life of a run, from opening its journal to closing it."""

    def __init__(
        self,
        search: Search,
        journal: Journal,
        checkpoints: Checkpoints,
        deleter: Deleter,
        paths: RunPaths,
        taken: set[str],
        setup: Setup,
    ) -> None:
        self.search = search
        self.journal = journal
        self.checkpoints = checkpoints
        self._lifetime = search.lifetime
        self._deleter = deleter
        self._paths = paths
        self._orders = Orders(paths.orders)
        self._taken = taken
        self._began = setup.began
        self._edit, self._write = setup.edit, setup.write
        self._noted_s = 0.0
        self._forecast_at = 0.0
        self._forecast_noted = 0  # outcomes before the forecast that was noted last

    @classmethod
    def open(cls, setup: Setup, now: float) -> Session:
        """Opens the run and folds its journal.

        Raises:
            JournalError: the journal is damaged, or another process holds it.
        """
        paths = RunPaths(setup.run)
        journal = open_journal(paths)
        try:
            checkpoints = checkpoints_of(paths.root)
            deleter = Deleter(checkpoints)
            search = _new_search(setup, journal, deleter, now)
            taken, forecast = _replay(search, journal, setup.began, now)
            for note in (*journal.notes, *setup.notes):
                search.warnings.add(note)
            checkpoints.sweep(search.register.checkpoints(), STALE_S)
            search.register.keep_existing(set(checkpoints.names()))
            journal.append_event("start", _start_of(setup), now)
        except BaseException:
            journal.close()
            raise
        session = cls(search, journal, checkpoints, deleter, paths, taken, setup)
        session._forecast_at, session._forecast_noted = now, forecast
        session.take_orders(now)
        return session

    def look(self, now: float) -> bool:
        """What is to be done now and then: orders, budgets, the account. True if anything was ordered."""
        ordered = self.take_orders(now)
        self._lifetime.check(now)
        self.note_spent(now)
        self.note_forecast(now)
        return ordered

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
            order = self._orders.read(name)
            if order.get("kind") in RUN_ORDERS:
                return self._take_run_order(name, order, now)
            if order.get("kind") in edits.EDITS:
                return self._take_edit(name, order, now)
            stamped = {**self.search.plan_intervention(order), "order": name}
            self.journal.append_event("intervention", stamped, now)
        except (SpecError, JournalError) as error:
            return False, str(error)
        self._taken.add(name)
        self.search.intervene(stamped)
        return True, str(stamped.get("words", "taken in"))

    def _take_run_order(self, name: str, order: dict[str, Any], now: float) -> tuple[bool, str]:
        if given_at(name) < self._began:
            return False, "the run had ended before the order was taken in"
        self.journal.append_event(str(order["kind"]), {**order, "order": name}, now)
        self._taken.add(name)
        return begin(self.search, str(order["kind"]), order, now)

    def _take_edit(self, name: str, order: dict[str, Any], now: float) -> tuple[bool, str]:
        """Changes the run's spec; the journal first, from which a resume takes it if the file is old."""
        edits.check_running(self.search, order)
        if self._edit is None or self._write is None:
            raise SpecError("the process that runs it changes no spec: pause it, and resume with the change")
        before, spec = self._edit(self._paths, order)
        after = spec.to_yaml()
        self.journal.append_event("edit", {"before": before, "after": after, "order": name}, now)
        self._taken.add(name)
        self._write(self._paths, after)
        return True, edits.apply(self.search, order, spec, now)

    def note_spent(self, now: float) -> None:
        """Journals now and then what was spent, so that a life that is killed counts too.

        Raises:
            JournalError: it cannot be written.
        """
        spent = self._lifetime.spent_now(now)
        if spent.seconds - self._noted_s >= NOTE_S:
            self._noted_s = spent.seconds
            self.journal.append_event("spent", {"spent": dataclasses.asdict(spent)}, now)

    def note_forecast(self, now: float, every_s: float = NOTE_S) -> None:
        """Journals now and then what going on is forecast to gain, and at once what ended the search.

        Raises:
            JournalError: it cannot be written.
        """
        latest = self.search.forecasts.latest
        if latest is None or latest.outcomes == self._forecast_noted:
            return
        if latest.stops or now - self._forecast_at >= every_s:
            self._forecast_at, self._forecast_noted = now, latest.outcomes
            self.journal.append_event(FORECAST, latest.as_detail(), now)

    def close(self, now: float) -> None:
        """Deletes what is not needed, notes why the life ended, and lets go of the journal."""
        try:
            self.search.collect()
            self._deleter.close()
            self.note_forecast(now, NOTE_S if self.search.limits.stop_when is None else 0.0)
            spent = dataclasses.asdict(self._lifetime.spent_now(now))
            ended = self._lifetime.ended or INTERRUPTED
            self.journal.append_event("end", {**ended.as_detail(), "spent": spent}, now)
        except JournalError as error:
            self.search.warnings.add(f"the end of the run could not be noted in its journal: {error}")
        finally:
            self.journal.close()
            self._orders.close()


def _new_search(setup: Setup, journal: Journal, deleter: Deleter, now: float) -> Search:
    spec = setup.spec
    return Search(
        spec.started(),
        metric=spec.metric,
        mode=spec.mode,
        objectives=spec.goals,
        journal=journal,
        checkpoints=deleter,
        limits=limits_of(spec, setup.least_workers, setup.held),
        now=now,
        prefers_home=setup.prefers_home,
        growth=setup.growth,
        restores=setup.restores,
    )


def _replay(search: Search, journal: Journal, began: float, now: float) -> tuple[set[str], int]:
    """Folds a journal; returns the names of its orders, and the outcomes before its last forecast.

    Orders to pause or stop that came before this life was asked for, at `began`, were meant for another one.
    """
    events = [*journal.events()]
    account = Account(events)
    taken, forecast, lifetime = set(), 0, search.lifetime
    for event in events:
        taken.add(str(event.detail.get("order", "")))
        if event.kind == FORECAST:
            forecast = int(event.detail.get("outcomes", 0))
        if event.kind == "intervention":
            search.intervene(event.detail)
        elif event.kind in RUN_ORDERS and event.at >= began:
            lifetime.settled_from = now + SETTLE_S
            begin(search, event.kind, event.detail, event.at)
    with _without_collections():
        search.replay(_counted(account, journal.outcomes()))
    lifetime.spent_before = account.total
    return taken, forecast


def _start_of(setup: Setup) -> dict[str, Any]:
    """What the journal notes of a life that begins."""
    cpus, gpus = limits_of(setup.spec, setup.least_workers, setup.held).held[0]
    versions = {"raysearch": __version__, "python": platform.python_version(), "host": platform.node()}
    return {**versions, "cpu": cpus, "gpu": gpus, "fingerprint": dict(setup.fingerprint)}


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
            if time.monotonic() > until or stopped(paths.root):
                raise JournalBusyError(
                    f"{error}: this run is being searched there (raysearch status {paths.root} --watch)"
                ) from error
            time.sleep(POLL_S)


def spent_on(run: str | os.PathLike[str]) -> Spent:
    """What a run has cost in all its lives, whether it is being run or not."""
    return account_of(run).total


def account_of(run: str | os.PathLike[str]) -> Account:
    """What each life of a run has cost so far."""
    journal = RunPaths(run).journal
    account = Account(read_events(journal))
    if account.has_gaps:
        table = read_table(journal, ["finished_at", "seconds"])
        for finished_at, seconds in zip(
            *(table[name].to_pylist() for name in table.column_names), strict=True
        ):
            account.add(finished_at, seconds)
    return account


def limits_of(spec: SearchSpec, least_workers: int = 1, held: Sequence[tuple[float, float]] = ()) -> Limits:
    """The limits that a spec sets; `held` where workers of several levels hold different things."""
    return Limits(
        budget=spec.budget,
        held=held or (spec.workers.held(),),
        least_workers=least_workers,
        quota_bytes=spec.quota,
        retries=spec.retries,
        stop_when=spec.stop_when,
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


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Python looks for no cycles of garbage meanwhile: a replay makes none, and looking takes a twentieth."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _counted(account: Account, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    for outcome in outcomes:
        account.add(outcome.finished_at, outcome.seconds)
        yield outcome
