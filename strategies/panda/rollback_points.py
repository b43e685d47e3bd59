"""The ring: which ancestors of the line are kept to go back to."""

from __future__ import annotations

from collections.abc import Iterator

from raysearch.strategies.rounds import End

LATEST = 4  # kept whatever their number


class Ring:
    """Ends of the line's stretches: the last four, then ever fewer the older they are.

    The n-th of them is kept while n is a multiple of the greatest power of two that is at most a
    quarter of its age: one that was given up is never wanted again, and of n about 4 log2(n) are kept.
    """

    def __init__(self) -> None:
        self._ends: dict[int, End] = {}
        self._count = 0

    def add(self, end: End) -> None:
        """The line has come here."""
        self._ends[self._count] = end
        self._count += 1
        self._ends = {n: e for n, e in self._ends.items() if _is_kept(n, self._count - 1 - n)}

    def back(self, steps: int) -> End | None:
        """The end kept that is `steps` back or the next before that: 0 is the last. None is a fresh model."""
        number = self._count - 1 - steps
        older = [n for n in self._ends if n <= number]
        return self._ends[max(older)] if older else None

    def cut(self, end: End | None) -> None:
        """The line goes on from this end: what came after it is no part of it any more."""
        numbers = [n for n, e in self._ends.items() if end is not None and e.at <= end.at]
        self._count = max(numbers) + 1 if numbers else 0
        self._ends = {n: self._ends[n] for n in numbers}

    def __iter__(self) -> Iterator[End]:
        return iter(self._ends.values())


def _is_kept(number: int, age: int) -> bool:
    return age < LATEST or number % (1 << (age // LATEST).bit_length()) == 0
