"""The loop of a worker: take leases, train them, save what is worth saving, hand in outcomes.

`Loop` is the same under every executor; what differs is the `Link` to the search. The batch adapts
to the length of segments, so that short ones are handed over by the hundred and long ones singly,
and the next exchange is under way while the last leases of a batch are trained.
"""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path
from typing import Protocol

from raysearch.core.error_text import in_words
from raysearch.core.segment import Cause, Outcome, Segment, Status
from raysearch.engine.messages import Going, Lease, Link
from raysearch.errors import CheckpointError
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.checkpoints.meta import read_meta
from raysearch.worker.base import WorkerLoop
from raysearch.worker.checkpoint_policy import smoothed
from raysearch.worker.host import Aborted, Progress
from raysearch.worker.job import Job
from raysearch.worker.reports import Trained

BATCH_S = 0.25  # work that a worker takes at a time
BATCH_MAX = 256
NEVER_SAVED = (
    "the strategy trains models on from their checkpoints, and the trainable writes no checkpoint: pass "
    "checkpoint= to tune.report, and begin from tune.get_checkpoint()"
)


class Trains(Protocol):
    """A Host in this process, or one in a process of its own."""

    def train(self, lease: Lease, checkpoint: Path | None, progress: Progress) -> Trained: ...

    def save(self, folder: Path, midway: bool = False) -> bool: ...

    def drop(self) -> None: ...


class Loop(WorkerLoop):
    """Runs segments one at a time until the search is over."""

    def __init__(self, job: Job, name: str, host: Trains, checkpoints: Checkpoints, link: Link) -> None:
        super().__init__(job, name, checkpoints, link)
        self._host = host
        self._segment_s: float | None = None
        self._iteration_s = 0.0
        self._training: Lease | None = None
        self._must_save = job.must_save
        self._wrote: bool | None = None  # what the last save came to; None before the first
        self._batch = 1
        self._wanted = 1
        self._low = 0

    def run(self, until: float) -> bool:
        """Works until the search is over, or it has to leave (True), or the time is `until` (False)."""
        while not self.abort and not self.leaving:
            if self._answer is None and len(self._queue) <= self._low:
                self._send()
            if self._answer is not None and not self._queue:
                answer, self._answer = self._answer, None
                reply = answer.get()
                if reply.stop:
                    return True
                self._saving.keep, self._saving.bars = reply.keep, reply.bars
                self._queue.extend(reply.leases)
                # Given all it asked for, it asks again at half; else there is little, so finish that first.
                self._low = self._batch // 2 if len(reply.leases) >= self._wanted else 0
            if time.monotonic() >= until:
                return False
            if self._queue:
                lease = self._queue.popleft()
                if self._answer is None and self._outcomes and self._expected_s(lease) > BATCH_S:
                    self._send(lease)  # what is done must not wait for a long one
                self._train(lease)
        self._send_last()
        return True

    def held(self) -> tuple[Lease, ...]:
        """The leases in hand, the one in training first, for a coordinator that has forgotten them."""
        queue, training = tuple(self._queue), self._training
        return queue if training is None else (training, *queue)

    def drop(self) -> None:
        """Ends the trial in hand."""
        self._host.drop()

    def _expected_s(self, lease: Lease) -> float:
        return _iterations(lease) * self._iteration_s

    def _send(self, in_hand: Lease | None = None) -> None:
        self._wanted = self._room()
        held = self._queue if in_hand is None else (in_hand, *self._queue)
        self._send_turn(self._wanted, tuple(lease.segment.id for lease in held))

    def _room(self) -> int:
        if self._segment_s is not None:
            wanted = int(BATCH_S / max(self._segment_s, BATCH_S / BATCH_MAX))
            self._batch = max(1, min(wanted, 4 * self._batch, BATCH_MAX))
        return max(1, self._batch - len(self._queue))

    def _train(self, lease: Lease) -> None:
        began = time.perf_counter()
        self._training, self.current, self.iteration = lease, lease.segment.id, lease.segment.start
        try:
            folder = self._checkpoints.verified(lease.checkpoint) if lease.checkpoint else None
            trained = self._host.train(lease, folder, self._progress)
            save = self._broken_off if trained.paused else self._checkpointed
            checkpoint = save(lease.segment, trained)
        except Aborted:
            return
        except CheckpointError as unreadable:
            text = self._note_unreadable(lease, unreadable)
            trained, checkpoint = Trained(Status.LOST, error=text, cause=Cause.CHECKPOINT), None
        self._fail_unsaved(trained)
        seconds = time.perf_counter() - began
        self._segment_s = smoothed(self._segment_s, seconds)
        self._iteration_s = smoothed(self._iteration_s, seconds / _iterations(lease))
        self._outcomes.append(
            Outcome(
                lease.segment,
                trained.status,
                trained.curve,
                checkpoint,
                seconds,
                self.name,
                trained.error,
                trained.done,
                cause=trained.cause,
                used=trained.used(),
            )
        )
        self.segments += 1
        self._training = None

    def _progress(self, iteration: int) -> Going:
        self.iteration = iteration
        if self.leaving:
            return Going.PAUSE
        return Going.STOP if self.abort else Going.ON

    def _broken_off(self, segment: Segment, trained: Trained) -> str | None:
        """The name of a checkpoint in the midst of the segment, if it can be saved; `trained` says so."""
        trained.cause = Cause.LEFT
        name, error = self._save(segment, midway=True)
        if name is None:
            trained.curve = {}
            trained.error = error or f"its worker {self.leaving}; the trainable wrote no checkpoint"
            return None
        at = read_meta(self._checkpoints.path(name))["iteration"]
        trained.curve = {
            metric: values[: max(0, at - segment.start)] for metric, values in trained.curve.items()
        }
        trained.error = f"its worker {self.leaving}; it goes on from iteration {at} of {segment.stop}"
        return name

    def _checkpointed(self, segment: Segment, trained: Trained) -> str | None:
        """The name of the checkpoint, if one is worth it; what went wrong in writing is in `trained`."""
        if trained.status is not Status.COMPLETED or not self._saving.is_worth(
            segment, trained.curve, trained.grown_s
        ):
            return None
        name, error = self._save(segment)
        if error:
            trained.error, trained.cause = error, Cause.CHECKPOINT
        return name

    def _fail_unsaved(self, trained: Trained) -> None:
        """Fails a segment after which a trainable that must save saved nothing."""
        if self._must_save and self._wrote is False and trained.status is Status.COMPLETED:
            trained.status, trained.error, trained.cause = Status.FAILED, NEVER_SAVED, Cause.NO_CHECKPOINT

    def _save(self, segment: Segment, midway: bool = False) -> tuple[str | None, str]:
        """(name of the checkpoint or None, what went wrong or nothing)."""
        began = time.perf_counter()
        try:
            folder = self._checkpoints.path_for_new(segment.id, secrets.token_hex(4))
            name = self._write(folder, midway)
        except Exception as error:  # noqa: BLE001  (the user's save_checkpoint may raise anything)
            return None, f"checkpoint not written: {in_words(error)}"
        self._saving.took(time.perf_counter() - began)
        self._wrote = name is not None
        return name, ""

    def _write(self, folder: Path, midway: bool) -> str | None:
        try:
            if self._host.save(folder, midway):
                return self._checkpoints.commit(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _iterations(lease: Lease) -> int:
    return sum(segment.stop - segment.start for segment in (*lease.chain, lease.segment))
