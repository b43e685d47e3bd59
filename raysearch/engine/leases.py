"""The leases: which worker holds which segment, since when it was heard of, and what waits."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.segment import Segment, segment_name

SILENT_S = 30.0  # a worker without work that says nothing for longer is taken to have been away
SPARE_S = 5.0  # a worker that found nothing to do for so long is one too many
PATIENCE = 3  # how often a segment is passed over for the worker that has its model in memory


@dataclass(slots=True)
class WorkerState:
    """What is known of one worker.

    Attributes:
        current, iteration, progress_at: what it trains, how far it is, and when that last changed.
        segments, busy_s: outcomes it handed in, and their seconds.
        lives: how often a process of this name has started.
        node: where it runs.
        level: which of the shares it has (see `growth`).
        retiring: it gets no more, and goes when it has handed in what it holds.
        epoch: which process of this name it is; later ones have greater numbers.
        idle_since: when it asked in vain first, since it last had work.
    """

    seen: float
    progress_at: float
    leases: dict[int, Segment] = field(default_factory=dict)
    current: int | None = None
    iteration: int = 0
    segments: int = 0
    busy_s: float = 0.0
    lives: int = 0
    node: str = ""
    level: int = 0
    retiring: bool = False
    epoch: int = 0
    idle_since: float | None = None

    def follow(self, current: int | None, iteration: int, now: float) -> None:
        """Notes progress."""
        self.current, self.iteration, self.progress_at = current, iteration, now


@dataclass(frozen=True, slots=True)
class Overdue:
    """A worker that should be replaced, and the cause in words."""

    worker: str
    cause: str
    stalled: bool


class Leases:
    """Segments in the hands of workers, and those waiting to be handed out.

    Attributes:
        held_s: seconds that workers of each level were there, waiting or training, as far as they were
            heard of.
        is_scant: there was less work than workers, and nothing says yet that there is more again.
    """

    def __init__(self, level_of: Callable[[Segment], int] = lambda segment: 0) -> None:
        """No leases yet; `level_of` says which share a segment needs."""
        self.workers: dict[str, WorkerState] = {}
        self.held_s: defaultdict[int, float] = defaultdict(float)
        self.segments_of_gone = 0
        self.is_scant = False
        self._level_of = level_of
        self._queue: deque[Segment] = deque()
        self._larger: deque[Segment] = deque()  # those that need more than the ordinary share
        self._holder: dict[int, str] = {}
        self._suspects: set[int] = set()
        self._deaths: Counter[int] = Counter()
        self._passed: Counter[int] = Counter()
        self._over: dict[str, int] = {}  # processes of a name up to this epoch are not to be given anything

    def __contains__(self, segment: int) -> bool:
        return segment in self._holder

    def __len__(self) -> int:
        return len(self._holder)

    @property
    def waiting(self) -> int:
        """How many segments wait to be handed out."""
        return len(self._queue) + len(self._larger)

    def in_use(self) -> Iterator[Segment]:
        """All segments that are held or wait."""
        yield from self._queue
        yield from self._larger
        for state in self.workers.values():
            yield from state.leases.values()

    def see(self, worker: str, now: float) -> WorkerState:
        """Notes a sign of life; returns the worker's state."""
        state = self.workers.get(worker)
        if state is None:
            state = self.workers[worker] = WorkerState(now, now)
        away = now - state.seen
        # One that held nothing may have been gone in between, its node with it.
        self.held_s[state.level] += away if state.leases else min(away, SILENT_S)
        state.seen = now
        return state

    def recognise(self, worker: str, epoch: int) -> bool:
        """False for a process that was given up, or whose name a later one has; it is to end.

        What an earlier one of that name still holds waits again. Epoch 0 is that of who has no processes.
        """
        if not epoch:
            return True
        if epoch <= self._over.get(worker, 0):
            return False
        self._over[worker] = epoch - 1
        state = self.workers.get(worker)
        if state is not None and state.epoch != epoch:
            if state.epoch:
                self.take_back(worker, [*state.leases])
            state.epoch = epoch
        return True

    def enqueue(self, segments: Iterable[Segment]) -> None:
        """Puts segments at the end of those that wait."""
        for segment in segments:
            (self._larger if self._level_of(segment) else self._queue).append(segment)

    def pick(self, segment: int) -> Segment | None:
        """Takes a certain one of those that wait; None if it does not."""
        for queue in (self._queue, self._larger):
            for waiting in queue:
                if waiting.id == segment:
                    queue.remove(waiting)
                    return waiting
        return None

    def next_larger(self, want: int, is_wanted: Callable[[int], bool], level: int) -> list[Segment]:
        """Takes up to `want` that need more than the ordinary share, and no more than this."""
        taken: dict[int, Segment] = {}
        for segment in [s for s in self._larger if self._level_of(s) <= level or not is_wanted(s.id)]:
            if len(taken) == want:
                break
            self._larger.remove(segment)
            if is_wanted(segment.id):
                taken[segment.id] = segment
        return list(taken.values())

    def work(self) -> dict[int, int]:
        """How many segments are held or wait, by the share they need."""
        return dict(Counter(self._level_of(segment) for segment in self.in_use()))

    def forget(self, worker: str) -> None:
        """The worker is gone for good; what it held was taken from it."""
        self.segments_of_gone += self.workers.pop(worker).segments

    def next(
        self, want: int, is_wanted: Callable[[int], bool], away: Callable[[Segment], bool] | None = None
    ) -> list[Segment]:
        """Takes up to `want` waiting segments; one that is suspected of killing its worker only by itself.

        Those that are `away` (at home with another worker) are passed over a few times, then taken.
        """
        taken: dict[int, Segment] = {}
        passed: list[Segment] = []
        while self._queue and len(taken) < want:
            first = self._queue[0]
            alone = first.id in self._suspects
            if alone and taken:
                break
            self._queue.popleft()
            if not is_wanted(first.id):
                continue
            if away is not None and self._waits(first, away):
                self._passed[first.id] += 1
                passed.append(first)
                continue
            self._passed.pop(first.id, None)
            taken[first.id] = first
            if alone:
                break
        self._queue.extendleft(reversed(passed))
        return list(taken.values())

    def waiting_here(self, away: Callable[[Segment], bool] | None) -> int:
        """How many wait that are not kept for another worker."""
        if away is None:
            return len(self._queue)
        return sum(not self._waits(segment, away) for segment in self._queue)

    def share_of(self, worker: str) -> int:
        """How many more a worker may take so that each could have as many: at least one if it has none."""
        fair = -(-(len(self._queue) + len(self._holder)) // max(1, len(self.workers)))
        return max(0, fair - len(self.workers[worker].leases))

    def _waits(self, segment: Segment, away: Callable[[Segment], bool]) -> bool:
        return away(segment) and self._passed.get(segment.id, 0) < PATIENCE

    def hand(self, worker: str, segment: Segment) -> None:
        """The worker holds the segment from now on."""
        state = self.workers[worker]
        state.leases[segment.id], state.idle_since = segment, None
        self._holder[segment.id] = worker

    def held(self, segment: int) -> Segment | None:
        """The segment as it was handed out, if it is held."""
        holder = self._holder.get(segment)
        return self.workers[holder].leases.get(segment) if holder is not None else None

    def holder(self, segment: int) -> str | None:
        """Who holds the segment; None if nobody does."""
        return self._holder.get(segment)

    def release(self, segment: int, seconds: float) -> None:
        """The segment's outcome is recorded; it is nobody's now."""
        holder = self._holder.pop(segment, None)
        if holder is not None:
            state = self.workers[holder]
            state.leases.pop(segment, None)
            state.segments += 1
            state.busy_s += seconds

    def clear(self, segment: int) -> None:
        """The segment has ended well or badly, and is suspected of nothing any more."""
        if self._deaths:
            self._suspects.discard(segment)
            self._deaths.pop(segment, None)

    def is_suspect(self, segment: int) -> bool:
        """True if the segment is to be trained by itself, since it may be what kills its workers."""
        return segment in self._suspects

    def take_back(self, worker: str, segments: Iterable[int]) -> None:
        """Puts segments that the worker should hold, and does not, back among those that wait."""
        for segment in segments:
            self.enqueue([self.workers[worker].leases.pop(segment)])
            self._holder.pop(segment, None)

    def strip(self, worker: str, now: float) -> tuple[list[Segment], int | None]:
        """Takes everything from a worker that is gone: (what it held, the id of what it was training).

        Should its process live after all, it is not recognised any more.
        """
        state = self.see(worker, now)
        self._over[worker] = max(state.epoch, self._over.get(worker, 0))
        held = list(state.leases.values())
        current = state.current if state.current in state.leases else (held[0].id if held else None)
        state.leases, state.current, state.node, state.idle_since = {}, None, "", None
        for segment in held:
            self._holder.pop(segment.id, None)
        return held, current

    def suspect(self, held: Iterable[int], current: int | None) -> None:
        """Blames a death on what the worker held.

        Suspected from then on are what it was training, and what was held at an earlier death too: machines
        go away more often than models kill them, and hundreds may have been held.
        """
        for segment in held:
            self._deaths[segment] += 1
            if segment == current or self._deaths[segment] > 1:
                self._suspects.add(segment)

    def excuse(self, seconds: float) -> None:
        """Moves all signs of life by a time in which nobody could have been heard."""
        for state in self.workers.values():
            state.seen += seconds
            state.progress_at += seconds
            if state.idle_since is not None:
                state.idle_since += seconds

    def need(self, now: float) -> int | None:
        """How many workers there is work for, at least one; None while nothing says there are too many."""
        staying = [state for state in self.workers.values() if not state.retiring]
        spare = sum(s.idle_since is not None and now - s.idle_since >= SPARE_S for s in staying)
        if spare:
            self.is_scant = True
        elif self.waiting >= max(1, len(staying)):
            self.is_scant = False
        return max(1, len(staying) - spare + self.waiting) if self.is_scant else None

    def overdue(self, now: float, silence_s: float, stall_timeout_s: float | None) -> list[Overdue]:
        """Workers with work that were silent for too long, or whose training makes no progress."""
        found = []
        for name, state in self.workers.items():
            still = now - state.progress_at
            if not state.leases:
                continue
            if now - state.seen > silence_s:
                found.append(Overdue(name, f"its worker was silent for {now - state.seen:.0f} s", False))
            elif stall_timeout_s and still > stall_timeout_s:
                what = segment_name(state.current) if state.current is not None else "?"
                text = f"stalled: segment {what} reported nothing for {still:.0f} s after iteration "
                text += f"{state.iteration} (stall_timeout: {stall_timeout_s:g} s)"
                found.append(Overdue(name, text, True))
        return found

    def snapshot(self, now: float) -> dict[str, Any]:
        """The workers as plain values."""
        return {
            name: {
                "leases": len(state.leases),
                "current": segment_name(state.current) if state.current is not None else None,
                "segment": state.current,
                "iteration": state.iteration,
                "segments": state.segments,
                "busy_s": state.busy_s,
                "silent_s": now - state.seen,
                "lives": state.lives,
                "node": state.node,
                "level": state.level,
            }
            for name, state in self.workers.items()
        }
