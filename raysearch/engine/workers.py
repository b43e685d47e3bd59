"""The workers of a search: when it last heard from each, what each trains, and which process each is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from raysearch.core.segment import Cause, Segment, segment_name
from raysearch.engine.leases import Leases
from raysearch.engine.worker_snapshot import WorkerSnapshot

SILENT_S = 30.0  # a worker without work that says nothing for longer is taken to have been away
SPARE_S = 5.0  # a worker that found nothing to do for so long is one too many


@dataclass(slots=True)
class WorkerState:
    """What is known of one worker.

    Attributes:
        seen: when the search last heard from it.
        current, iteration, progress_at: what it trains, how far it is, and when that last changed.
        segments, busy_s: outcomes it handed in, and their seconds.
        lives: how often a process of this name has started.
        node: where it runs.
        level: which of the shares it has (see `Growth`).
        retiring: it gets no more, and goes when it has handed in what it holds.
        epoch: which process of this name it is; later ones have greater numbers.
        idle_since: start of its current idle period; None while it has work.
    """

    seen: float
    progress_at: float
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
    """A worker that should be replaced: UNREACHABLE if it was silent, STALLED if its training is."""

    worker: str
    words: str
    cause: Cause


class WorkerTable:
    """The workers by name.

    Attributes:
        held_s: seconds that workers of each level were there, waiting or training, as far as the search heard
            from them.
        is_scant: there was less work than workers, and nothing says yet that there is more again.
        segments_of_gone: outcomes that workers handed in which are gone.
    """

    def __init__(self, leases: Leases) -> None:
        """No workers yet; `leases` says what each holds."""
        self.held_s: defaultdict[int, float] = defaultdict(float)
        self.segments_of_gone = 0
        self.is_scant = False
        self._leases = leases
        self._states: dict[str, WorkerState] = {}
        self._given_up: dict[str, int] = {}  # processes of a name up to this epoch get nothing any more

    def __contains__(self, worker: str) -> bool:
        return worker in self._states

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    @property
    def lives(self) -> int:
        """How many processes the present workers have started."""
        return sum(state.lives for state in self._states.values())

    @property
    def has_worked(self) -> bool:
        """True once any worker handed an outcome in."""
        return bool(self.segments_of_gone) or any(state.segments for state in self._states.values())

    def state_of(self, worker: str) -> WorkerState | None:
        """What is known of the worker; None if it is not here."""
        return self._states.get(worker)

    def see(self, worker: str, now: float) -> WorkerState:
        """Notes a sign of life; returns the worker's state."""
        state = self._states.get(worker)
        if state is None:
            state = self._states[worker] = WorkerState(now, now)
        away = now - state.seen
        # One that held nothing may have been gone in between, its node with it.
        self.held_s[state.level] += away if self._leases.of(worker) else min(away, SILENT_S)
        state.seen = now
        return state

    def recognise(self, worker: str, epoch: int) -> bool:
        """False for a process that was given up, or whose name a later one has; it is to end.

        Epoch 0: an executor without worker processes.
        """
        if not epoch:
            return True
        if epoch <= self._given_up.get(worker, 0):
            return False
        self._given_up[worker] = epoch - 1
        return True

    def take_over(self, worker: str, epoch: int) -> bool:
        """The process of this epoch has the name now; True if an earlier one had it, whose leases go back."""
        state = self._states.get(worker)
        if state is None or state.epoch == epoch or not epoch:
            return False
        before, state.epoch = state.epoch, epoch
        return before > 0

    def give_up(self, worker: str, now: float) -> None:
        """The worker's process is gone; should it live after all, it is not recognised any more."""
        state = self.see(worker, now)
        self._given_up[worker] = max(state.epoch, self._given_up.get(worker, 0))
        state.current, state.node, state.idle_since = None, "", None

    def forget(self, worker: str) -> None:
        """The worker is gone for good, and holds nothing."""
        self.segments_of_gone += self._states.pop(worker).segments
        self._leases.forget(worker)

    def credit(self, worker: str, seconds: float) -> None:
        """The outcome of a segment that the worker held is recorded."""
        state = self._states[worker]
        state.segments += 1
        state.busy_s += seconds

    def note_leases(self, state: WorkerState, held: Mapping[int, Segment], now: float) -> None:
        """After its turn: the worker trains the first of what it holds, or is idle."""
        if held:
            state.idle_since = None
        elif state.idle_since is None:
            state.idle_since = now
        if state.current not in held:
            state.follow(next(iter(held), None), 0, now)

    def excuse(self, seconds: float) -> None:
        """Moves all signs of life by a time in which no worker could have been heard."""
        for state in self._states.values():
            state.seen += seconds
            state.progress_at += seconds
            if state.idle_since is not None:
                state.idle_since += seconds

    def need(self, waiting: int, now: float) -> int | None:
        """How many workers there is work for, at least one; None while nothing says there are too many."""
        staying, spare = _staff(self._states.values(), now)
        is_scant = self._is_scant(waiting, staying, spare)
        return max(1, staying - spare + waiting) if is_scant else None

    def note_need(self, waiting: int, now: float) -> None:
        """Notes whether there is less work than workers."""
        self.is_scant = self._is_scant(waiting, *_staff(self._states.values(), now))

    def _is_scant(self, waiting: int, staying: int, spare: int) -> bool:
        return bool(spare) or (self.is_scant and waiting < max(1, staying))

    def overdue(self, now: float, silence_s: float, stall_timeout_s: float | None) -> list[Overdue]:
        """Workers with work that were silent for too long, or whose training makes no progress."""
        found = []
        for name, state in self._states.items():
            still = now - state.progress_at
            if not self._leases.of(name):
                continue
            if now - state.seen > silence_s:
                text = f"its worker was silent for {now - state.seen:.0f} s"
                found.append(Overdue(name, text, Cause.UNREACHABLE))
            elif stall_timeout_s and still > stall_timeout_s:
                what = segment_name(state.current) if state.current is not None else "?"
                text = f"stalled: segment {what} reported nothing for {still:.0f} s after iteration "
                text += f"{state.iteration} (stall_timeout: {stall_timeout_s:g} s)"
                found.append(Overdue(name, text, Cause.STALLED))
        return found

    def snapshot(self, now: float) -> dict[str, WorkerSnapshot]:
        """How each worker stands."""
        return {
            name: WorkerSnapshot(
                leases=len(self._leases.of(name)),
                current=segment_name(state.current) if state.current is not None else None,
                segment=state.current,
                iteration=state.iteration,
                segments=state.segments,
                busy_s=state.busy_s,
                silent_s=now - state.seen,
                lives=state.lives,
                node=state.node,
                level=state.level,
            )
            for name, state in self._states.items()
        }


def _staff(states: Iterable[WorkerState], now: float) -> tuple[int, int]:
    """(workers that are to stay, those of them that have been idle for a while)."""
    staying = [state for state in states if not state.retiring]
    spare = sum(s.idle_since is not None and now - s.idle_since >= SPARE_S for s in staying)
    return len(staying), spare
