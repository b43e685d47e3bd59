"""Which segments may be what kills their workers: some of those held at a death are charged with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class Suspects:
    """Counts at how many deaths a worker held each segment."""

    def __init__(self) -> None:
        self._deaths: Counter[int] = Counter()

    def after_death(self, held: Iterable[int], training: int | None) -> list[int]:
        """The segments to blame for a death.

        Blamed are the one that was trained, and any that was held at an earlier death too: machines go away
        more often than models kill them, and hundreds may have been held.
        """
        blamed = []
        for segment in held:
            self._deaths[segment] += 1
            if segment == training or self._deaths[segment] > 1:
                blamed.append(segment)
        return blamed

    def clear(self, segment: int) -> None:
        """The segment has ended: nothing is held against it any more."""
        if self._deaths:
            self._deaths.pop(segment, None)
