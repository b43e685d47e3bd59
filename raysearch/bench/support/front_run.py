"""A search of several objectives on a task, and what it found over its cost: the share of the hypervolume."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raysearch.bench.support.front_tasks import Task
from raysearch.core.hypervolume import hypervolume
from raysearch.core.pareto import Bools, non_dominated
from raysearch.core.segment import Outcome
from raysearch.engine.search import Search
from raysearch.executors.simulated import Floats
from raysearch.space.objectives import Objectives
from raysearch.strategies.base import Strategy

WIDE = 10.0  # greatest over least, from which on an objective is compared on a log scale
REFERENCE = 1.1  # on the scale of a front, from 0 at its best to 1 at its worst


@dataclass(frozen=True)
class Seen:
    """What a search saw, in order of its cost.

    Attributes:
        at: cost at which each report was known.
        values: raw objectives, shape (n, m); within: whether the report was within the limits.
        trials: how many trials were begun; beyond: how many of them ended beyond the limits.
    """

    at: Floats
    values: Floats
    within: Bools
    trials: int
    beyond: int


def drive(strategy: Strategy, task: Task, workers: int, budget: float) -> Seen:
    """Runs a strategy with so many workers until the budget, in the task's cost for each worker, is spent."""
    goals = task.goals
    search = Search(strategy, metric=goals.leading, mode=goals.modes[goals.leading], objectives=goals)
    idle, events = [f"w{i}" for i in reversed(range(workers))], list[tuple[float, int, str, Outcome]]()
    found: list[tuple[float, list[float], bool]] = []
    last: dict[int, bool] = {}  # by trial: whether it is within the limits
    now, count = 0.0, 0
    while True:
        while idle and (leases := search.exchange(idle[-1], [], 1, now).leases):
            worker = idle.pop()
            for lease in leases:
                outcome = task.train(lease.segment)
                heapq.heappush(events, (now + outcome.seconds, count, worker, outcome))
                count += 1
        if not events or events[0][0] > budget:
            break
        now, _, worker, outcome = heapq.heappop(events)
        length = len(outcome.curve[goals.leading])
        for k in range(length):
            values = {name: outcome.curve[name][k] for name in goals.metrics}
            is_within = goals.meets(values)
            at = now - outcome.seconds * (1 - (k + 1) / length)
            found.append((at, [values[name] for name in goals.modes], is_within))
            last[outcome.segment.trial] = is_within
        search.exchange(worker, [outcome], 0, now)
        idle.append(worker)
    found.sort(key=lambda one: one[0])
    return Seen(
        np.array([one[0] for one in found]),
        np.array([one[1] for one in found]).reshape(-1, len(goals.modes)),
        np.array([one[2] for one in found], np.bool_),
        len(last),
        sum(not is_within for is_within in last.values()),
    )


@dataclass(frozen=True)
class Yardstick:
    """Measures fronts of a task: 1 is that of all that is known of it, 0 none.

    An objective is turned so that lower is better, on a log scale where it spans a factor of ten, and scaled
    from the best to the worst of the known front; the reference point is 1.1 (Ishibuchi et al. 2018). Of one
    objective the measure is how much of the way from the median configuration to the best was gone.
    """

    signs: Floats
    is_log: Bools
    low: Floats
    span: Floats
    whole: float

    @classmethod
    def of(cls, goals: Objectives, values: Floats, within: Bools) -> Yardstick:
        """Of raw objectives of all that is known, shape (n, m), and which of it is within the limits."""
        known = values[np.isfinite(values).all(axis=1)]
        signs = np.array([1.0 if mode == "min" else -1.0 for mode in goals.modes.values()])
        is_log = (known > 0).all(axis=0) & (known.max(axis=0) > WIDE * known.min(axis=0))
        points = _turned(values, signs, is_log)
        usable = np.isfinite(points).all(axis=1) & within
        front = points[usable][non_dominated(points[usable])]
        low, high = front.min(axis=0), front.max(axis=0)
        if len(signs) == 1:
            high = np.median(points[usable], axis=0)
        span = np.maximum(high - low, 1e-12)
        reference = np.full(len(signs), REFERENCE if len(signs) > 1 else 1.0)
        return cls(signs, is_log, low, span, hypervolume((front - low) / span, reference))

    def shares(self, seen: Seen, at: Sequence[float]) -> Floats:
        """The share of the hypervolume that was found at each cost."""
        points = (_turned(seen.values, self.signs, self.is_log) - self.low) / self.span
        usable = seen.within & np.isfinite(points).all(axis=1)
        reference = np.full(len(self.signs), REFERENCE if len(self.signs) > 1 else 1.0)
        found = [points[usable & (seen.at <= cost + 1e-9)] for cost in at]
        return np.array([hypervolume(some, reference) / self.whole for some in found])


def _turned(values: Floats, signs: Floats, is_log: Bools) -> Floats:
    logs = np.log(np.where(values > 0, values, np.nan))
    return np.asarray(signs * np.where(is_log, logs, values))
