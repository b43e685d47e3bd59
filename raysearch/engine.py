"""The engine: Search, a strategy with its journal, its leases and its register of checkpoints.

A plain object. Every executor drives the same one: the Tune executor inside an actor, the inline
executor in a loop, the simulator under a virtual clock. Time is an argument.

A worker's turn is `exchange`: hand in outcomes, take leases. What comes in is made durable first
(`accept`, then the journal), then told to the strategy (`record`), and only then answered (`lease`).
The coordinator calls the three steps itself so that one flush serves all workers who came meanwhile.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from raysearch.errors import RunError
from raysearch.strategies.base import Strategy
from raysearch.tree import ORDINAL_BITS, Config, Mode, Outcome, Segment, Status, score, segment_name

LOSS_LIMIT = 3  # a segment whose worker died this often is given up: it kills its workers
GIVE_UP_AFTER = 10  # failures in a row, with nothing else before them, that end a search
COLLECT_FROM = 1024  # registered segments from which on checkpoints are collected
FINALS = ("finalist", "baseline")  # roles of the finish: not part of the search's own standings
TOP = 16  # how many of the best of each rung are written even where growing them again is cheaper
SILENCE_S = 60.0  # a worker not heard of for so long is taken for dead


class OutcomeLog(Protocol):
    """Where outcomes are made durable: a Journal, or nothing in a simulation."""

    def append(self, outcomes: Sequence[Outcome]) -> None: ...


class CheckpointStore(Protocol):
    """Where checkpoints lie: Checkpoints, or nothing in a simulation."""

    def delete(self, names: Iterable[str]) -> object: ...

    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Lease:
    """A segment handed to a worker, and how to get to its start.

    Attributes:
        checkpoint: the nearest ancestor's checkpoint that exists; None is a fresh model.
        origin: id of that ancestor.
        chain: the ancestors after it, to be grown again before the segment.
    """

    segment: Segment
    checkpoint: str | None = None
    origin: int | None = None
    chain: tuple[Segment, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by position, as Segment is."""
        return Lease, (self.segment, self.checkpoint, self.origin, self.chain)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker gets for its outcomes.

    Attributes:
        stop: the search is over, or is being stopped; leases in hand are to be dropped.
        keep: checkpoints may be written (False: the quota is used up, segments are grown again).
        bars: score of the TOP-th best so far by `Segment.stop` (lower is better; absent while there are
            fewer): a checkpoint that would be cheaper to grow again is still written for an outcome that
            reaches its bar, so that the winner has one.
    """

    leases: tuple[Lease, ...] = ()
    stop: bool = False
    keep: bool = True
    bars: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends before its strategy does; None is no limit."""

    hours: float | None = None
    gpu_hours: float | None = None
    trials: int | None = None
    gpus_per_worker: float = 0.0
    quota_bytes: int | None = None
    retries: int = 1
    stall_timeout_s: float | None = None
    silence_s: float = SILENCE_S


@dataclass(slots=True)
class WorkerState:
    """What the search knows of one worker."""

    seen: float
    leases: dict[int, Segment] = field(default_factory=dict)
    current: int | None = None
    iteration: int = 0
    progress_at: float = 0.0
    segments: int = 0
    busy_s: float = 0.0
    lives: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A finished segment that may still be grown on."""

    segment: Segment
    checkpoint: str | None


@dataclass(frozen=True, slots=True)
class Best:
    """The best outcome so far among those that went furthest."""

    trial: int
    segment: int
    value: float
    iteration: int
    config: Config


class IdSet:
    """A set of segment ids: one byte a trial while trials are small and short, else a plain set."""

    __slots__ = ("_bits", "_rest")

    def __init__(self) -> None:
        self._bits = bytearray()
        self._rest: set[int] = set()

    def __contains__(self, item: int) -> bool:
        trial, ordinal = item >> ORDINAL_BITS, item & ((1 << ORDINAL_BITS) - 1)
        if ordinal < 8 and trial < 1 << 28:
            return trial < len(self._bits) and bool(self._bits[trial] >> ordinal & 1)
        return item in self._rest

    def add(self, item: int) -> None:
        """Puts `item` in."""
        trial, ordinal = item >> ORDINAL_BITS, item & ((1 << ORDINAL_BITS) - 1)
        if ordinal >= 8 or trial >= 1 << 28:
            self._rest.add(item)
            return
        if trial >= len(self._bits):
            self._bits.extend(bytes(max(1024, trial - len(self._bits) + 1, len(self._bits) // 4)))
        self._bits[trial] |= 1 << ordinal


class Search:
    """One search, from its first ask to its end."""

    def __init__(
        self,
        strategy: Strategy,
        *,
        metric: str,
        mode: Mode,
        journal: OutcomeLog | None = None,
        checkpoints: CheckpointStore | None = None,
        limits: Limits | None = None,
        now: float = 0.0,
        seconds_before: float = 0.0,
    ) -> None:
        self.strategy = strategy
        self.metric = metric
        self.mode = mode
        self.journal = journal
        self.checkpoints = checkpoints
        self.limits = limits or Limits()
        self.started_at = now
        self.seconds_before = seconds_before
        self.stopping = ""
        self.failed = ""
        self.warnings: dict[str, int] = {}
        self.counts: Counter[Status] = Counter()
        self.reached: dict[int, Counter[Status]] = {}
        self.bars: dict[int, float] = {}
        self._top: dict[int, list[float]] = {}
        self.trials = 0
        self.finals = 0
        self.busy_s = 0.0
        self.recent: deque[str] = deque(maxlen=8)
        self.workers: dict[str, WorkerState] = {}
        self._best: dict[int, Best] = {}
        self._done = IdSet()
        self._committing: set[int] = set()
        self._queue: deque[Segment] = deque()
        self._holder: dict[int, str] = {}
        self._register: dict[int, Node] = {}
        self._collect_at = COLLECT_FROM
        self._losses: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()
        self._first_error = ""
        self._keep = True

    # ---- a worker's turn

    def exchange(
        self,
        worker: str,
        outcomes: Sequence[Outcome],
        want: int,
        now: float,
        holding: Iterable[int] = (),
    ) -> Reply:
        """Takes outcomes, makes them durable, tells the strategy and answers with leases."""
        self.commit(self.accept(worker, outcomes, now))
        return self.lease(worker, want, now, holding)

    def commit(self, accepted: Sequence[Outcome]) -> None:
        """Makes accepted outcomes durable, then records them; on an error nothing is recorded."""
        if not accepted:
            return
        try:
            if self.journal is not None:
                self.journal.append(accepted)
        except BaseException:
            self.forget(accepted)
            raise
        self.record(accepted)

    def accept(self, worker: str, outcomes: Sequence[Outcome], now: float) -> list[Outcome]:
        """The outcomes that count: not told before, and of the segment that was asked for.

        A failed one with retries left comes back as lost, so that it is asked for again.
        """
        self._see(worker, now)
        return [
            self._retried(outcome).stamped(worker, now)
            for outcome in outcomes
            if self._counts(worker, outcome)
        ]

    def forget(self, accepted: Iterable[Outcome]) -> None:
        """Takes back `accept` for outcomes that could not be made durable."""
        for outcome in accepted:
            self._committing.discard(outcome.segment.id)
            if outcome.segment.id not in self._holder:
                self._queue.append(outcome.segment)

    def record(self, accepted: Iterable[Outcome]) -> None:
        """Tells the strategy of outcomes that are durable, and frees their leases."""
        for outcome in accepted:
            self._committing.discard(outcome.segment.id)
            self._release(outcome.segment.id, outcome.seconds)
            self._fold(outcome)
            self.strategy.tell(outcome)
        self._collect_if_due()

    def lease(self, worker: str, want: int, now: float, holding: Iterable[int] = ()) -> Reply:
        """Up to `want` segments for this worker.

        `holding` are the ids it has in hand; leases it should hold and does not (an answer that was
        lost on the way) are given out again.
        """
        state = self._see(worker, now)
        self._requeue_missing(state, set(holding))
        self._check_limits(now)
        if self.over:
            return Reply(stop=True, keep=self._keep)
        leases = []
        for segment in self._next(want):
            state.leases[segment.id] = segment
            self._holder[segment.id] = worker
            leases.append(self._routed(segment))
        if state.current not in state.leases:
            self._follow(state, next(iter(state.leases), None), 0, now)
        return Reply(tuple(leases), keep=self._keep, bars=self.bars)

    # ---- workers that come, go and hang

    def hello(self, worker: str, now: float) -> list[Outcome]:
        """A worker's process has started. What an earlier one of that name held is lost.

        Returns outcomes to `commit`.
        """
        lost = self.lose(worker, now, "its worker died") if worker in self.workers else []
        self._see(worker, now).lives += 1
        return lost

    def adopt(self, worker: str, leases: Iterable[Lease], now: float) -> None:
        """A worker that outlived a coordinator says what it is training."""
        state = self._see(worker, now)
        for lease in leases:
            if lease.segment.id not in self._done and lease.segment.id not in self._holder:
                state.leases[lease.segment.id] = lease.segment
                self._holder[lease.segment.id] = worker

    def beat(self, worker: str, current: int | None, iteration: int, now: float) -> bool:
        """Notes a sign of life and progress; True if the worker should stop."""
        state = self._see(worker, now)
        if current is not None and (current, iteration) != (state.current, state.iteration):
            self._follow(state, current, iteration, now)
        self._check_limits(now)
        return self.over

    def overdue(self, now: float) -> list[tuple[str, str]]:
        """Workers that should be replaced, each with the cause in words."""
        found = []
        for name, state in self.workers.items():
            if not state.leases:
                continue
            if now - state.seen > self.limits.silence_s:
                found.append((name, f"its worker was silent for {now - state.seen:.0f} s"))
            elif self.limits.stall_timeout_s and now - state.progress_at > self.limits.stall_timeout_s:
                found.append((name, self._stall_text(state, now)))
        return found

    def lose(self, worker: str, now: float, cause: str, stalled: bool = False) -> list[Outcome]:
        """Gives back what `worker` holds, and returns outcomes to `commit` for what that cost.

        The segment it was training is lost, or failed if it stalled or has lost LOSS_LIMIT workers.
        The others go back into the queue. After a loss segments are leased one at a time, so that the
        one that kills its worker is found.
        """
        state = self._see(worker, now)
        held = list(state.leases.values())
        current = state.current if state.current in state.leases else (held[0].id if held else None)
        state.leases, state.current = {}, None
        outcomes = []
        for segment in held:
            self._holder.pop(segment.id, None)
            self._losses[segment.id] += 1
            if segment.id in self._committing:
                continue
            if segment.id == current:
                outcomes.append(self._loss(segment, worker, now, cause, stalled))
                self._committing.add(segment.id)
            else:
                self._queue.append(segment)
        return outcomes

    # ---- the past

    def replay(self, outcomes: Iterable[Outcome]) -> None:
        """Folds a journal: the strategy, the register and the counts are as they were."""
        for outcome in outcomes:
            if outcome.segment.id in self._done:
                continue
            self._fold(outcome)
            self.strategy.tell(outcome)
            if len(self._register) >= self._collect_at:
                self._collect(delete=False)

    def checkpoint_lost(self, name: str, segment: int, cause: str) -> None:
        """A checkpoint could not be read: the segment is grown again from an earlier ancestor."""
        node = self._register.get(segment)
        if node is not None and node.checkpoint == name:
            self._register[segment] = Node(node.segment, None)
            self.warn(f"checkpoint {name} could not be read ({cause}); grown again from its parent")

    # ---- state

    @property
    def over(self) -> bool:
        """True when workers have nothing left to do here."""
        return bool(self.stopping or self.failed) or self.strategy.finished

    @property
    def outstanding(self) -> int:
        """Segments that workers hold."""
        return len(self._holder)

    @property
    def ending(self) -> str:
        """Why the search is over, in words; empty while it is not."""
        if self.failed or self.stopping:
            return self.failed or self.stopping
        return "complete" if self.strategy.finished else ""

    @property
    def best(self) -> Best | None:
        """The best of the outcomes that reached the furthest iteration; None before the first."""
        return self._best[max(self._best)] if self._best else None

    def stop(self, why: str) -> None:
        """Ends the search: workers are told to stop at their next turn."""
        self.stopping = self.stopping or why

    def fail(self, why: str) -> None:
        """Ends the search with an error."""
        self.failed = self.failed or why

    def warn(self, text: str) -> None:
        """Counts a warning; each text is shown once, with how often it came."""
        if text in self.warnings or len(self.warnings) < 100:
            self.warnings[text] = self.warnings.get(text, 0) + 1

    def kept_checkpoints(self) -> set[str]:
        """Names of all checkpoints in the register."""
        return {n.checkpoint for n in self._register.values() if n.checkpoint}

    def status(self, now: float) -> dict[str, Any]:
        """A snapshot as plain values, as shown by the display and printed by `--json`."""
        best = self.best
        return {
            "ending": self.ending,
            "failed": self.failed,
            "seconds": now - self.started_at,
            "trials": self.trials,
            "finals": self.finals,
            "segments": {status.value: n for status, n in self.counts.items()},
            "running": sum(1 for w in self.workers.values() if w.leases),
            "queued": len(self._queue),
            "leased": self.outstanding,
            "rungs": [
                {
                    "iteration": stop,
                    **{s.value: n for s, n in by.items()},
                    "best": self._best[stop].value if stop in self._best else None,
                }
                for stop, by in sorted(self.reached.items())
            ],
            "best": dataclasses.asdict(best) if best else None,
            "workers": {
                name: {
                    "leases": len(w.leases),
                    "current": segment_name(w.current) if w.current is not None else None,
                    "iteration": w.iteration,
                    "segments": w.segments,
                    "busy_s": w.busy_s,
                    "silent_s": now - w.seen,
                    "lives": w.lives,
                }
                for name, w in self.workers.items()
            },
            "busy_s": self.busy_s,
            "recent": list(self.recent),
            "warnings": dict(self.warnings),
        }

    # ---- inside

    def _see(self, worker: str, now: float) -> WorkerState:
        state = self.workers.setdefault(worker, WorkerState(seen=now, progress_at=now))
        state.seen = now
        return state

    def _follow(self, state: WorkerState, current: int | None, iteration: int, now: float) -> None:
        state.current, state.iteration, state.progress_at = current, iteration, now

    def _counts(self, worker: str, outcome: Outcome) -> bool:
        segment = outcome.segment
        if segment.id in self._done or segment.id in self._committing:
            return False
        holder = self._holder.get(segment.id)
        asked = self.workers[holder].leases.get(segment.id) if holder else None
        if asked is not None and not _same_work(asked, segment):
            self.warn(f"worker {worker} handed in another segment under the id {segment_name(segment.id)}")
            return False
        self._committing.add(segment.id)
        return True

    def _retried(self, outcome: Outcome) -> Outcome:
        if outcome.status is not Status.FAILED:
            return outcome
        self._first_error = self._first_error or outcome.error
        self._failures[outcome.segment.id] += 1
        attempt = self._failures[outcome.segment.id]
        if attempt > self.limits.retries:
            return outcome
        text = f"attempt {attempt} of {self.limits.retries + 1} failed: {outcome.error}"
        return dataclasses.replace(outcome, status=Status.LOST, curve={}, error=text)

    def _loss(self, segment: Segment, worker: str, now: float, cause: str, stalled: bool) -> Outcome:
        count = self._losses[segment.id]
        dead = stalled or count >= LOSS_LIMIT
        text = cause if stalled or not dead else f"{cause}, {count} times: this segment kills its worker"
        status = Status.FAILED if dead else Status.LOST
        return Outcome(segment, status, worker=worker, error=text, finished_at=now)

    def _stall_text(self, state: WorkerState, now: float) -> str:
        name = segment_name(state.current) if state.current is not None else "?"
        return (
            f"stalled: segment {name} reported nothing for {now - state.progress_at:.0f} s after "
            f"iteration {state.iteration} (stall_timeout: {self.limits.stall_timeout_s:g} s)"
        )

    def _release(self, segment: int, seconds: float) -> None:
        holder = self._holder.pop(segment, None)
        if holder is not None:
            state = self.workers[holder]
            state.leases.pop(segment, None)
            state.segments += 1
            state.busy_s += seconds

    def _fold(self, outcome: Outcome) -> None:
        segment = outcome.segment
        self.counts[outcome.status] += 1
        self.busy_s += outcome.seconds
        if outcome.status is Status.LOST:
            return
        self._done.add(segment.id)
        if segment.role in FINALS:
            self.finals += 1
        else:
            self.trials += segment.start == 0
            self.reached.setdefault(segment.stop, Counter())[outcome.status] += 1
        if segment.parent is not None or segment.role in FINALS:
            self.recent.append(f"{segment_name(segment.id)}: {segment.reason}")
        if outcome.status is Status.COMPLETED:
            self._fold_completed(outcome)
        elif outcome.status is Status.FAILED:
            self._fold_failed(outcome)

    def _fold_completed(self, outcome: Outcome) -> None:
        segment = outcome.segment
        self._register[segment.id] = Node(segment, outcome.checkpoint)
        values = outcome.curve.get(self.metric, ())
        value = values[-1] if values else math.nan
        if outcome.error:
            self.warn(outcome.error)
        if segment.role in FINALS or not math.isfinite(value):
            return
        self._raise_bar(segment.stop, score(value, self.mode))
        best = self._best.get(segment.stop)
        if best is None or score(value, self.mode) < score(best.value, self.mode):
            self._best[segment.stop] = Best(segment.trial, segment.id, value, outcome.reached, segment.config)

    def _raise_bar(self, stop: int, reached: float) -> None:
        top = self._top.setdefault(stop, [])
        if len(top) < TOP or reached < top[-1]:
            bisect.insort(top, reached)
            del top[TOP:]
        if len(top) == TOP:
            self.bars[stop] = top[-1]

    def _fold_failed(self, outcome: Outcome) -> None:
        self._first_error = self._first_error or outcome.error
        others = self.counts[Status.COMPLETED] + self.counts[Status.DIVERGED]
        if not others and self.counts[Status.FAILED] >= GIVE_UP_AFTER:
            self.fail(
                f"the first {GIVE_UP_AFTER} segments all failed, so the search was ended. "
                f"The first error was: {self._first_error}"
            )

    def _requeue_missing(self, state: WorkerState, holding: set[int]) -> None:
        for segment_id in [i for i in state.leases if i not in holding and i not in self._committing]:
            self._queue.append(state.leases.pop(segment_id))
            self._holder.pop(segment_id, None)

    def _next(self, want: int) -> list[Segment]:
        if want <= 0:
            return []
        if len(self._queue) < want:
            asked = self.strategy.ask(want - len(self._queue))
            self._queue.extend(s for s in asked if self._is_new(s.id))
        if not self._queue and not self._holder and not self._committing and not self.strategy.finished:
            self.fail(
                f"the strategy {type(self.strategy).__name__} is not finished, waits for nothing and asks "
                "for nothing: a defect of the strategy, see its contract in raysearch.strategies.base"
            )
        taken: list[Segment] = []
        while self._queue and len(taken) < want:
            alone = self._losses.get(self._queue[0].id, 0) > 0
            if alone and taken:
                break
            segment = self._queue.popleft()
            if self._is_new(segment.id):
                taken.append(segment)
            if alone:
                break
        return taken

    def _is_new(self, segment: int) -> bool:
        return segment not in self._done and segment not in self._holder

    def _routed(self, segment: Segment) -> Lease:
        chain: list[Segment] = []
        parent = segment.parent
        while parent is not None:
            node = self._register.get(parent)
            if node is None:
                raise RunError(
                    f"segment {segment_name(segment.id)} starts from {segment_name(parent)}, which the "
                    "strategy no longer keeps: a defect of the strategy (`kept`)"
                )
            if node.checkpoint is not None:
                return Lease(segment, node.checkpoint, parent, tuple(reversed(chain)))
            chain.append(node.segment)
            parent = node.segment.parent
        return Lease(segment, None, None, tuple(reversed(chain)))

    # ---- checkpoints that are no longer needed

    def _collect_if_due(self) -> None:
        if len(self._register) >= self._collect_at:
            self._collect(delete=True)

    def collect(self) -> None:
        """Deletes the checkpoints that nothing can need any more, and checks the quota."""
        self._collect(delete=True)

    def _collect(self, delete: bool) -> None:
        lineage, holders = self._needed()
        names = []
        for segment in [i for i in self._register if i not in lineage]:
            names.append(self._register.pop(segment).checkpoint)
        for segment, node in self._register.items():
            if node.checkpoint is not None and segment not in holders:
                names.append(node.checkpoint)
                self._register[segment] = Node(node.segment, None)
        if delete and self.checkpoints is not None:
            self.checkpoints.delete([name for name in names if name is not None])
        self._collect_at = max(COLLECT_FROM, len(self._register) * 3 // 2)
        self._check_quota()

    def _needed(self) -> tuple[set[int], set[int]]:
        """(segments to remember, segments whose checkpoints to keep).

        Remembered are all that may be grown on and all their ancestors, since a checkpoint that proves
        bad is grown again from them. Kept is the nearest checkpoint at or above each that may be grown on.
        """
        lineage: set[int] = set()
        holders: set[int] = set()
        in_use = {s.parent for s in (*self._queue, *self._leased()) if s.parent is not None}
        for segment in in_use | self.strategy.kept() | {b.segment for b in self._best.values()}:
            found = False
            step: int | None = segment
            while step is not None and not (found and step in lineage):
                node = self._register.get(step)
                if node is None:
                    break
                lineage.add(step)
                if node.checkpoint is not None and not found:
                    holders.add(step)
                    found = True
                step = node.segment.parent
        return lineage, holders

    def _leased(self) -> Iterable[Segment]:
        return (segment for state in self.workers.values() for segment in state.leases.values())

    def _check_quota(self) -> None:
        quota = self.limits.quota_bytes
        if quota is None or self.checkpoints is None:
            return
        size = self.checkpoints.size()
        self._keep = size < quota
        if not self._keep:
            self.warn(
                f"checkpoints use {size / 1e9:.2f} GB, the quota is {quota / 1e9:.2f} GB: no more are "
                "written, and segments are grown again from earlier ones where needed (raise `quota`)"
            )

    def _check_limits(self, now: float) -> None:
        limits = self.limits
        hours = (now - self.started_at + self.seconds_before) / 3600
        if limits.hours is not None and hours >= limits.hours:
            self.stop(f"the budget of {limits.hours:g} hours is used up")
        gpu_hours = self.busy_s * limits.gpus_per_worker / 3600
        if limits.gpu_hours is not None and gpu_hours >= limits.gpu_hours:
            self.stop(f"the budget of {limits.gpu_hours:g} GPU-hours is used up")
        if limits.trials is not None and self.trials >= limits.trials:
            self.stop(f"the budget of {limits.trials} trials is used up")


def _same_work(asked: Segment, done: Segment) -> bool:
    """True if both train the same stretch of the same trial."""
    return (asked.trial, asked.parent, asked.start, asked.stop) == (
        done.trial,
        done.parent,
        done.start,
        done.stop,
    )
