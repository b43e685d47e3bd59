"""Tune's side of the fleet: a Searcher that asks for workers, a scheduler that cancels some that wait."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray import tune
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from raysearch.cluster.capacity import alive, amounts, beyond, brought, fitting, resources_of, shares_of
from raysearch.core.library_errors import RAY_MEMORY_KILL, RAY_NODE_DIED
from raysearch.engine.memory_retry import Growth
from raysearch.engine.messages import MEMORY_KILL, WITH_ITS_NODE, Death
from raysearch.engine.worker_snapshot import WorkerSnapshot
from raysearch.errors import SpecError
from raysearch.executors.tune.scaling import Bounds, Fleet, StaffMember, StaffOrders
from raysearch.ray_private import forget_error_file, on_start_failure, on_task_failure
from raysearch.spec.workers import Workers, resource_name


def muster(workers: Workers) -> tuple[Fleet, Growth, int]:
    """The fleet that a spec asks of the connected cluster, how shares grow, and how many workers run now.

    Raises:
        SpecError: a worker takes nothing.
        ClusterError: no node has room for one, now or later.
    """
    resources = resources_of(workers)
    if resources.is_nothing:
        raise SpecError("workers: cpu, gpu and resources are all 0; a worker needs a share of something")
    kinds = brought()
    fitting_now = fitting(resources, may_come=workers.min is not None or workers.max is not None)
    nodes = [*alive().values(), *kinds]
    shares = shares_of(workers, nodes)
    growth = Growth()
    if workers.on_oom:
        growing = {resource_name(key) for key in workers.on_oom}
        words = tuple(amounts({n: a for n, a in s.bundle().items() if n in growing}) for s in shares)
        growth = Growth(words, beyond(workers, shares, nodes))
    count = max(workers.least, fitting_now) if workers.count == "auto" else workers.count
    count = min(count, workers.most or count)
    return Fleet(shares, Bounds(workers.least, workers.most, bool(kinds))), growth, count


NEWS_S = 5.0  # that a search without workers waits for the driver's word at a time


class Roster:
    """The workers that Tune was asked for. Shared by the driver's thread and Tune's."""

    def __init__(self) -> None:
        self.over = False
        self.failure: Exception | None = None  # of a worker, while Tune handles it; known to Tune's thread
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._levels: dict[str, int] = {}
        self._asked: list[str] = []
        self._cancelled: set[str] = set()
        self._retiring: set[str] = set()
        self._training: dict[str, int | None] = {}
        self._count = 0

    def __reduce__(self) -> tuple[type[Roster], tuple[()]]:
        """Tune pickles the experiment for a restore that we never ask for; the workers on it stay here."""
        return Roster, ()

    def carry_out(self, orders: StaffOrders) -> None:
        """Asks for workers, and notes which are not wanted any more."""
        with self._lock:
            if orders.start:
                self._news.set()
            for level in orders.start:
                name = f"worker-{self._count}"
                self._count += 1
                self._levels[name] = level
                self._asked.append(name)
            self._cancelled.update(orders.cancel)
            self._retiring.update(orders.retire)

    def ask_again(self) -> None:
        """Asks for every worker anew: for a Tune that begins, for the first time or after its end."""
        with self._lock:
            self._asked = [*self._levels]

    def members(self, seen: Mapping[str, WorkerSnapshot]) -> list[StaffMember]:
        """Those asked for, with what the search knows of them (`workers` of its snapshot)."""
        with self._lock:
            self._training = {name: worker.segment for name, worker in seen.items()}
            return [
                StaffMember(
                    name,
                    level,
                    seen[name].node if name in seen else "",
                    seen[name].leases if name in seen else 0,
                    name in self._retiring or name in self._cancelled,
                )
                for name, level in self._levels.items()
            ]

    def training(self, name: str) -> int | None:
        """The segment that a worker had in training when the search was heard of last."""
        with self._lock:
            return self._training.get(name)

    def next(self) -> dict[str, Any] | None:
        """The next worker to start, as the configuration of its trial."""
        with self._lock:
            while self._asked:
                name = self._asked.pop(0)
                if name not in self._cancelled:
                    return {"worker": name, "level": self._levels[name]}
                self._drop(name)
            return None

    def is_cancelled(self, name: str) -> bool:
        """True if a worker that has not started is not wanted any more."""
        with self._lock:
            return name in self._cancelled

    def ended(self, name: str) -> None:
        """A worker's trial has ended: it was cancelled or retired, or the search is over or winds down."""
        with self._lock:
            self._drop(name)

    def end(self) -> None:
        """The search is over: no worker is asked for any more."""
        self.over = True
        self._news.set()

    def wait_for_news(self) -> None:
        """Returns when a worker is asked for or the search is over; at once if workers are there.

        Without a worker Tune looks again only after a second; a search that ends says so sooner.
        """
        with self._lock:
            if self._levels or self.over:
                return
            self._news.clear()
        self._news.wait(NEWS_S)

    def _drop(self, name: str) -> None:
        self._levels.pop(name, None)
        self._cancelled.discard(name)
        self._retiring.discard(name)


class Asking(Searcher):  # type: ignore[misc]
    """Gives Tune a trial for each worker that is asked for."""

    def __init__(self, roster: Roster) -> None:
        super().__init__()
        self._roster = roster
        self._names: dict[str, str] = {}
        roster.ask_again()

    def suggest(self, trial_id: str) -> Any:
        """The configuration of a worker; None while none is wanted."""
        self._roster.wait_for_news()
        if self._roster.over:
            return Searcher.FINISHED
        config = self._roster.next()
        if config is not None:
            self._names[trial_id] = config["worker"]
        return config

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Notes that a worker has ended."""
        self._roster.ended(self._names.pop(trial_id, ""))

    def save(self, checkpoint_path: str) -> None:
        """The journal is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Never asked for."""


class Cancelling(FIFOScheduler):  # type: ignore[misc]
    """Stops trials of workers that have not started and are not wanted any more.

    Being what Tune hands its controller to, it also sees that Tune outlives Ray's memory monitor, whose kills
    raise an error of another kind: Tune has no answer to it, and would end, and all workers with it. Where a
    later Ray has other insides nothing is changed, and Tune is begun again (see `_Fit`).
    """

    def __init__(self, roster: Roster) -> None:
        super().__init__()
        self._roster = roster
        self._is_first = True

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """As usual; looks first for those to stop."""
        if self._is_first:
            self._is_first = False
            on_task_failure(tune_controller, lambda error: self._failing(as_death(error)))
            on_start_failure(tune_controller, self._failing)
        for trial in list(tune_controller.get_live_trials()):
            if trial.status == Trial.PENDING and self._roster.is_cancelled(trial.config["worker"]):
                tune_controller.stop_trial(trial)
        return super().choose_trial_to_run(tune_controller)

    @contextlib.contextmanager
    def _failing(self, error: Exception) -> Iterator[Exception]:
        """Holds the error of a worker for `Deaths` while Tune handles it."""
        self._roster.failure = error
        try:
            yield error
        finally:
            self._roster.failure = None


class MemoryKillError(RayActorError):  # type: ignore[misc]
    """Ray's memory monitor ended the actor's process."""


def as_death(error: Exception) -> Exception:
    """The error, as that of an actor that died if memory ran out."""
    return MemoryKillError(error_msg=str(error)) if isinstance(error, OutOfMemoryError) else error


class Deaths(tune.Callback):  # type: ignore[misc]
    """Tells the coordinator why a worker's process is gone, before Tune starts another one."""

    def __init__(self, coordinator: Any, roster: Roster) -> None:
        self._coordinator = coordinator
        self._roster = roster

    def on_trial_recover(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """A worker died and will be started again."""
        forget_error_file(trial)
        error = self._roster.failure
        if isinstance(error, RayActorError):
            actor = getattr(error, "actor_id", None) or ""
            worker = trial.config["worker"]
            self._coordinator.died.remote(worker, *death_of(error), actor, self._roster.training(worker))

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """A worker is not started again."""
        forget_error_file(trial)


class Silent(TrialProgressCallback):  # type: ignore[misc]
    """In the place of Tune's own, which prints a line for a worker that is cancelled."""

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Says nothing."""


def death_of(error: RayActorError) -> tuple[Death, str]:
    """How a worker's process ended, and that in words."""
    if error.preempted or RAY_NODE_DIED.is_in(error):
        return Death.WITH_NODE, WITH_ITS_NODE
    if isinstance(error, MemoryKillError) or RAY_MEMORY_KILL.is_in(error):
        return Death.OUT_OF_MEMORY, MEMORY_KILL
    if isinstance(error, ActorUnavailableError):
        return Death.UNCLEAR, "its worker cannot be reached"
    return Death.ALONE, "its worker died"
