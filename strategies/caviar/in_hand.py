"""The segments of caviar that were asked for and have not ended."""

from __future__ import annotations

from collections.abc import Iterator

from raysearch.core.segment import Segment
from raysearch.strategies.finish import Finals


class InHand:
    """Segments that workers train, and lost ones that are to be asked for again."""

    def __init__(self) -> None:
        self._out: dict[int, Segment] = {}
        self._lost: dict[int, Segment] = {}
        self._searching = 0  # how many of those out are not of the finish

    @property
    def is_out(self) -> bool:
        """Whether anything asked for is outstanding."""
        return bool(self._out)

    @property
    def is_searching(self) -> bool:
        """Whether a segment of the search itself is outstanding, or any is to be asked for again."""
        return bool(self._searching or self._lost)

    def ask(self, segments: list[Segment]) -> None:
        """These were asked for."""
        for segment in segments:
            self._out[segment.id] = segment
            self._searching += not Finals.owns(segment.trial)

    def end(self, segment: Segment) -> bool:
        """The segment has ended, or was lost; whether it had been asked for."""
        asked = self._out.pop(segment.id, None) is not None
        self._searching -= asked and not Finals.owns(segment.trial)
        self._lost.pop(segment.id, None)
        return asked

    def lose(self, segment: Segment) -> None:
        """The segment is to be asked for again."""
        self._lost[segment.id] = segment

    def take_lost(self, free: int) -> list[Segment]:
        """At most `free` of the lost, the first lost first; they count as lost no longer."""
        return [self._lost.pop(segment) for segment in list(self._lost)[: max(0, free)]]

    def __iter__(self) -> Iterator[Segment]:
        yield from self._out.values()
        yield from self._lost.values()
