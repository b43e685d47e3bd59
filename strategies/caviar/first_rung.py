"""Which rung is the first at which trials are compared, where the search is to find out by itself.

Early scores can be blind: taken in a warm-up, or before anything was learnt. Ranks at such a rung are drawn
by lot, and trials that would have won are given up there. So the first COHORT trials that reach the first
rung all go on to the next one. If their ranks at the two agree less than AGREE (Spearman's correlation), the
first rung is closed: new trials are trained to the next rung at once, whose first COHORT are watched then.
"""

from __future__ import annotations

import math

from raysearch.core.formatting import number

COHORT = 12
AGREE = 0.3  # between a blind rung (0 on average, 0.3 standard deviation) and usual ones (0.6 and more)


class FirstRung:
    """Watches the lowest rungs, given by their levels, as long as they look blind.

    Attributes:
        closed: how many of the lowest rungs are closed.
    """

    def __init__(self, levels: tuple[int, ...], is_watched: bool) -> None:
        self._levels = levels
        self._is_watched = is_watched and len(levels) > 2
        self._here: dict[int, float] = {}  # scores of the cohort at the first rung
        self._next: dict[int, float] = {}  # and at the one after it
        self.closed = 0

    @property
    def level(self) -> int:
        """The lowest rung that is open."""
        return self._levels[self.closed]

    def observe(self, trial: int, level: int, score: float) -> str:
        """Learns a score at a rung; returns a sentence for the user where that closes the first rung."""
        if not self._is_watched:
            return ""
        if level == self.level and len(self._here) < COHORT:
            self._here[trial] = score
        elif level == self._levels[self.closed + 1] and trial in self._here:
            self._next[trial] = score
        ended = [t for t, s in self._here.items() if t in self._next or s == math.inf]
        return self._decide() if len(ended) == COHORT else ""

    def sends_on(self, trial: int, level: int) -> str:
        """Why a trial goes on from a rung whatever its rank; empty where its rank decides."""
        if level < self.level:
            return f"rung {level} says too little of later ones: goes on"
        if self._is_watched and level == self.level and trial in self._here:
            later = self._levels[self.closed + 1]
            return f"rung {level}: one of the first {COHORT}, goes on to see whether it tells of rung {later}"
        return ""

    def _decide(self) -> str:
        trials = [trial for trial, score in self._here.items() if score < math.inf]
        agreement = _correlation([self._here[t] for t in trials], [self._next[t] for t in trials])
        if agreement >= AGREE:
            self._is_watched = False
            return ""
        blind = self.level
        self.closed += 1
        self._is_watched = self.closed + 2 < len(self._levels)
        self._here, self._next = {}, {}
        return (
            f"ranks at iteration {blind} agree too little with those at iteration {self.level} (correlation "
            f"{number(agreement)} over {len(trials)} trials): new trials are trained to {self.level} at once"
        )


def _correlation(first: list[float], second: list[float]) -> float:
    """Spearman's; 0 where one of them is constant, 1 for fewer than half a cohort, which says nothing."""
    from scipy.stats import rankdata

    if 2 * len(first) < COHORT:
        return 1.0
    a, b = rankdata(first), rankdata(second)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0
