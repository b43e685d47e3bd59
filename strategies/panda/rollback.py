"""When a line goes back, how far, and what it changes there: decided from its own losses.

The first fault after a nudge is laid on the nudge, which is undone. Later ones go back twice as far each
time, with a calmer learning rate after spikes. A loss that is high but finite is accepted in the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysearch.core.segment import Config, segment_name
from raysearch.space.space import Space
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.axes import Axes, Axis
from raysearch.strategies.panda.loss_guard import Guard
from raysearch.strategies.panda.rollback_points import Ring
from raysearch.strategies.rounds import End

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

SPIKE_RATE = 0.5  # of the learning rate while it is warmed up again after a spike
REPEAT_RATE = 0.7  # for good, when it spikes again
BACK_MOST = 6  # times in a row that the line goes back before it is given up
PATIENCE = 2  # times in a row that it goes back for a loss that is high but finite
GOOD_STRETCHES = 3  # in a row, after which a fault is the first again
UNDO_WITHIN = 2  # moments, or intervals, in which a fault is laid on the last nudge
REORDERED = "the examples come in another order"


@dataclass(frozen=True, slots=True)
class Undo:
    """How to take the last accepted change back: when it was, from where, and what held before."""

    moment: int
    tip: End | None
    learned: Config
    axis: Axis | None


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong with a stretch, in words.

    Attributes:
        is_spike: the model cannot go on from there: a spike, NaN or a failure. Else it is a bad day.
    """

    words: str
    is_spike: bool


@dataclass(frozen=True, slots=True)
class Retreat:
    """Where a line goes back to, and with what.

    Attributes:
        target: None is a fresh model.
        calm: factor of the learning rate for the next stretch; None leaves it as it is.
    """

    target: End | None
    learned: Config
    remedy: str
    calm: float | None = None

    def __str__(self) -> str:
        if self.target is None:
            return "to a fresh model"
        return f"to {segment_name(self.target.segment.id)}, iteration {self.target.at}"


class Rollback:
    """Watches one line, and says where it goes back to.

    Attributes:
        undo: the last accepted change, while it can be taken back.
        count: times in a row that the line went back.
    """

    def __init__(self, recipe: Panda, space: Space, axes: Axes) -> None:
        self.undo: Undo | None = None
        self.count = 0
        self._interval = recipe.interval_iterations
        self._space, self._axes = space, axes
        self._ring = Ring()
        self._guard = Guard(recipe.interval_iterations)
        self._learned_at: dict[int, Config] = {}
        self._good = 0

    def needed(self) -> Iterator[int]:
        """Segments that the line may go back to."""
        yield from (end.segment.id for end in self._ring)
        if self.undo is not None and self.undo.tip is not None:
            yield self.undo.tip.segment.id

    def begin(self, end: End) -> None:
        """The line begins from a model that was trained before."""
        self._ring.add(end)

    def previous(self) -> End | None:
        """Where the line stood a cycle before its last point."""
        return self._ring.back(1)

    def fault(self, end: End, is_last: bool, every: int = 1) -> Fault | None:
        """What is wrong with a stretch; in the last one only a spike is. `every`: see `Guard.spike`."""
        spike = end.why if not end.is_sound else self._guard.spike(end.losses, every)
        if spike:
            return Fault(spike, True)
        bad_day = "" if is_last else self._guard.bad_day(end.at, end.loss)
        return Fault(bad_day, False) if bad_day else None

    def is_patient(self) -> bool:
        """Whether a loss that is high but finite is still a reason to go back."""
        return self.count < PATIENCE

    def forget(self) -> None:
        """Takes the losses as they are: what was before is no measure any more."""
        self._guard.forget()

    def passed(self) -> None:
        """A stretch went well."""
        self._good += 1
        if self._good >= GOOD_STRETCHES:
            self.count = 0

    def note(self, end: End, learned: Config) -> None:
        """The line has come to the end of a stretch with these values."""
        self._ring.add(end)
        self._learned_at[end.segment.id] = learned
        self._guard.note(end.at, end.loss, end.losses)

    def learned_at(self, end: End) -> Config:
        """What the line had learnt at an earlier end; the configuration trained there if it is not known."""
        return self._learned_at.get(end.segment.id, end.segment.config)

    def cut(self, target: End | None) -> None:
        """The line goes on from an earlier end: what came after it is no part of it any more."""
        self._ring.cut(target)
        self._guard.cut(0 if target is None else target.at)

    def retreat(
        self, learned: Config, moment: int, reached: int, rate: str | None, is_forced: bool
    ) -> Retreat | None:
        """Where the line goes back to; None after BACK_MOST times in a row.

        Args:
            learned: the values in use.
            reached: the iteration to which the line was trained just now.
            is_forced: it was a spike, not a bad day.
        """
        self.count += 1
        self._good = 0
        if self.count > BACK_MOST:
            return None
        undo, self.undo = self.undo, None
        if undo is not None and self._is_recent(undo, moment, reached):
            return self._undone(undo, learned, rate, is_forced)
        return self._calmed(self._ring.back(2 ** (self.count - 1)), learned, rate, is_forced)

    def _is_recent(self, undo: Undo, moment: int, reached: int) -> bool:
        """Whether undoing it costs no more than two intervals, what was trained just now included."""
        since = reached - (undo.tip.at if undo.tip is not None else 0)
        return moment - undo.moment < UNDO_WITHIN or since <= UNDO_WITHIN * self._interval

    def _undone(self, undo: Undo, learned: Config, rate: str | None, is_forced: bool) -> Retreat:
        words = perturb.in_words(self._space, learned, undo.learned)
        axes = self._axes
        if is_forced and rate is not None:
            before, now = axes.rate_of(undo.learned), axes.rate_of(learned)
            if now > before:
                axes.ceiling = min(axes.ceiling, math.sqrt(before * now))
        if undo.axis is not None:
            undo.axis.turn()
        return Retreat(undo.tip, undo.learned, f"undone: {words}")

    def _calmed(self, target: End | None, learned: Config, rate: str | None, is_forced: bool) -> Retreat:
        if rate is None:
            return Retreat(target, learned, REORDERED)
        axes = self._axes
        spiked_before = is_forced and axes.rate_of(learned) >= axes.ceiling
        if is_forced:
            axes.ceiling = min(axes.ceiling, axes.rate_of(learned))
        if self.count > 1 or spiked_before:
            calmer = perturb.scaled(self._space, learned, rate, REPEAT_RATE)
            words = perturb.in_words(self._space, learned, calmer)
            return Retreat(target, calmer, f"for good: {words}")
        if is_forced:
            words = f"{rate} at {SPIKE_RATE:g} of its value for a stretch"
            return Retreat(target, learned, words, SPIKE_RATE)
        return Retreat(target, learned, REORDERED)
