"""The segments that wait to be handed out, and in which order workers get them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

from raysearch.core.segment import Segment
from raysearch.engine.segment_states import SegmentStates

PATIENCE = 3  # how often a segment is passed over for the worker that has its model in memory


class WaitingQueue:
    """Two queues in order of arrival: segments for an ordinary worker, and those that need a larger share.

    A segment that was leased or ended meanwhile stays in its queue until its turn, and is dropped then.
    """

    def __init__(self, states: SegmentStates, level_of: Callable[[Segment], int]) -> None:
        """Nothing waits; `level_of` says which share a segment needs."""
        self._states = states
        self._level_of = level_of
        self._ordinary: deque[Segment] = deque()
        self._larger: deque[Segment] = deque()
        self._passed: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._ordinary) + len(self._larger)

    def __iter__(self) -> Iterator[Segment]:
        yield from self._ordinary
        yield from self._larger

    @property
    def ordinary(self) -> int:
        """How many wait for an ordinary worker."""
        return len(self._ordinary)

    def put(self, segments: Iterable[Segment]) -> None:
        """Puts segments behind those that wait."""
        for segment in segments:
            (self._larger if self._level_of(segment) else self._ordinary).append(segment)

    def pick(self, segment: int) -> Segment | None:
        """Takes a certain one of those that wait; None if it does not."""
        for queue in (self._ordinary, self._larger):
            for waiting in queue:
                if waiting.id == segment:
                    queue.remove(waiting)
                    return waiting
        return None

    def next(self, want: int, away: Callable[[Segment], bool] | None = None) -> list[Segment]:
        """Takes up to `want` segments for an ordinary worker; a suspected one only by itself.

        Those that are `away` (another worker has their model in memory) are passed over PATIENCE times.
        """
        taken: dict[int, Segment] = {}
        passed: list[Segment] = []
        while self._ordinary and len(taken) < want:
            first = self._ordinary[0]
            alone = self._states.is_suspect(first.id)
            if alone and taken:
                break
            self._ordinary.popleft()
            if not self._states.is_free(first.id):
                continue
            if away is not None and self._waits(first, away):
                self._passed[first.id] += 1
                passed.append(first)
                continue
            self._passed.pop(first.id, None)
            taken[first.id] = first
            if alone:
                break
        self._ordinary.extendleft(reversed(passed))
        return list(taken.values())

    def next_larger(self, want: int, level: int) -> list[Segment]:
        """Takes up to `want` segments that need more than the ordinary share, and no more than this level."""
        taken: dict[int, Segment] = {}
        is_free = self._states.is_free
        for segment in [s for s in self._larger if self._level_of(s) <= level or not is_free(s.id)]:
            if len(taken) == want:
                break
            self._larger.remove(segment)
            if is_free(segment.id):
                taken[segment.id] = segment
        return list(taken.values())

    def waiting_here(self, away: Callable[[Segment], bool] | None) -> int:
        """How many wait for an ordinary worker and are not kept for another one."""
        if away is None:
            return len(self._ordinary)
        return sum(not self._waits(segment, away) for segment in self._ordinary)

    def _waits(self, segment: Segment, away: Callable[[Segment], bool]) -> bool:
        return away(segment) and self._passed.get(segment.id, 0) < PATIENCE
