"""The real executor: workers are trials of a Ray Tune experiment and pull segments.

Tune starts, places and restarts the workers, and stops them; it knows nothing of the search.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import ActorDiedError, GetTimeoutError, RayActorError, RayError, RayTaskError

from raysearch.cluster.capacity import alive, brought
from raysearch.cluster.connect import is_reachable
from raysearch.cluster.node_health import SILENT_S, Pulse
from raysearch.core.segment import segment_name
from raysearch.engine.messages import Reply
from raysearch.engine.wind_down import BY_SIGNAL
from raysearch.errors import ClusterLostError, RaysearchError, RunError, TrainableError
from raysearch.executors.inline import OnStatus, make_host
from raysearch.executors.tune.coordinator import BEAT_S, start_coordinator
from raysearch.executors.tune.neighbours import Neighbours, claim_of, within
from raysearch.executors.tune.scaling import Fleet, Member, Orders
from raysearch.executors.tune.socket_link import DoorLink
from raysearch.executors.tune.tune_plugins import Asking, Cancelling, Deaths, Roster, Silent
from raysearch.run.session import Setup
from raysearch.storage.atomic import waits
from raysearch.storage.checkpoints.remote import checkpoints_of
from raysearch.storage.paths import RunPaths
from raysearch.worker.env_vars import environment
from raysearch.worker.host import in_words
from raysearch.worker.logs import LogCopy, TrialOutput
from raysearch.worker.loop import Loop
from raysearch.worker.preemption import Left, Notice
from raysearch.worker.protocol import SUPERSEDED, Answer, Job, Link, Turn

if TYPE_CHECKING:
    from raysearch.worker.packed_loop import FusedLoop

STEP_S = 5.0  # how long a worker works between two reports to Tune
TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal is the record
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # how many workers wait is the fleet's to say
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
ANSWER_S = 10.0  # without an answer for so long, the driver looks whether there still is a cluster
LOOK_S = 1.0  # between two looks at the head while there are answers
LOST_S = 40.0  # a head that is away for longer is lost; Ray ends its processes after 60 s
WORD_S = 50.0  # a search that still waits for something then says how to go on, before Ray ends it
LASTED_S = 60.0  # a Tune that ran for so long is given all its attempts again
GOODBYE_S = 5.0  # for the last word of a worker that goes
SILENT = "node {} ({}) has not answered for {:g} s: no worker is started there until it does"
POLL_S = 0.5  # between two looks of the driver at the search


class Worker(tune.Trainable):  # type: ignore[misc]
    """One worker slot, as a Tune trial."""

    def setup(self, config: dict[str, Any]) -> None:
        """Connects to the coordinator and makes the host."""
        self._name: str = config["worker"]
        self._level: int = config["level"]
        self._node = ray.get_runtime_context().get_node_id()
        self._coordinator = ray.get_actor(config["coordinator"], namespace="raysearch")
        self._handle = cloudpickle.dumps(ray.get_runtime_context().current_actor)
        self._actor = ray.get_runtime_context().get_actor_id()
        hello = self._coordinator.hello.remote(self._name, self._handle, self._node, self._level, self._actor)
        job, self._life, self._epoch = ray.get(hello)
        if not self._epoch:
            raise Left(f"{self._name} {SUPERSEDED}")
        paths = RunPaths(job.here)
        log = paths.log_of(self._name)
        TrialOutput(log, self._heading).take_over()
        self._loop: Loop | FusedLoop | None = None
        try:
            loop = self._make_loop(job, paths, log)
        except TrainableError as error:
            ray.get(self._coordinator.refuse.remote(self._name, str(error)))
            raise
        except Exception as error:
            self._complain(error)
            raise
        self._loop = loop
        self._log = LogCopy(log)
        self._stopped = threading.Event()
        self._resting = threading.Event()
        self._grace_s = job.grace_s
        self._notice = Notice(loop, job.grace_s, self._go_without)
        threading.Thread(target=self._beat, daemon=True, name="beat").start()

    def _make_loop(self, job: Job, paths: RunPaths, log: Path) -> Loop | FusedLoop:
        """Many models at once where the trainable is a Learner and its models allow it; else singly."""
        checkpoints = checkpoints_of(paths.root)
        door = DoorLink(lambda: ray.get(self._coordinator.door.remote()), RayLink(self._coordinator))
        link = Signing(door, self._epoch)
        scratch = Path(self.logdir) / "scratch"
        if job.is_fused:
            from raysearch.worker.packed_loop import fused_loop

            learner = job.trainable.load()
            share = ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0)
            loop = fused_loop(job, self._name, learner, checkpoints, link, scratch, self._remark, share)
            if loop is not None:
                return loop
        return Loop(job, self._name, make_host(job, scratch, log), checkpoints, link)

    def step(self) -> dict[str, Any]:
        """Works for a few seconds."""
        assert self._loop is not None
        self._resting.clear()
        try:
            over = self._loop.run(time.monotonic() + STEP_S)
        except Exception as error:
            self._complain(error)
            raise
        finally:
            self._resting.set()
        self._log.send(now=over or bool(self._loop.leaving))
        if self._loop.leaving:
            self._stopped.set()
            raise Left(f"{self._name} {self._loop.leaving}")
        return {"segments": self._loop.segments, "done": over}

    def cleanup(self) -> None:
        """Ends the trial in hand."""
        if self._loop is not None:
            self._stopped.set()
            self._loop.drop()

    def _complain(self, error: Exception) -> None:
        """Tells the coordinator why this process is about to end."""
        ray.get(self._coordinator.complain.remote(self._name, in_words(error)))

    def _remark(self, text: str) -> None:
        """Tells the user something, once for all workers."""
        ray.get(self._coordinator.remark.remote(text))

    def _heading(self) -> str:
        current = self._loop.current if self._loop is not None else None
        return f"segment {segment_name(current)}" if current is not None else self._name

    def _beat(self) -> None:
        """Tells the coordinator what is being trained, until the worker ends."""
        assert self._loop is not None
        wait_s = BEAT_S
        while not self._stopped.wait(wait_s):
            try:
                current, iteration = self._loop.current, self._loop.iteration
                answer = self._coordinator.beat.remote(self._name, current, iteration, self._epoch)
                stop, life, go, wait_s = ray.get(answer, timeout=30)
            except RayError:  # no answer in time, or the coordinator has just died
                continue
            if go == SUPERSEDED and not self._loop.leaving:
                self._make_way()
            if life != self._life:
                self._life = life
                held = self._loop.held()
                self._coordinator.adopt.remote(
                    self._name, self._handle, held, self._node, self._level, self._epoch, self._actor
                )
            if stop:
                self._loop.abort = True
            elif go:
                self._notice.take(go)

    def _make_way(self) -> None:
        """Ends this process, which Tune does not know any more, after the iteration in training."""
        assert self._loop is not None
        self._loop.abort = True
        self._resting.wait(self._grace_s)
        os._exit(1)

    def _go_without(self, why: str) -> None:
        """Says goodbye for a worker whose iteration did not end in time; its process ends."""
        turn = Turn(self._name, leaving=why, epoch=self._epoch)
        with contextlib.suppress(GetTimeoutError, RayActorError):
            ray.get(self._coordinator.exchange.remote(turn), timeout=GOODBYE_S)


class Signing:
    """A link whose turns say which process of its name the worker is."""

    def __init__(self, link: Link, epoch: int) -> None:
        self._link = link
        self._epoch = epoch

    def send(self, turn: Turn) -> Answer:
        """Starts an exchange."""
        return self._link.send(dataclasses.replace(turn, epoch=self._epoch))


class RayLink:
    """The way to the coordinator actor."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator

    def send(self, turn: Turn) -> RayAnswer:
        """Starts an exchange."""
        return RayAnswer(self._coordinator.exchange.remote(turn))


class RayAnswer:
    """An exchange under way."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def ready(self) -> bool:
        """True if the answer is there."""
        return bool(ray.wait([self._reference], timeout=0)[0])

    def get(self) -> Reply:
        """The answer; waits for it. A coordinator that died meanwhile has been started again by Ray."""
        return ray.get(self._reference)  # type: ignore[no-any-return]


class Ended(tune.Stopper):  # type: ignore[misc]
    """Ends running and waiting workers alike once the search is over."""

    def __init__(self, over: threading.Event | None) -> None:
        self._over = over

    def __reduce__(self) -> tuple[type[Ended], tuple[None]]:
        """Tune pickles the experiment for a restore that we never ask for; the event stays here."""
        return Ended, (None,)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Workers stop by themselves."""
        return False

    def stop_all(self) -> bool:
        """True once the driver has seen the search end."""
        return self._over is not None and self._over.is_set()


def run_tune(
    setup: Setup, job: Job, fleet: Fleet, head: Head, on_status: OnStatus, callbacks: list[Any]
) -> dict[str, Any]:
    """Runs the search on the connected Ray cluster until it is over; returns the last snapshot.

    Args:
        head: of the cluster, as `last_words` looks at it.

    Raises:
        RunError: it ended with an error. Everything acknowledged is in the journal.
        KeyboardInterrupt: at the second Ctrl-C.
    """
    name = f"{Path(setup.run).name}-{uuid.uuid4().hex[:8]}"
    claim = claim_of(name, fleet, setup.spec)
    neighbours = Neighbours(claim)
    pulse = Pulse()
    pulse.start()
    neighbours.meet()
    setup = dataclasses.replace(setup, claim=claim)
    coordinator = start_coordinator(name, setup, job)
    over = threading.Event()
    roster = Roster()
    pulse.settle()
    _outdated(pulse, coordinator, ())
    nodes = _answering(pulse)
    part = neighbours.part([*nodes.values()], time.monotonic())
    roster.carry_out(within(fleet.orders((), nodes, {}, time.monotonic()), (), part))
    try:
        extra = [*callbacks, Deaths(coordinator, roster), Silent()]
        placements = [share.placement(pulse) for share in fleet.shares]
        with _room_for_tune(setup.run):
            make = functools.partial(_tuner, setup, name, roster, placements, over, extra)
            fit = _Fit(make, over, setup.spec.storage_timeout_s)
        with (
            environment(**TUNE_ENVIRONMENT),
            _logged(RunPaths(setup.run).logs / "tune.log"),
            _interrupts(lambda why: coordinator.stop.remote(f"{BY_SIGNAL} {why}")),
        ):
            fit.start()
            staff = functools.partial(_staff, coordinator, fleet, roster, neighbours, pulse)
            _follow(coordinator, fit, head, setup.run, on_status, staff)
            roster.end()
            over.set()
            fit.join()
            last: dict[str, Any] = _answer(coordinator.close.remote(), setup.run)
    except RayTaskError as error:
        raise _cause(error) from error
    except ActorDiedError as error:
        raise _why_died(error, setup.run) from error
    except ClusterLostError:
        coordinator = None
        raise
    finally:
        over.set()
        roster.end()
        pulse.stop()
        if coordinator is not None:
            with contextlib.suppress(RayActorError):
                ray.kill(coordinator, no_restart=True)
    on_status(last)
    return last


class _Fit(threading.Thread):
    """`Tuner.fit` beside the driver's own loop; again, after a while, when storage or a worker failed it."""

    def __init__(self, make: Callable[[], tune.Tuner], over: threading.Event, patience_s: float) -> None:
        """The first tuner is made here: who makes it raises. `patience_s`: with storage that fails."""
        super().__init__(daemon=True, name="tuner")
        self._make = make
        self._over = over
        self._patience_s = patience_s
        self._tuner: tune.Tuner | None = make()
        self.error: BaseException | None = None

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
            stop=Ended(over),
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
        raise RunError(
            f"the run's folder cannot be written: {error}. Make room, and go on with: raysearch resume {run}"
        ) from error


def _answering(pulse: Pulse) -> dict[str, dict[str, float]]:
    """The nodes that take work and answer: id -> resources."""
    return {node: amounts for node, amounts in alive().items() if node not in pulse.silent}


def _outdated(pulse: Pulse, coordinator: Any, members: Sequence[Member]) -> tuple[str, ...]:
    """Workers that wait for a share, when nodes fell silent or answer again: they wait for the wrong nodes.

    Says which nodes do not answer.
    """
    fallen, back = pulse.changes()
    for node, address in fallen.items():
        coordinator.remark.remote(SILENT.format(address, node[:8], SILENT_S))
    return tuple(m.name for m in members if not m.node and not m.retiring) if fallen or back else ()


def _staff(
    coordinator: Any,
    fleet: Fleet,
    roster: Roster,
    neighbours: Neighbours,
    pulse: Pulse,
    status: dict[str, Any],
) -> None:
    """Sees that there are as many workers as there should be; none is started while the search winds down."""
    if status["winding"]:
        return
    members, nodes, now = roster.members(status["workers"]), _answering(pulse), time.monotonic()
    if outdated := _outdated(pulse, coordinator, members):
        roster.carry_out(Orders(cancel=outdated))
        members = [m for m in members if m.name not in outdated]
    kinds = brought() if fleet.bounds.can_grow else []
    part = neighbours.part([*nodes.values(), *kinds], now, status["need"])
    there = [m for m in members if not m.node or m.node in nodes]
    orders = within(fleet.orders(members, nodes, status["work"], now), there, part)
    roster.carry_out(orders)
    if retiring := [*orders.retire, *(m.name for m in members if m.retiring and m.node)]:
        coordinator.retire.remote(retiring)
    if text := fleet.missing(members, nodes, now):
        coordinator.remark.remote(text)


def _follow(coordinator: Any, fit: _Fit, head: Head, run: str, on_status: OnStatus, staff: OnStatus) -> None:
    """Shows snapshots, and keeps up the number of workers, until the search is over."""
    while True:
        has_ended = not fit.is_alive()  # asked before the snapshot: after it both may end
        status = _answer(coordinator.status.remote(), run)
        on_status(status)
        if status["ending"]:
            return
        if has_ended:
            raise RunError(f"Ray Tune ended before the search did: {fit.error or 'no worker is left'}")
        if head.is_lost(time.monotonic()):
            raise ClusterLostError(_gone(run))
        if head.is_there:  # else asking it for its nodes would not come back
            staff(status)
        fit.join(timeout=POLL_S)


class Head:
    """The cluster's head, looked at now and then: workers train on without it, until Ray ends them all.

    Ray itself would try for a minute, and then end this process without a word.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._looked_at = self._reached_at = time.monotonic()
        self.is_there = True  # at the last look

    def is_lost(self, now: float, after: float = LOST_S) -> bool:
        """True if it could not be reached for so many seconds that it will hardly come back."""
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self.is_there = is_reachable(self._address)
            if self.is_there:
                self._reached_at = now
        return now - self._reached_at > after


@contextlib.contextmanager
def last_words(run: str, say: Callable[[str], None]) -> Iterator[Head]:
    """Says how to go on with the run where the head is gone while a call to Ray waits for it, and ends.

    Such a call does not come back: Ray would end this process ten seconds later, and say nothing of the run.
    Gives the head, for who can look before such a call.
    """
    head, over = Head(ray.get_runtime_context().gcs_address), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            if head.is_lost(time.monotonic(), WORD_S):
                say(f"error: {_gone(run)}")
                sys.stderr.flush()
                os._exit(2)

    threading.Thread(target=watch, daemon=True, name="head").start()
    try:
        yield head
    finally:
        over.set()


def _answer(reference: Any, run: str) -> Any:
    """The coordinator's answer, however often it dies before it gives it.

    Raises:
        ClusterLostError: there is neither an answer nor a head.
    """
    while True:
        try:
            return ray.get(reference, timeout=ANSWER_S)
        except GetTimeoutError:
            if not is_reachable(ray.get_runtime_context().gcs_address):
                raise ClusterLostError(_gone(run)) from None


class _QuietFile(logging.FileHandler):
    """A log file that a full disk or one out of reach silences, rather than a traceback for every line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Opens the file with the first line, which a handler's own care for errors does not cover."""
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drops the line."""

    def close(self) -> None:
        """Drops what cannot be flushed."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What Tune logs about its workers goes to a file and not over the display."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _QuietFile(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger("ray.tune"), logging.getLogger("ray.air"), logging.getLogger("ray.train")]
    before = [(logger, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagate in before:
            logger.removeHandler(handler)
            logger.propagate = propagate
        handler.close()


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


def _cause(error: RayTaskError) -> BaseException:
    cause = error.cause
    return cause if isinstance(cause, RaysearchError) else error


def _why_died(error: ActorDiedError, run: str) -> BaseException:
    """Our own error out of the text in which Ray says why the actor could not be created, or is gone."""
    text = str(error)
    found = re.findall(r"^raysearch\.errors\.\w+: (.*)$", text, re.MULTILINE)
    if found:
        return RunError(found[-1])
    if "creation task" in text:
        return RunError(f"the coordinator could not start: {text}")
    return RunError(_gone(run))


def _gone(run: str) -> str:
    return (
        "the node on which the search ran is gone, or Ray on it was ended. Every acknowledged outcome is "
        f"in the journal; go on with: raysearch resume {run}"
    )
