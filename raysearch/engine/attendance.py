"""Workers that come, go and hang, and what that costs the segments that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysearch.core.segment import Cause, Outcome
from raysearch.engine.faults import GIVE_UP_AFTER, FaultRules, Loss

if TYPE_CHECKING:
    from raysearch.engine.books import Books
    from raysearch.engine.ending import Lifetime
    from raysearch.engine.limits import Limits
    from raysearch.engine.messages import Lease
    from raysearch.engine.notices import Warnings
    from raysearch.engine.workers import Overdue


@dataclass(frozen=True, slots=True)
class Holding:
    """Where a worker is and what it does: its node, the ids it holds, and the one it trains."""

    node: str
    held: tuple[int, ...]
    training: int | None


class Attendance:
    """The workers of a search, as their arrivals and deaths change its segments."""

    def __init__(
        self,
        limits: Limits,
        books: Books,
        faults: FaultRules,
        lifetime: Lifetime,
        warnings: Warnings,
    ) -> None:
        self._limits = limits
        self._states, self._leases = books.states, books.leases
        self._queue, self._workers = books.queue, books.workers
        self._faults = faults
        self._lifetime = lifetime
        self._warnings = warnings

    def __len__(self) -> int:
        return len(self._workers)

    def post_of(self, worker: str) -> Holding | None:
        """Where the worker is and what it does; None if it is not here."""
        state = self._workers.state_of(worker)
        if state is None:
            return None
        return Holding(state.node, tuple(self._leases.of(worker)), state.current)

    def node_of(self, worker: str) -> str:
        """Where the worker runs; empty if that is not known."""
        state = self._workers.state_of(worker)
        return state.node if state is not None else ""

    # ---- coming

    def hello(self, worker: str, now: float, node: str = "", level: int = 0) -> list[Outcome]:
        """A worker's process has started on a node. What an earlier one of that name held is lost.

        Returns outcomes to `commit`. Ends the search when workers start over and over and none ever
        finishes a segment.
        """
        lost = (
            self.lose(worker, now, Loss("its worker died", Cause.PROCESS_DIED))
            if worker in self._workers
            else []
        )
        state = self._workers.see(worker, now)
        state.lives, state.node, state.level = state.lives + 1, node, level
        lives = self._workers.lives
        if lives >= GIVE_UP_AFTER + len(self._workers) and not self._workers.has_worked:
            why = self._why_dying(worker)
            self._lifetime.fail(f"workers were started {lives} times and none finished a segment: {why}")
        return lost

    def adopt(self, worker: str, leases: Iterable[Lease], now: float, node: str = "", level: int = 0) -> None:
        """A worker that outlived a coordinator claims what it is training."""
        state = self._workers.see(worker, now)
        state.node, state.level = node, level
        for lease in leases:
            self._states.claim(worker, lease.segment)

    def recognise(self, worker: str, epoch: int) -> bool:
        """False for a process that was given up, or whose name a later one has; it is to end.

        What an earlier one of that name holds waits again. Epoch 0: an executor without worker processes.
        """
        if not self._workers.recognise(worker, epoch):
            return False
        if self._workers.take_over(worker, epoch):
            self._queue.put(self._states.take_back(worker))
        return True

    # ---- going

    def retire(self, workers: Iterable[str]) -> None:
        """These workers get no more work, and the stop signal once they have handed in what they hold."""
        for worker in workers:
            if (state := self._workers.state_of(worker)) is not None:
                state.retiring = True

    def leave(self, worker: str, now: float, how: str, cause: Cause = Cause.LEFT) -> list[Outcome]:
        """A worker has left, with its node (NODE_LOST) or as its cluster told it: no segment is blamed.

        Returns outcomes to `commit`; `how` says it in words.
        """
        if worker not in self._workers:
            return []
        lost = self.lose(worker, now, Loss(f"its worker {how}", cause, blame=False))
        self._workers.forget(worker)
        if how:
            self._warnings.add(f"{worker} {how}")
        return lost

    def forget(self, worker: str) -> None:
        """The worker holds nothing, and does not come back."""
        self._workers.forget(worker)

    def lose(self, worker: str, now: float, loss: Loss) -> list[Outcome]:
        """The worker is gone, or hangs; returns outcomes to `commit` for what that cost.

        The segment that it trained is LOST or FAILED (see `FaultRules`), the others wait again. Those that
        may have killed it are suspected.
        """
        state = self._workers.see(worker, now)
        held, since = self._leases.of(worker), state.progress_at
        training = state.current if state.current in held else next(iter(held), None)
        self._workers.give_up(worker, now)
        if loss.blame:
            self._states.blame(self._faults.suspected(held, training))
        back, died = self._states.lose(worker, training)
        self._queue.put(back)
        if died is None:
            return []
        return [self._faults.death(died, worker, now, loss, now - since if loss.stalled else 0.0)]

    def blame(self, held: Sequence[int], training: int | None) -> None:
        """Charges a death, first excused as a node failure, to the segments that the worker held."""
        still_open = [segment for segment in held if not self._states.has_ended(segment)]
        self._states.blame(self._faults.suspected(still_open, training))
        if training is not None and training in still_open:
            self._faults.blame(training)

    # ---- watching

    def excuse(self, seconds: float) -> None:
        """Moves all signs of life by a time in which no worker could have been heard."""
        self._workers.excuse(seconds)

    def overdue(self, now: float) -> list[Overdue]:
        """Workers that should be replaced."""
        return self._workers.overdue(now, self._limits.silence_s, self._limits.stall_timeout_s)

    def need(self, now: float) -> int | None:
        """How many workers there is work for, at least one; None while nothing says there are too many."""
        return self._workers.need(len(self._queue), now)

    def note_need(self, now: float) -> None:
        """Notes whether workers find too little to do; then more is planned than workers ask for."""
        self._workers.note_need(len(self._queue), now)

    def _why_dying(self, worker: str) -> str:
        known = "; ".join([*self._warnings, *filter(None, [self._faults.last_death])])
        return (
            f"{known or 'no worker received a segment'}. A process that ends by itself leaves no word; what "
            f"it printed last is at the end of logs/{worker}.log in the run's folder (raysearch logs)"
        )
