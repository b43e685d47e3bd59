"""The real executor: workers are trials of a Ray Tune experiment and pull segments.

Tune starts, places and restarts the workers, and stops them; it knows nothing of the search.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorDiedError, RayActorError, RayError, RayTaskError

from raysearch.cluster.node_health import Pulse
from raysearch.core.library_errors import raised_in_actor
from raysearch.engine.snapshot import Snapshot
from raysearch.engine.wind_down import by_signal
from raysearch.errors import ClusterLostError, CutOffError, RaysearchError, RunError
from raysearch.executors.tune.coordinator import start_coordinator
from raysearch.executors.tune.head import Head, answer_of, gone
from raysearch.executors.tune.neighbours import Neighbours, claim_of
from raysearch.executors.tune.scaling import Fleet
from raysearch.executors.tune.staff import Staff
from raysearch.executors.tune.trial import Worker
from raysearch.executors.tune.tune_log import logged_to
from raysearch.executors.tune.tune_plugins import Asking, Cancelling, Deaths, Roster, Silent
from raysearch.run.options import OnStatus
from raysearch.run.session import Setup
from raysearch.storage.marks import mark
from raysearch.storage.paths import RunPaths
from raysearch.storage.retry import waits
from raysearch.worker.env_vars import environment
from raysearch.worker.job import Job

TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal is the record
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # how many workers wait is the fleet's to say
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
LASTED_S = 60.0  # a Tune that ran for so long is given all its attempts again
POLL_S = 0.5  # between two looks of the driver at the search
SETTLE_S = 20.0  # for Tune to end after a second Ctrl-C; it gives its workers 5 s


class StopWhenOver(tune.Stopper):  # type: ignore[misc]
    """Ends running and waiting workers alike once the search is over."""

    def __init__(self, over: threading.Event | None) -> None:
        self._over = over

    def __reduce__(self) -> tuple[type[StopWhenOver], tuple[None]]:
        """Tune pickles the experiment for a restore that we never ask for; the event stays here."""
        return StopWhenOver, (None,)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Workers stop by themselves."""
        return False

    def stop_all(self) -> bool:
        """True once the driver has seen the search end."""
        return self._over is not None and self._over.is_set()


def run_tune(
    setup: Setup, job: Job, fleet: Fleet, head: Head, on_status: OnStatus, callbacks: list[Any]
) -> Snapshot:
    """Runs the search on the connected Ray cluster until it is over; returns the last snapshot.

    Args:
        head: of the cluster, as `last_words` looks at it.

    Raises:
        RunError: it ended with an error. Everything acknowledged is in the journal.
        KeyboardInterrupt: at the second Ctrl-C.
    """
    name = f"{Path(setup.run).name}-{uuid.uuid4().hex[:8]}"
    claim = claim_of(name, fleet, setup.spec)
    neighbours, pulse, over, roster = Neighbours(claim), Pulse(), threading.Event(), Roster()
    pulse.start()
    neighbours.meet()
    setup = dataclasses.replace(setup, claim=claim)
    coordinator, kept = start_coordinator(name, setup, job)
    staff = Staff(coordinator, fleet, roster, neighbours, pulse)
    staff.begin()
    fit: _Fit | None = None
    try:
        extra = [*callbacks, Deaths(coordinator, roster), Silent()]
        placements = [share.placement(pulse) for share in fleet.shares]
        with _room_for_tune(setup.run):
            make = functools.partial(_tuner, setup, name, roster, placements, over, extra)
            fit = _Fit(make, over, setup.spec.storage_timeout_s)
        with (
            _errors_of_ours(setup.run),
            environment(**TUNE_ENVIRONMENT),
            logged_to(RunPaths(setup.run).logs / "tune.log"),
            _interrupts(lambda name: coordinator.stop.remote(by_signal(name))),
        ):
            fit.start()
            _follow(coordinator, fit, head, setup.run, on_status, staff.keep_up)
            roster.end()
            fit.end()
            last: Snapshot = answer_of(coordinator.close.remote(), setup.run)
    except ClusterLostError:
        coordinator = fit = None  # neither comes back from a call
        raise
    finally:
        over.set()
        roster.end()
        pulse.stop()
        _leave(coordinator, fit)
        del kept  # no coordinator is started again from it any more
    on_status(last)
    return last


def _leave(coordinator: Any, fit: _Fit | None) -> None:
    """Kills the coordinator, and waits for Tune: to leave Ray while a thread calls it may end in SIGSEGV."""
    if coordinator is not None:
        with contextlib.suppress(RayActorError):
            ray.kill(coordinator, no_restart=True)
    if fit is not None and fit.is_alive():
        fit.join(timeout=SETTLE_S)


class _Fit(threading.Thread):
    """`Tuner.fit` beside the driver's own loop; again, after a while, when storage or a worker failed it."""

    def __init__(self, make: Callable[[], tune.Tuner], over: threading.Event, patience_s: float) -> None:
        """Makes the first tuner, so that its errors come at once. `patience_s`: with storage that fails."""
        super().__init__(daemon=True, name="tuner")
        self._make = make
        self._over = over
        self._patience_s = patience_s
        self._tuner: tune.Tuner | None = make()
        self.error: BaseException | None = None

    def end(self) -> None:
        """Ends Tune; returns when it has ended."""
        self._over.set()
        self.join()

    def run(self) -> None:
        left = waits(self._patience_s)
        while True:
            began = time.monotonic()
            try:
                (self._tuner or self._make()).fit()
                return
            except BaseException as error:  # noqa: BLE001  (handed to the driver's thread)
                self.error = error.with_traceback(None)  # whose frames hold the workers
                if not isinstance(error, OSError) and not isinstance(error.__cause__, RayError):
                    return
            self._tuner = None
            if time.monotonic() - began > LASTED_S:
                left = waits(self._patience_s)
            wait = next(left, None)
            if wait is None or self._over.wait(wait):
                return


def _tuner(
    setup: Setup,
    name: str,
    roster: Roster,
    placements: Sequence[tune.PlacementGroupFactory],
    over: threading.Event,
    callbacks: list[Any],
) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(Worker, lambda config: placements[config["level"]]),
        param_space={"coordinator": name},
        tune_config=tune.TuneConfig(
            search_alg=Asking(roster),
            scheduler=Cancelling(roster),
            num_samples=-1,
            reuse_actors=False,
            max_concurrent_trials=0,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(RunPaths(setup.run).tune.absolute()),
            failure_config=tune.FailureConfig(max_failures=-1),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            stop=StopWhenOver(over),
            verbose=0,
            callbacks=callbacks,
        ),
    )


@contextlib.contextmanager
def _room_for_tune(run: str) -> Iterator[None]:
    """Says in our words what Tune says of its own files in the run's folder."""
    try:
        yield
    except OSError as error:
        raise CutOffError(
            f"the run's folder cannot be written: {error}. Make room, and go on with: raysearch resume {run}"
        ) from error


def _follow(
    coordinator: Any, fit: _Fit, head: Head, run: str, on_status: OnStatus, keep_up: OnStatus
) -> None:
    """Shows snapshots, and keeps up the number of workers, until the search is over."""
    mark("driver: Tune was started")
    while True:
        has_ended = not fit.is_alive()  # asked before the snapshot: after it both may end
        status: Snapshot = answer_of(coordinator.status.remote(), run)
        on_status(status)
        if status.live.end is not None:
            return
        if has_ended:
            raise RunError(f"Ray Tune ended before the search did: {fit.error or 'no worker is left'}")
        if head.is_lost(time.monotonic()):
            raise ClusterLostError(gone(run))
        if head.is_there:  # else asking it for its nodes would not come back
            keep_up(status)
        fit.join(timeout=POLL_S)


@contextlib.contextmanager
def _interrupts(stop: Callable[[str], Any]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM calls `stop`, the second raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
    before = {number: signal.getsignal(number) for number in names}

    def first(number: int, frame: Any) -> None:
        for each in names:
            signal.signal(each, signal.default_int_handler)
        stop(names[signal.Signals(number)])

    for number in names:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _errors_of_ours(run: str) -> Iterator[None]:
    """Raises, for an error of Ray that carries one of ours or tells of the coordinator's death, our own."""
    try:
        yield
    except RayTaskError as error:
        raise (error.cause if isinstance(error.cause, RaysearchError) else error) from error
    except ActorDiedError as error:
        raise _why_died(error, run) from error


def _why_died(error: ActorDiedError, run: str) -> BaseException:
    """Our own error out of the text in which Ray says why the actor could not be created, or is gone."""
    if (ours := raised_in_actor(error)) is not None:
        return RunError(ours)
    if error.actor_init_failed:
        return RunError(f"the coordinator could not start: {error}")
    return CutOffError(gone(run))
