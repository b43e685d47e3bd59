"""Which worker holds which segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from types import MappingProxyType

from raysearch.core.segment import Segment

_NONE: Mapping[int, Segment] = MappingProxyType({})


class Leases:
    """The segments in the hands of workers. `SegmentStates` writes them; all others read."""

    def __init__(self) -> None:
        self._holder: dict[int, str] = {}
        self._of: dict[str, dict[int, Segment]] = {}

    def __contains__(self, segment: int) -> bool:
        return segment in self._holder

    def __len__(self) -> int:
        return len(self._holder)

    def __iter__(self) -> Iterator[Segment]:
        return chain.from_iterable(held.values() for held in self._of.values())

    @property
    def busy(self) -> int:
        """How many workers hold something."""
        return sum(map(bool, self._of.values()))

    def holder(self, segment: int) -> str | None:
        """The worker that holds the segment; None if none does."""
        return self._holder.get(segment)

    def of(self, worker: str) -> Mapping[int, Segment]:
        """What the worker holds, by id, in the order in which it got it."""
        return self._of.get(worker, _NONE)

    def hand(self, worker: str, segment: Segment) -> None:
        """The worker holds the segment from now on."""
        self._holder[segment.id] = worker
        held = self._of.get(worker)
        if held is None:
            held = self._of[worker] = {}
        held[segment.id] = segment

    def release(self, segment: int) -> str | None:
        """No worker holds the segment any more; returns the one that did."""
        holder = self._holder.pop(segment, None)
        if holder is not None:
            del self._of[holder][segment]
        return holder

    def forget(self, worker: str) -> None:
        """The worker is gone for good, and holds nothing."""
        self._of.pop(worker, None)
