"""What becomes of segments that fail or lose their worker: tried again, or failed for good.

A segment that raises is tried again `retries` times. A segment that was trained at LOSS_LIMIT deaths fails,
since it often kills its worker; each segment that outlives a death meanwhile raises that limit by one,
because then machines are at fault. One whose workers have to go LEFT_LIMIT times, each time with nothing
saved, fails too: it might be trained again for ever. `Growth` decides where memory ran out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysearch.core.segment import Cause, Outcome, Segment, Status, segment_name
from raysearch.engine.suspects import Suspects

if TYPE_CHECKING:
    from raysearch.engine.leaderboard import Standings
    from raysearch.engine.memory_retry import Growth

LOSS_LIMIT = 3  # a segment that was in training when its worker died this often kills its workers
LEFT_LIMIT = 10  # a segment whose worker had to go this often, each time with nothing saved, never ends
GIVE_UP_AFTER = 10  # failures with nothing else before them that end a search


@dataclass(frozen=True, slots=True)
class Loss:
    """How a worker came to be lost.

    Attributes:
        words: for the outcome of the segment that it trained.
        cause: STALLED fails the segment at once; MEMORY_KILL may get it a larger share.
        blame: False for a death that is no segment's fault, such as its node's.
    """

    words: str
    cause: Cause = Cause.OTHER
    blame: bool = True

    @property
    def stalled(self) -> bool:
        """Whether its training made no progress."""
        return self.cause is Cause.STALLED


class FaultRules:
    """Counts failures and deaths of segments, and decides what they cost.

    Attributes:
        last_death: which worker ended last while it trained what, in words.
    """

    def __init__(
        self, retries: int, growth: Growth, standings: Standings, fail: Callable[[str], None]
    ) -> None:
        """No faults yet; `fail` ends the search with an error."""
        self.last_death = ""
        self._retries = retries
        self._growth = growth
        self._standings = standings
        self._fail = fail
        self._suspects = Suspects()
        self._deaths: Counter[int] = Counter()  # of workers that trained this segment
        self._survivors = 0  # segments that were lost with a worker, and then completed
        self._survivors_before: dict[int, int] = {}  # how many they were when a segment was lost first
        self._left: Counter[int] = Counter()  # workers that went while they trained it, with nothing saved
        self._failures: Counter[int] = Counter()
        self._failed = 0  # segments in this life
        self._is_going_well = False  # any that did not fail
        self._is_resumed = False

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome as it counts: a failed one with retries left is lost, so that it is asked for again."""
        if outcome.status is Status.LOST and outcome.cause is Cause.LEFT:
            return self._left_again(outcome)
        if outcome.status is Status.LOST and outcome.cause in (Cause.PROCESS_DIED, Cause.UNREACHABLE):
            return self._part_died(outcome)
        if outcome.status is not Status.FAILED:
            return outcome
        if outcome.cause is Cause.NO_CHECKPOINT:  # and never will
            self._fail(f"{outcome.error}. The run can be resumed when that is mended")
        if (again := self._growth.tried_again(outcome)) is not None:
            return again
        self._standings.first_error = self._standings.first_error or outcome.error
        self._failures[outcome.segment.id] += 1
        attempt = self._failures[outcome.segment.id]
        if attempt > self._retries:
            return outcome
        text = f"attempt {attempt} of {self._retries + 1} failed: {outcome.error}"
        return dataclasses.replace(outcome, status=Status.LOST, curve={}, error=text)

    def _left_again(self, outcome: Outcome) -> Outcome:
        """As it is; failed where the segment's workers go again and again, and it gets no further."""
        if outcome.checkpoint is not None:
            self._left.pop(outcome.segment.id, None)
            return outcome
        self._left[outcome.segment.id] += 1
        count = self._left[outcome.segment.id]
        if count < LEFT_LIMIT:
            return outcome
        text = (
            f"{outcome.error}; {count} times, each time with nothing saved: either the trainable sends "
            "SIGTERM to its own process, or nodes go sooner than a segment lasts and it saves no checkpoint "
            "on the way"
        )
        return dataclasses.replace(outcome, status=Status.FAILED, curve={}, error=text)

    def _part_died(self, outcome: Outcome) -> Outcome:
        """As it is, where one process of a worker died or hung; failed at the limit of `death`."""
        segment = outcome.segment.id
        self._deaths[segment] += 1
        before = self._survivors_before.setdefault(segment, self._survivors)
        if self._deaths[segment] < LOSS_LIMIT + self._survivors - before:
            return outcome
        text = f"{outcome.error}, {self._deaths[segment]} times: this segment ends its processes"
        return dataclasses.replace(outcome, status=Status.FAILED, curve={}, error=text)

    def suspected(self, held: Iterable[int], training: int | None) -> list[int]:
        """The segments to suspect after a death of the worker that held these."""
        return self._suspects.after_death(held, training)

    def blame(self, segment: int) -> None:
        """A death that was excused counts after all against the segment that was trained."""
        self._deaths[segment] += 1

    def death(self, segment: Segment, worker: str, now: float, loss: Loss, trained_s: float) -> Outcome:
        """The outcome of a segment whose worker was lost while it trained: LOST, or FAILED at its limit.

        `trained_s` is how long a stalled training took.
        """
        name = segment_name(segment.id)
        self.last_death = f"the last, {worker}, ended while it trained segment {name} ({loss.words})"
        self._deaths[segment.id] += loss.blame
        before = self._survivors_before.setdefault(segment.id, self._survivors)
        if loss.cause is Cause.MEMORY_KILL:
            killed = Outcome(
                segment, Status.FAILED, worker=worker, error=loss.words, finished_at=now, cause=loss.cause
            )
            if (again := self._growth.tried_again(killed)) is not None:
                return again
        count = self._deaths[segment.id]
        fails = loss.stalled or count >= LOSS_LIMIT + self._survivors - before
        text = loss.words
        if fails and not loss.stalled:
            text += f", {count} times: this segment kills its worker"
        status = Status.FAILED if fails else Status.LOST
        return Outcome(
            segment,
            status,
            seconds=trained_s,
            worker=worker,
            error=text,
            finished_at=now,
            cause=loss.cause,
        )

    def fold(self, outcome: Outcome) -> None:
        """Takes in an outcome that is durable; a life whose first segments all fail is ended."""
        if outcome.status is Status.LOST:
            self._growth.fold(outcome)
            return
        segment = outcome.segment.id
        self._suspects.clear(segment)
        self._left.pop(segment, None)
        if self._deaths or self._failures:
            outlived = self._deaths.pop(segment, 0) > 0
            self._survivors_before.pop(segment, None)
            self._survivors += outlived and outcome.status is Status.COMPLETED
            self._failures.pop(segment, None)
        if outcome.status is Status.FAILED:
            self._failed += 1
            self._give_up_if_hopeless()
        else:
            self._is_going_well = True

    def fold_replayed(self, outcome: Outcome) -> None:
        """As `fold`, for an outcome of an earlier life: a kill for memory may have ended that life too."""
        self.fold(outcome)
        if outcome.status is Status.LOST and outcome.cause is Cause.MEMORY_KILL:
            self._deaths[outcome.segment.id] += 1

    def begin_life(self) -> None:
        """After a replay: what failed before is mended, and what went well then says nothing of now."""
        self._standings.first_error = ""
        self._is_resumed = self._failed > 0 or self._is_going_well
        self._failed, self._is_going_well = 0, False

    def _give_up_if_hopeless(self) -> None:
        if self._is_going_well or self._failed < GIVE_UP_AFTER:
            return
        since = " since the resume" if self._is_resumed else ""
        self._fail(
            f"the first {GIVE_UP_AFTER} segments{since} all failed, so the search was ended. "
            f"The first error was: {self._standings.first_error}"
        )
