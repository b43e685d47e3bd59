"""What every loop of a worker has: its leases and outcomes, and its conversation with the search."""

from __future__ import annotations

from collections import deque

from raysearch.core.segment import Outcome
from raysearch.engine.messages import Answer, Lease, Link, Turn
from raysearch.errors import CheckpointError
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.worker.checkpoint_policy import Saving
from raysearch.worker.job import Job


class WorkerLoop:
    """Leases in hand, outcomes to hand in, and the exchange under way.

    Attributes:
        name: of the worker.
        current: the segment in training; None before the first.
        iteration: where that segment is.
        abort: set by another thread: the search is over.
        leaving: set by another thread, in words: the worker has to go. What is in training is saved.
        segments: how many have ended.
    """

    def __init__(self, job: Job, name: str, checkpoints: Checkpoints, link: Link) -> None:
        self.name = name
        self.current: int | None = None
        self.iteration = 0
        self.abort = False
        self.leaving = ""
        self.segments = 0
        self._checkpoints = checkpoints
        self._link = link
        self._saving = Saving(job.metric, job.mode)
        self._queue: deque[Lease] = deque()
        self._outcomes: list[Outcome] = []
        self._unreadable: list[tuple[str, int, str]] = []
        self._answer: Answer | None = None

    def _send_turn(self, wanted: int, held: tuple[int, ...]) -> None:
        """Hands in the outcomes, and asks for `wanted` leases beside those `held`."""
        turn = Turn(self.name, tuple(self._outcomes), wanted, held, tuple(self._unreadable))
        self._outcomes, self._unreadable = [], []
        self._answer = self._link.send(turn)

    def _send_last(self) -> None:
        """Hands in what ended before the loop was interrupted, and waits until the search has it."""
        if self._outcomes or self.leaving:
            turn = Turn(self.name, tuple(self._outcomes), leaving=self.leaving)
            self._outcomes = []
            self._link.send(turn).get()

    def _note_unreadable(self, lease: Lease, error: CheckpointError) -> str:
        """Has the search grow the lease's checkpoint again; returns the text of the lost segment."""
        assert lease.checkpoint is not None
        assert lease.origin is not None
        self._unreadable.append((lease.checkpoint, lease.origin, str(error)))
        return f"checkpoint {lease.checkpoint} could not be loaded: {error}"
