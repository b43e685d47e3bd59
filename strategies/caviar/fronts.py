"""Rungs and the podium of a search of several objectives, or of limits on what is reported.

Trials rank by limits, then by non-dominated fronts, then by how well they cover their front (`core.pareto`,
after MO-ASHA, Schmucker et al. 2021). One outcome can move many others, so a rung is ranked anew after each
outcome only while it has up to EXACT; from then on whenever it has grown by one in GROWTH, and the outcomes
between are placed beside the fronts of the last ranking. Of three objectives and more, a rung beyond SAMPLE
outcomes takes its fronts from about that many of them.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

import numpy as np

from raysearch.core.pareto import Floats, Ints, dominators, fronts, fronts_beside, ranking
from raysearch.core.segment import Config
from raysearch.space.objectives import Standing, violation
from raysearch.strategies.caviar.rungs import Rung, SortedScores
from raysearch.strategies.finish import Leader, Podium

EXACT = 256  # outcomes at a rung up to which it is ranked after each
GROWTH = 16  # beyond, whenever there are 1/16 more
SAMPLE = 1024  # outcomes whose fronts are computed, of three objectives and more
GROWTH_OF_SAMPLE = 8  # beyond, whenever there are 1/8 more
STEP = 0.41421356237309503  # steps over [0, 1) by which trials are drawn for the sample: evenly
POOL = 256  # places of a podium's level that are remembered; of more, the better half stays
FRONT_KEPT = 64  # members of the front whose checkpoints are kept


@dataclass(slots=True)
class Order:
    """The last ranking of a rung, beside which later scores are placed.

    Attributes:
        points: of those within the limits, by front.
        bounds: where each front begins, and where the last ends.
        violations: of those beyond, rising.
    """

    points: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    bounds: Ints = field(default_factory=lambda: np.zeros(1, np.int64))
    violations: Floats = field(default_factory=lambda: np.zeros(0))

    def place(self, beyond: float, point: Floats) -> float:
        """The place of a score in the ranking: half a rank before that which it stands before."""
        last = int(self.bounds[-1])
        if beyond > 0:
            return last + float(np.searchsorted(self.violations, beyond, "right")) - 0.5
        low, high = 0, len(self.bounds) - 1
        while low < high:  # whatever a front dominates, the fronts before it dominate too
            middle = (low + high) // 2
            if dominators(self._front(middle), point).any():
                low = middle + 1
            else:
                high = middle
        if low == len(self.bounds) - 1:
            return last - 0.5
        is_ahead = bool(dominators(-self._front(low), -point).any())  # it dominates a member of the front
        return float(self.bounds[low if is_ahead else low + 1]) - 0.5

    def _front(self, number: int) -> Floats:
        return self.points[self.bounds[number] : self.bounds[number + 1]]


class FrontRung(Rung):
    """A rung whose trials rank by limits, fronts and spread; `entries` and `waiting` hold their places.

    A score is read when it is recorded; from then on the trial stands for it.
    """

    __slots__ = ("_count", "_next_ranking", "_order", "_places", "_rows", "_table", "_trials")

    def __init__(self, level: int, eta: int, objectives: int) -> None:
        super().__init__(level, eta)
        self._count = 0
        self._next_ranking = 1
        self._table = np.zeros((16, 1 + objectives))  # violation, then the objectives
        self._trials = np.zeros(16, np.int64)
        self._places = np.zeros(16)
        self._rows = array("i")  # row by trial; -1 for none
        self._order = Order()

    def record(self, score: float, trial: int) -> int:
        """Enters a score (+inf: diverged or failed) and returns its rank from 0."""
        self._settled = False
        row = self._add(score, trial)
        if self._count >= self._next_ranking:
            self._rank_all()
            return self.entries.rank(float(self._places[row]), trial)
        beyond = float(self._table[row, 0])
        place = self._order.place(beyond, self._table[row, 1:]) if beyond < math.inf else math.inf
        self._places[row] = place
        return self.entries.add(place, trial)

    def rank(self, score: float, trial: int) -> int:
        """The rank from 0 of a trial that was recorded."""
        return self.entries.rank(self._place(trial), trial)

    def standing(self, score: float, trial: int) -> float | None:
        """The score that was recorded for the trial; None if none was."""
        row = self._row(trial)
        if row < 0:
            return None
        if self._table[row, 0] == math.inf:
            return math.inf
        return Standing(self._table[row, 1:].tolist(), (float(self._table[row, 0]),))

    def wait(self, score: float, trial: int, rank: int) -> bool:
        """Lets a trial recorded here wait for promotion; False if it is too far behind."""
        return super().wait(self._place(trial), trial, rank)

    def leave(self, score: float, trial: int) -> None:
        """The trial no longer waits here."""
        super().leave(self._place(trial), trial)

    # ---- inside

    def _row(self, trial: int) -> int:
        return self._rows[trial] if trial < len(self._rows) else -1

    def _place(self, trial: int) -> float:
        row = self._row(trial)
        return float(self._places[row]) if row >= 0 else math.inf

    def _add(self, score: float, trial: int) -> int:
        row = self._count
        if row == len(self._trials):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
            self._trials = np.concatenate([self._trials, np.zeros_like(self._trials)])
            self._places = np.concatenate([self._places, np.zeros_like(self._places)])
        self._table[row, 0] = violation(score)
        if isinstance(score, Standing):
            self._table[row, 1:] = score.values
        self._trials[row] = trial
        self._rows.extend([-1] * (trial + 1 - len(self._rows)))
        self._rows[trial] = row
        self._count += 1
        return row

    def _rank_all(self) -> None:
        n = self._count
        is_sampled = self._table.shape[1] > 3 and n > SAMPLE
        growth = GROWTH_OF_SAMPLE if is_sampled else GROWTH
        self._next_ranking = n + 1 if n < EXACT else n + n // growth
        by_trial = np.argsort(self._trials[:n], kind="stable")
        beyond, points = self._table[by_trial, 0], self._table[by_trial, 1:]
        found = self._fronts(beyond, points, self._trials[by_trial])
        borders = None if n <= EXACT else (1, -(-n // self.eta), self._patience(n))
        ranked = ranking(beyond, points, borders, found)
        order = by_trial[ranked]
        places = np.arange(n, dtype=np.float64)
        places[beyond[ranked] == math.inf] = math.inf
        self._places[order] = places
        self.entries = SortedScores.of(places, self._trials[order])
        waiting = np.array([self._rows[trial] for _, trial in self.waiting], np.int64)
        waiting = waiting[np.lexsort((self._trials[waiting], self._places[waiting]))]
        self.waiting = SortedScores.of(self._places[waiting], self._trials[waiting])
        within = ranked[: int((beyond == 0).sum())]
        bounds = np.append(0, np.cumsum(np.bincount(found[within]))) if len(within) else np.zeros(1)
        rest = beyond[ranked[len(within) :]]
        self._order = Order(points[within], bounds.astype(np.int64), rest[rest < math.inf])

    def _fronts(self, beyond: Floats, points: Floats, trials: Ints) -> Ints:
        """The front of each row; of those beyond limits 0, as they do not count."""
        found = np.zeros(len(points), np.int64)
        within = np.flatnonzero(beyond == 0)
        if points.shape[1] <= 2 or len(within) <= SAMPLE:
            found[within] = fronts(points[within])
            return found
        drawn = within[(trials[within] + 0.5) * STEP % 1.0 < SAMPLE / len(within)]
        beside = fronts_beside(points[drawn], fronts(points[drawn]), points[within])
        found[within] = np.unique(beside, return_inverse=True)[1]  # no front without a member
        return found


@dataclass(frozen=True, slots=True)
class Placed:
    """A trial that a podium remembers."""

    leader: Leader
    score: float
    config: Config


class FrontPodium(Podium):
    """The best trials of each level: within the limits, of the first front, spread along it."""

    def __init__(self, places: int) -> None:
        super().__init__(places)
        self._pools: dict[int, dict[int, Placed]] = {}
        self._ranked: dict[int, list[Placed]] = {}  # as long as no trial came to the level

    def offer(self, level: int, score: float, trial: int, segment: int, config: Config) -> None:
        """Remembers the trial, unless it is behind the better half of many."""
        pool = self._pools.setdefault(level, {})
        pool[trial] = Placed(Leader(float(score), trial, segment, level), score, config)
        self._ranked.pop(level, None)
        if len(pool) > POOL:
            kept = self._ranking(level)[: max(POOL // 2, self._places)]
            self._pools[level] = {one.leader.trial: one for one in kept}
            self._ranked[level] = kept

    def best(self) -> list[tuple[Leader, Config]]:
        """The best trials: of the highest level first, then of the next."""
        chosen: dict[int, tuple[Leader, Config]] = {}
        for level in sorted(self._pools, reverse=True):
            for one in self._ranking(level):
                if len(chosen) < self._places:
                    chosen.setdefault(one.leader.trial, (one.leader, one.config))
        return [*chosen.values()]

    def segments(self) -> set[int]:
        """The last segments of the best trials, and of the front of the highest level."""
        found = {leader.segment for leader, _ in self.best()}
        if self._pools:
            ranked = self._ranking(max(self._pools))
            points = _points(ranked)
            within = np.array([violation(one.score) == 0 for one in ranked], np.bool_)
            front = np.flatnonzero(within)[fronts(points[within]) == 0] if within.any() else ()
            found.update(ranked[int(row)].leader.segment for row in front[:FRONT_KEPT])
        return found

    def _ranking(self, level: int) -> list[Placed]:
        if level not in self._ranked:
            pool = [self._pools[level][trial] for trial in sorted(self._pools[level])]
            beyond = np.array([violation(one.score) for one in pool])
            self._ranked[level] = [pool[int(row)] for row in ranking(beyond, _points(pool))]
        return self._ranked[level]


def _points(placed: list[Placed]) -> Floats:
    """The objectives of each; shape (n, m)."""
    rows = [one.score.values if isinstance(one.score, Standing) else (one.score,) for one in placed]
    return np.array(rows, np.float64)
