"""What a forecast needs of a search so far: a fold over its outcomes."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from typing import TYPE_CHECKING

from raysearch.core.segment import Outcome, Role, Status
from raysearch.strategies.gain_forecast.forecast import GainForecast, tail_scale

if TYPE_CHECKING:
    from raysearch.space.objectives import Objectives

LEAST_FULL = 4  # trials at full length, below which nothing is forecast
FEWEST, MOST = 5, 12  # of the best at full length that the tail is read from: the better half of them
RECENT = 64  # outcomes that say how many workers train at a time


class SearchRecord:
    """The outcomes of a search in the order in which they were journalled.

    Attributes:
        outcomes: that were taken in, without lost ones and those of the finish.
        worker_s: seconds of workers on all of them, lost ones too.
        tried: trials begun; full: trained to `horizon`, or done before.
    """

    def __init__(self, goals: Objectives, horizon: int, eta: int) -> None:
        """A record without outcomes.

        Args:
            goals: what is compared; a value beyond its limits counts as worst.
            horizon: iterations of a full training.
            eta: of the trials at a rung the best 1/eta go on.
        """
        self.outcomes = 0
        self.worker_s = 0.0
        self.tried = 0
        self.full = 0
        self._goals, self._horizon, self._eta = goals, horizon, eta
        self._rungs: set[int] = set()
        self._top: list[float] = []  # the best at full length
        self._recent: deque[tuple[float, float, str]] = deque(maxlen=RECENT)

    def tell(self, outcome: Outcome) -> bool:
        """Takes an outcome in, each once; whether it counts as one of the search.

        NaN, diverged and failed trainings count as tried, and as worst.
        """
        segment = outcome.segment
        if segment.is_final or segment.role is Role.ADOPTED:
            return False
        self.worker_s += outcome.seconds
        if outcome.status is Status.LOST:
            return False
        self._recent.append((outcome.finished_at, outcome.seconds, outcome.worker))
        self.outcomes += 1
        self.tried += segment.start == 0
        if outcome.status is Status.COMPLETED:
            self._compare(outcome)
        return True

    def _compare(self, outcome: Outcome) -> None:
        goals, curve, stop = self._goals, outcome.curve, outcome.segment.stop
        self._rungs.add(stop)
        if not outcome.done and (stop < self._horizon or outcome.reached < self._horizon):
            return
        self.full += 1
        standing = float(goals.standing(curve))
        if goals.limits and not goals.meets(goals.values_at(curve)):
            standing = math.inf
        if standing < math.inf:
            insort(self._top, standing)
            del self._top[MOST:]

    @property
    def best(self) -> float:
        """Score of the best trial at full length, lower is better; infinity before the first."""
        return self._top[0] if self._top else math.inf

    @property
    def width(self) -> float:
        """How many workers trained at a time, of the last outcomes; at least 1.

        Times in which nobody trained, as between two lives of a search, are left out. No more than the
        workers there were: of a pack of models each has a share of the worker's seconds.
        """
        until, busy_s, total_s = -math.inf, 0.0, 0.0
        for end, seconds, _ in sorted(self._recent, key=lambda one: one[0] - one[1]):
            busy_s += max(0.0, end - max(until, end - seconds))
            total_s += seconds
            until = max(until, end)
        workers = len({worker for _, _, worker in self._recent})
        return min(max(1.0, total_s / busy_s), workers) if busy_s > 0 else 1.0

    @property
    def settled(self) -> float:
        """The trials of which it is known whether they are the best: all but those that rungs still hold.

        Of eta trials at a rung one goes on, so a trial at full length stands for eta of them a rung. Fewer
        at full length than that means that some in training, or waiting to go on, may still win.
        """
        below = len([rung for rung in self._rungs if rung < self._horizon])
        stands_for = float(self._eta) ** min(below, 64)
        return min(float(self.tried), self.full * stands_for)

    def forecast(self, ahead_s: float) -> GainForecast | None:
        """The gain of so many more seconds of workers; None while too few trials reached full length.

        As many configurations an hour as so far are taken to come.
        """
        if self.full < LEAST_FULL or len(self._top) < LEAST_FULL or self.worker_s <= 0:
            return None
        count = min(max(FEWEST, math.ceil(self.full / 2)), MOST)
        coming = self.tried * ahead_s / self.worker_s + self.tried - self.settled
        return GainForecast(tail_scale(self._top[:count]), coming / self.settled)
