"""Brackets: halvings that run side by side, and which of them a trial belongs to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

from raysearch.core.segment import Segment
from raysearch.strategies.caviar.rungs import Rung

GOLDEN = 0.6180339887498949


def bracket_shares(rungs: int, brackets: int, eta: int) -> list[float]:
    """Where, on [0, 1), one bracket's share of the trials ends and the next one's begins.

    As in Hyperband (Li et al. 2018, JMLR 18, algorithm 1): each bracket costs about the same.
    """
    sizes = [eta ** (rungs - 1 - s) / (rungs - s) for s in range(brackets)]
    return [sum(sizes[: s + 1]) / sum(sizes) for s in range(brackets - 1)]


class Ladder:
    """The rungs of all brackets; number s begins at rung s.

    Attributes:
        brackets: the rungs of each, from the lowest up.
        waiting: those where trials wait for promotion, from the highest down.
    """

    def __init__(
        self, levels: tuple[int, ...], brackets: int, eta: int, rung: Callable[[int, int], Rung] = Rung
    ) -> None:
        """`rung` makes one of its level and eta."""
        self.brackets = [[rung(level, eta) for level in levels[s:]] for s in range(brackets)]
        lower = [rung for rungs in self.brackets for rung in rungs[:-1]]
        self.waiting = sorted(lower, key=lambda rung: -rung.level)
        self._shares = bracket_shares(len(levels), brackets, eta)

    def of(self, trial: int) -> list[Rung]:
        """The rungs of the trial's bracket."""
        if len(self.brackets) == 1:
            return self.brackets[0]
        return self.brackets[bisect_right(self._shares, (trial + 0.5) * GOLDEN % 1.0)]

    def at(self, trial: int, reached: int) -> Rung | None:
        """The highest rung that the trial has reached; None below the first."""
        found = None
        for rung in self.of(trial):
            if rung.level > reached:
                break
            found = rung
        return found

    def standing(self, score: float, trial: int) -> float:
        """The whole score of a trial at its highest rung, of which `score` is what its ledger holds."""
        for rung in reversed(self.of(trial)):
            whole = rung.standing(score, trial)
            if whole is not None:
                return whole
        return score

    def close_below(self, level: int) -> list[int]:
        """Takes all trials that wait at lower rungs out of the waiting, and returns them."""
        lower = [rung for rung in self.waiting if rung.level < level]
        return [trial for rung in lower for trial in rung.take_waiting()]

    def hopeful(self, flying: Sequence[Segment], coming: int) -> Iterator[int]:
        """Waiting trials that would be promoted if all that can still come to their rung were worse.

        Args:
            flying: segments of the search in hand.
            coming: trials that have not begun, or are about to be trained on.
        """
        for rungs in self.brackets:
            arrivals, below = coming, -1
            for rung in rungs[:-1]:
                arrivals += sum(below <= s.start < rung.level for s in flying)
                border = rung.entries.nth(-(-(len(rung) + arrivals) // rung.eta))
                hopeful = [trial for _, trial in takewhile(border.__gt__, rung.waiting)]
                yield from hopeful
                arrivals, below = arrivals + len(hopeful), rung.level
