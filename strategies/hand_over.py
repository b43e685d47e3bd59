"""Which model a line hands over: that of its end, or an earlier one that is better beyond noise.

A training may overfit or spike in its last stretch. The best of many noisy values is optimistic, so the end
gives way only to a value that lies further below its own than noise explains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from raysearch.strategies.rounds import End

LEAST = 8  # ends of segments, below which the noise is not known
LATEST = 24  # ends, from which it is estimated
BEYOND = 4.0  # standard deviations of a difference of two values
NORMAL = 0.6745  # of a standard deviation: the median size of a normal deviation


class Way:
    """The ends of the segments that led a line to where it stands."""

    def __init__(self) -> None:
        self._ends: list[tuple[int, int, float]] = []  # (iteration, segment, loss)

    def come(self, end: End) -> None:
        """The line stands here now."""
        self._ends.append((end.at, end.segment.id, end.loss))

    def cut(self, at: int) -> None:
        """The line went back to iteration `at`."""
        self._ends = [one for one in self._ends if one[0] <= at]

    def best(self) -> int | None:
        """The segment at whose end the loss was lowest; None where it was never finite."""
        found = [(loss, segment) for _, segment, loss in self._ends if math.isfinite(loss)]
        return min(found)[1] if found else None

    def words(self, metric: str) -> str:
        """That an earlier model is handed over, and why; empty if it is that of the end."""
        place = handed_over([loss for *_, loss in self._ends]) if self._ends else -1
        if place < 0 or place == len(self._ends) - 1:
            return ""
        (at, _, loss), (end, _, last) = self._ends[place], self._ends[-1]
        return (
            f"the model of iteration {at} is handed over: at the end, iteration {end}, {metric} is worse by "
            f"{last - loss:.3g}, beyond noise"
        )


def handed_over(losses: Sequence[float]) -> int:
    """The place of the end that is handed over: the last, or the best before it.

    Args:
        losses: where the segments of a line ended, in their order; lower is better, NaN where unknown.

    Raises:
        ValueError: there are none.

    >>> handed_over([1.0, 0.8, 0.63, 0.5, 0.4, 0.31, 0.26, 0.2, 0.25, 0.24, 0.23])  # noise, and still falling
    10
    >>> handed_over([1.0, 0.8, 0.63, 0.5, 0.4, 0.31, 0.26, 0.2, 0.4, 0.6, 0.8])
    7
    """
    if not losses:
        raise ValueError("a line without an end has nothing to hand over")
    last = len(losses) - 1
    known = [(loss, place) for place, loss in enumerate(losses) if math.isfinite(loss)]
    if not known or not math.isfinite(losses[last]):
        return min(known)[1] if known else last
    best, place = min(known)
    noise = noise_of_ends([loss for loss, _ in known])
    return place if losses[last] - best > BEYOND * math.sqrt(2.0) * noise else last


def noise_of_ends(losses: Sequence[float]) -> float:
    """Standard deviation of the latest values about their trend; +inf if there are too few.

    The median size of second differences, which one jump does not move, by that of a normal deviation.
    """
    changes = [b for a, b in zip([math.nan, *losses], losses, strict=False) if b != a]  # not repeated ones
    latest = changes[-LATEST:]
    if len(latest) < LEAST:
        return math.inf
    bends = [abs(a - 2 * b + c) for a, b, c in zip(latest, latest[1:], latest[2:], strict=False)]
    return median(bends) / NORMAL / math.sqrt(6.0)
