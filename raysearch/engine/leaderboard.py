"""How a search stands: counts, rungs, the best. A fold over outcomes."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from typing import TYPE_CHECKING

from raysearch.core.segment import Event, Mode, Outcome, Role, Segment, Status, score
from raysearch.engine.snapshot import BestSoFar, Latest, OutcomeTally, highest

if TYPE_CHECKING:
    from raysearch.space.objectives import Objectives

TOP = 16  # how many of the best of each rung are written even where growing them again is cheaper
STOPS_KEPT = 256  # of more, the lowest lose their best


class Standings(OutcomeTally):
    """A tally of outcomes as they come in; remembers the best of each rung.

    Attributes:
        bars: score of the TOP-th best by iteration, once there are so many.
        first_error: of the first outcome that failed.
    """

    def __init__(self, metric: str, mode: Mode, goals: Objectives | None = None) -> None:
        """The best is by the metric; of those within the limits, where `goals` has some."""
        super().__init__()
        self.bars: dict[int, float] = {}
        self.first_error = ""
        self._latest: Outcome | None = None
        self._goals = goals if goals is not None and goals.limits else None
        self._metric = metric
        self._mode = mode
        self._top: dict[int, list[float]] = {}

    @property
    def leaders(self) -> set[int]:
        """The best segment of each of the highest rungs; a long line has hundreds of them."""
        return {self.best[stop].segment for stop in highest(self.best)}

    def fold(self, outcome: Outcome) -> None:
        """Takes an outcome in."""
        segment = outcome.segment
        self.counts[outcome.status] += 1
        self.busy_s += outcome.seconds
        if outcome.status is Status.LOST:
            return
        if outcome.status is Status.FAILED:
            self.first_error = self.first_error or outcome.error
        reached, is_final = outcome.reached, segment.is_final
        if segment.parent is not None or is_final or segment.event:
            self.recent.append((segment.id, segment.reason))
        if segment.role != Role.ADOPTED:
            self.iterations += reached - segment.start
        values = outcome.curve.get(self._metric, ())
        is_sound = outcome.status is Status.COMPLETED and len(values) > 0 and math.isfinite(values[-1])
        if is_sound:
            self._latest = outcome
        if is_final:
            self.finals += 1
            return
        self.trials += segment.start == 0
        ended_there = self.reached.get(segment.stop)
        if ended_there is None:
            ended_there = self.reached[segment.stop] = Counter()
        ended_there[outcome.status] += 1
        self.ended[outcome.status] += 1
        if is_sound and self._goals is not None:
            is_sound = self._goals.meets(self._goals.values_at(outcome.curve))
        if is_sound and segment.event is not Event.NUDGE:  # a probe, until the line goes on from it
            self._compare(segment, values[-1], reached)

    @property
    def latest(self) -> Latest | None:
        """The last outcome with a finite value; None before the first."""
        latest = self._latest
        if latest is None:
            return None
        segment, values = latest.segment, latest.curve[self._metric]
        return Latest(segment.trial, latest.reached, values[-1], segment.config)

    def _compare(self, segment: Segment, value: float, reached: int) -> None:
        standing = score(value, self._mode)
        top = self._top.get(segment.stop)
        if top is None:
            top = self._top[segment.stop] = []
        if len(top) < TOP or standing < top[-1]:
            bisect.insort(top, standing)
            del top[TOP:]
            if len(top) == TOP:
                self.bars[segment.stop] = top[-1]
        best = self.best.get(segment.stop)
        if best is None or standing < score(best.value, self._mode):
            self.best[segment.stop] = BestSoFar(segment.trial, segment.id, value, reached, segment.config)
            if len(self.best) > STOPS_KEPT:
                self._drop_lowest()

    def _drop_lowest(self) -> None:
        lowest = min(self.best)
        for kept in (self.best, self._top, self.bars, self.reached):
            kept.pop(lowest, None)
