"""One worker slot, as a trial of Ray Tune."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from raysearch.core.error_text import in_words
from raysearch.core.segment import segment_name
from raysearch.engine.messages import BEAT_S, Dismissal, Turn
from raysearch.errors import TrainableError
from raysearch.executors.tune.links import RayLink, Signing
from raysearch.executors.tune.socket_link import DoorLink
from raysearch.storage.checkpoints.remote import checkpoints_of
from raysearch.storage.marks import mark
from raysearch.storage.paths import RunPaths
from raysearch.worker.child_steps import environment_for
from raysearch.worker.host_factory import make_host
from raysearch.worker.job import Job
from raysearch.worker.logs import LogCopy, TrialOutput
from raysearch.worker.loop import Loop
from raysearch.worker.preemption import Left, Notice

if TYPE_CHECKING:
    from raysearch.worker.packed_loop import FusedLoop

STEP_S = 5.0  # how long a worker works between two reports to Tune
GOODBYE_S = 5.0  # for the last word of a worker that goes


class Worker(tune.Trainable):  # type: ignore[misc]
    """One worker slot, as a Tune trial."""

    def setup(self, config: dict[str, Any]) -> None:
        """Connects to the coordinator and makes the host."""
        mark("worker: process is up")
        self._name: str = config["worker"]
        self._level: int = config["level"]
        self._node = ray.get_runtime_context().get_node_id()
        self._coordinator = ray.get_actor(config["coordinator"], namespace="raysearch")
        self._handle = cloudpickle.dumps(ray.get_runtime_context().current_actor)
        self._actor = ray.get_runtime_context().get_actor_id()
        hello = self._coordinator.hello.remote(self._name, self._handle, self._node, self._level, self._actor)
        job, self._life, self._epoch = ray.get(hello)
        if not self._epoch:
            raise Left(f"{self._name} {Dismissal.SUPERSEDED}")
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
        mark("worker: trainable is loaded")
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
        os.environ.update(environment_for(scratch / "children"))
        host = make_host(job, scratch, log, self._remark, on_ray=True)
        return Loop(job, self._name, host, checkpoints, link)

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
            if go is Dismissal.SUPERSEDED and not self._loop.leaving:
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
