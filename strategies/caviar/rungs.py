"""Rungs: where trials are compared, who leads, and who may go on.

Successive halving as in ASHA (Li et al. 2020, arXiv:1810.05934, algorithm 2): of the n trials that
reached a rung the best 1/eta go on to the next.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from raysearch.errors import SpecError

BLOCK = 4096
SLACK = 3.0


def rung_levels(first: float, last: int, eta: int) -> tuple[int, ...]:
    """Iterations at which trials are compared: first, first*eta, ... rounded, and always last.

    Multiplies instead of taking logs: log(243)/log(3) rounds below 5 and loses a rung.

    Raises:
        SpecError: unless 1 <= first <= last and eta >= 2.
    """
    if eta < 2:
        raise SpecError(f"eta = {eta} is below 2; 3 is a good value, 2 is gentler, 4 is greedier")
    if not 1 <= first <= last:
        raise SpecError(f"min_iterations = {first} must lie between 1 and max_iterations = {last}")
    levels = []
    level = first
    while round(level) < last:
        levels.append(round(level))
        level *= eta
    return (*levels, last)


class SortedScores:
    """Pairs (score, trial) in order, the lowest score first, ties to the lower trial number.

    Blocks of plain arrays: 16 bytes a pair, insertion and rank in O(log n + n/BLOCK). Scores may be
    +inf, never NaN.
    """

    __slots__ = ("_last", "_len", "_scores", "_sizes", "_trials")

    def __init__(self) -> None:
        self._scores: list[array[float]] = []
        self._trials: list[array[int]] = []
        self._last: list[tuple[float, int]] = []  # of each block
        self._sizes: list[int] = []  # the same: adding these up is what a rank among a million costs
        self._len = 0

    @classmethod
    def of(cls, scores: npt.NDArray[np.float64], trials: npt.NDArray[np.int64]) -> SortedScores:
        """Pairs that are in order already."""
        self = cls()
        for at in range(0, len(scores), BLOCK):
            block = array("d", scores[at : at + BLOCK].tolist()), array("q", trials[at : at + BLOCK].tolist())
            self._open_block(len(self._last), *block)
        self._len = len(scores)
        return self

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[tuple[float, int]]:
        for scores, trials in zip(self._scores, self._trials, strict=True):
            yield from zip(scores, trials, strict=True)

    def add(self, score: float, trial: int) -> int:
        """Puts in one pair; returns how many come before it. Pairs must be distinct."""
        self._len += 1
        if not self._last:
            self._open_block(0, array("d", (score,)), array("q", (trial,)))
            return 0
        block = min(bisect_left(self._last, (score, trial)), len(self._last) - 1)
        scores, trials = self._scores[block], self._trials[block]
        place = _place(scores, trials, score, trial)
        size = self._sizes[block]
        scores.insert(place, score)
        trials.insert(place, trial)
        self._sizes[block] = size + 1
        rank = sum(self._sizes[:block]) + place
        if place == size:
            self._last[block] = (score, trial)
        if size >= 2 * BLOCK:
            self._split(block)
        return rank

    def rank(self, score: float, trial: int) -> int:
        """How many pairs come before this one, which need not be in."""
        block = bisect_left(self._last, (score, trial))
        if block == len(self._last):
            return self._len
        return sum(self._sizes[:block]) + _place(self._scores[block], self._trials[block], score, trial)

    def nth(self, rank: int) -> tuple[float, int]:
        """The pair with `rank` pairs before it; after the last, (inf, a number above every trial)."""
        for block, size in enumerate(self._sizes):
            if rank < size:
                return self._scores[block][rank], self._trials[block][rank]
            rank -= size
        return math.inf, 1 << 62

    def first(self) -> tuple[float, int] | None:
        """The best pair."""
        return (self._scores[0][0], self._trials[0][0]) if self._len else None

    def last(self) -> tuple[float, int] | None:
        """The worst pair."""
        return self._last[-1] if self._len else None

    def discard(self, score: float, trial: int) -> None:
        """Takes out a pair if it is in."""
        block = bisect_left(self._last, (score, trial))
        if block == len(self._last):
            return
        scores, trials = self._scores[block], self._trials[block]
        place = _place(scores, trials, score, trial)
        if scores[place] != score or trials[place] != trial:
            return
        del scores[place], trials[place]
        self._len -= 1
        self._sizes[block] -= 1
        if not scores:
            del self._scores[block], self._trials[block], self._last[block], self._sizes[block]
        elif place == len(scores):
            self._last[block] = (scores[-1], trials[-1])

    def _split(self, block: int) -> None:
        scores, trials = self._scores[block], self._trials[block]
        self._open_block(block + 1, scores[BLOCK:], trials[BLOCK:])
        del scores[BLOCK:], trials[BLOCK:]
        self._last[block], self._sizes[block] = (scores[-1], trials[-1]), BLOCK

    def _open_block(self, at: int, scores: array[float], trials: array[int]) -> None:
        self._scores.insert(at, scores)
        self._trials.insert(at, trials)
        self._last.insert(at, (scores[-1], trials[-1]))
        self._sizes.insert(at, len(scores))


def _place(scores: array[float], trials: array[int], score: float, trial: int) -> int:
    """Where (score, trial) stands or would stand in one block."""
    low = bisect_left(scores, score)
    if low == len(scores) or scores[low] != score:
        return low
    return bisect_left(trials, trial, low, bisect_right(scores, score, low))


class Rung:
    """All scores at one level, and those trials among them that wait there for promotion.

    A waiting trial is given up for good once it is `SLACK` standard deviations behind the last place
    that goes on: with arrivals in random order its share of the field then hardly ever falls to
    1/eta again. So few checkpoints wait, however many trials there are.
    """

    __slots__ = ("_next_sweep", "_settled", "entries", "eta", "level", "waiting")

    def __init__(self, level: int, eta: int) -> None:
        self.level = level
        self.eta = eta
        self.entries = SortedScores()
        self.waiting = SortedScores()
        self._next_sweep = 0
        self._settled = True  # no trial became promotable since `settle` found none

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def places(self) -> int:
        """How many of the trials here may go on: 1/eta of them, rounded up.

        Rounded up, so that the first of a rung goes on at once and its later values are known early.
        """
        return -(-len(self.entries) // self.eta)

    def record(self, score: float, trial: int) -> int:
        """Enters a score (+inf: diverged or failed) and returns its rank from 0."""
        self._settled = False
        return self.entries.add(score, trial)

    def rank(self, score: float, trial: int) -> int:
        """The rank from 0 of a trial with this score."""
        return self.entries.rank(score, trial)

    def standing(self, score: float, trial: int) -> float | None:
        """The whole score of a trial, of which `score` is what its ledger holds; None if it has none here."""
        return score

    def promotable(self) -> tuple[int, int] | None:
        """The best waiting trial and its rank from 0, if it is among those that may go on."""
        best = None if self._settled else self.waiting.first()
        if best is not None and (rank := self.entries.rank(*best)) < self.places:
            return best[1], rank
        return None

    def settle(self) -> None:
        """Remembers that nobody here may go on, until a score or a waiting trial comes in."""
        self._settled = self._settled or self.promotable() is None

    def goes_on(self, rank: int) -> bool:
        """Whether a trial of this rank is trained on at once (the stopping rule).

        Nobody is stopped before there are eta scores to compare.
        """
        return len(self.entries) < self.eta or rank < self.places

    def wait(self, score: float, trial: int, rank: int) -> bool:
        """Lets a trial recorded here wait for promotion; False if it is too far behind."""
        if rank >= self._patience(len(self.entries)):
            return False
        self._settled = False
        self.waiting.add(score, trial)
        return True

    def leave(self, score: float, trial: int) -> None:
        """The trial no longer waits here."""
        self.waiting.discard(score, trial)

    def take_waiting(self) -> list[int]:
        """Takes all trials out of the waiting, and returns them."""
        waiting, self.waiting = self.waiting, SortedScores()
        return [trial for _, trial in waiting]

    def hopeless(self) -> list[int]:
        """Takes out of the waiting, and returns, the trials too far behind ever to be promoted.

        Looks again only after the field grew by a thirty-second, so that the cost is amortised.
        """
        n = len(self.entries)
        if n < self._next_sweep:
            return []
        self._next_sweep = n + 1 + n // 32
        dropped = []
        border = self.entries.nth(self._patience(n))
        while (worst := self.waiting.last()) is not None and worst >= border:
            self.waiting.discard(*worst)
            dropped.append(worst[1])
        return dropped

    def _patience(self, n: int) -> int:
        """The rank from which a trial is given up, of n scores."""
        return math.ceil(n / self.eta + SLACK * 0.5 * math.sqrt(n)) + 1
