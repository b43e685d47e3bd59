"""The simulated executor: the real Search under a virtual clock, over tables of learning curves.

A worker's segment takes the seconds that the table says, and no time at all on the real clock. Faults
are drawn from a seed: a worker that dies, a training that raises or diverges. For judging strategies.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from raysearch.core.segment import Cause, Config, Mode, Outcome, Segment, Status
from raysearch.engine.faults import Loss
from raysearch.engine.limits import Limits
from raysearch.engine.search import Search
from raysearch.space.space import Space
from raysearch.strategies.base import Strategy
from raysearch.strategies.samplers.base import Sampler

Floats = npt.NDArray[np.float64]
TAKEN = "its machine was taken away"


class Table:
    """Learning curves of one task: what each of n configurations would have given.

    Attributes:
        configs: the n configurations, in the space.
        values: the metric, shape (n, epochs); NaN is a diverged run.
        seconds: cumulative cost after each epoch, of the same shape.
        untrained: how many points before the first epoch were left out of the values.
    """

    def __init__(
        self,
        space: Space,
        configs: Sequence[Config],
        values: Floats,
        seconds: Floats,
        metric: str,
        mode: Mode,
        untrained: int = 0,
    ) -> None:
        self.space = space
        self.configs = list(configs)
        self.values = values
        self.seconds = seconds
        self.metric = metric
        self.mode = mode
        self.untrained = untrained
        self.units = space.encode_many(self.configs)
        self._categorical = space.is_categorical
        self._rows = {_key(c): i for i, c in enumerate(self.configs)}

    @property
    def epochs(self) -> int:
        """How long a full training is."""
        return int(self.values.shape[1])

    @property
    def full_seconds(self) -> float:
        """Mean cost of a full training."""
        return float(np.mean(self.seconds[:, -1]))

    def row(self, config: Config) -> int:
        """The row of a configuration; the nearest one if it is not in the table."""
        row = self._rows.get(_key(config))
        return self.nearest(config, None) if row is None else row

    def nearest(self, config: Config, unused: npt.NDArray[np.bool_] | None) -> int:
        """The nearest row on the unit cube; values without an order differ by 1 or not at all."""
        apart = np.abs(self.units - self.space.encode(config))
        apart[:, self._categorical] = apart[:, self._categorical] > 1e-9
        distance = np.einsum("ij,ij->i", apart, apart)
        if unused is not None:
            distance[~unused] = np.inf
        return int(np.argmin(distance))

    def regret(self, best_seen: Floats) -> Floats:
        """0 for the best value in the table, 1 for the median configuration's best."""
        sign = 1.0 if self.mode == "max" else -1.0
        values = np.where(np.isfinite(self.values), sign * self.values, -np.inf)
        each = values.max(axis=1)
        best, median = float(each.max()), float(np.median(each))
        return np.clip((best - sign * best_seen) / max(best - median, 1e-12), 0.0, 1.0)


class UnusedRows:
    """The rows of a table that were not taken yet."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._unused = np.ones(len(table.configs), dtype=bool)
        self._left = len(table.configs)

    @property
    def is_empty(self) -> bool:
        """Whether all were taken."""
        return not self._left

    def take(self, config: Config) -> Config:
        """The nearest row's configuration, which is taken."""
        row = self._table.nearest(config, self._unused)
        self._unused[row] = False
        self._left -= 1
        return self._table.configs[row]


class RowsOf:
    """A sampler whose proposals are moved to the nearest row not yet used."""

    def __init__(self, table: Table, sampler: Sampler) -> None:
        self._sampler = self.sampler = sampler
        self._rows = UnusedRows(table)

    def propose(self, trial: int) -> Config | None:
        """The nearest unused row's configuration; None when all are used."""
        config = None if self._rows.is_empty else self._sampler.propose(trial)
        return None if config is None else self._rows.take(config)

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Passes it on."""
        self._sampler.observe(trial, config, iteration, score)


@dataclass(frozen=True)
class SimulatedFaults:
    """What goes wrong, most of it with a probability a segment.

    Attributes:
        worker_dies: somewhere in the segment; a new worker is there at once.
        losses_per_hour: how often an hour a worker is taken away, as spot machines are.
        back_after_s: until another one is there in its place.
        slow_share, slow_by: this part of the workers takes so many times as long.
        raises: the training fails, and does so again when tried again.
        diverges: the metric becomes NaN, and does so again when tried again.
        seed: of the draws.
    """

    worker_dies: float = 0.0
    raises: float = 0.0
    diverges: float = 0.0
    losses_per_hour: float = 0.0
    back_after_s: float = 0.0
    slow_share: float = 0.0
    slow_by: float = 1.0
    seed: int = 0


@dataclass
class Trace:
    """What happened in a simulation.

    Attributes:
        at, value: when each reported value became known, and the value; in order of time.
        outcomes: how many segments ended in each way.
        ended_at: virtual time of the last event.
        seconds: that workers spent on segments that ended in each way.
        exchanges: how often a worker came to the search.
    """

    at: Floats = field(default_factory=lambda: np.empty(0))
    value: Floats = field(default_factory=lambda: np.empty(0))
    outcomes: dict[Status, int] = field(default_factory=dict)
    ended_at: float = 0.0
    seconds: dict[Status, float] = field(default_factory=dict)
    exchanges: int = 0

    def best_at(self, times: Sequence[float], mode: Mode) -> Floats:
        """The best value known at each time; NaN while there is none."""
        sign = 1.0 if mode == "max" else -1.0
        running = np.maximum.accumulate(np.where(np.isfinite(self.value), sign * self.value, -np.inf))
        index = np.searchsorted(self.at, np.asarray(times), side="right") - 1
        best = np.where(index >= 0, running[np.maximum(index, 0)] if len(running) else -np.inf, -np.inf)
        return np.where(np.isfinite(best), sign * best, np.nan)


class Simulator:
    """Runs a strategy on a table until it finishes or the virtual time is up."""

    def __init__(
        self,
        table: Table,
        strategy: Strategy,
        workers: int,
        until_s: float,
        faults: SimulatedFaults | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._table = table
        self.search = Search(strategy, metric=table.metric, mode=table.mode, limits=limits)
        self._attendance = self.search.attendance
        self._faults = faults or SimulatedFaults()
        self._until = until_s
        self._idle = [f"w{i}" for i in reversed(range(workers))]
        self._events: list[tuple[float, int, str, Outcome | None]] = []
        self._count = 0
        self._exchanges = 0
        self._draws = np.random.default_rng(self._faults.seed)
        slow = self._draws.random(workers) < self._faults.slow_share
        self._slow = {f"w{i}" for i in np.flatnonzero(slow)}
        self._curves: list[tuple[Floats, Floats]] = []

    def run(self) -> Trace:
        """The whole search; at most `until_s` virtual seconds."""
        now = 0.0
        self._serve(now)
        outcomes: dict[Status, int] = {}
        seconds: dict[Status, float] = {}
        while self._events and self._events[0][0] <= self._until:
            now, _, worker, outcome = heapq.heappop(self._events)
            if outcome is not None:
                outcomes[outcome.status] = outcomes.get(outcome.status, 0) + 1
                seconds[outcome.status] = seconds.get(outcome.status, 0.0) + outcome.seconds
                if not self._settle(worker, outcome, now):
                    continue
            self._idle.append(worker)
            self._serve(now)
        trace = self._trace(outcomes, now)
        trace.seconds, trace.exchanges = seconds, self._exchanges
        return trace

    def _settle(self, worker: str, outcome: Outcome, now: float) -> bool:
        """Hands in the outcome; False if the worker is away for a while."""
        if outcome.status is not Status.LOST:
            self._exchanges += 1
            self.search.exchange(worker, [outcome], 0, now)
            return True
        self.search.commit(self._attendance.lose(worker, now, Loss(outcome.error, outcome.cause)))
        if outcome.cause is Cause.LEFT and self._faults.back_after_s:
            self._count += 1
            heapq.heappush(self._events, (now + self._faults.back_after_s, self._count, worker, None))
            return False
        return True

    def _serve(self, now: float) -> None:
        while self._idle:
            self._exchanges += 1
            reply = self.search.exchange(self._idle[-1], [], 1, now)
            if not reply.leases:
                return
            worker = self._idle.pop()
            for lease in reply.leases:
                outcome = self._on(worker, self._train(lease.segment, now))
                self._count += 1
                heapq.heappush(self._events, (now + outcome.seconds, self._count, worker, outcome))

    def _on(self, worker: str, outcome: Outcome) -> Outcome:
        """The outcome on this worker, which may be slow or be taken away before."""
        faults = self._faults
        if worker in self._slow:
            outcome = dataclasses.replace(outcome, seconds=outcome.seconds * faults.slow_by)
        if not faults.losses_per_hour:
            return outcome
        taken_after = float(self._draws.exponential(3600 / faults.losses_per_hour))
        if taken_after >= outcome.seconds:
            return outcome
        return Outcome(outcome.segment, Status.LOST, seconds=taken_after, error=TAKEN, cause=Cause.LEFT)

    def _train(self, segment: Segment, now: float) -> Outcome:
        row = self._table.row(segment.config)
        stop = min(segment.stop, self._table.epochs)
        seconds = self._table.seconds[row]
        before = seconds[segment.start - 1] if segment.start else 0.0
        values = self._table.values[row, segment.start : stop]
        status, length, error = self._fate(segment, len(values))
        values, costs = values[:length], seconds[segment.start : segment.start + length] - before
        spent = float(costs[-1]) if length else 0.0
        if status is Status.COMPLETED and not np.isfinite(values).all():
            status = Status.DIVERGED
        self._curves.append((now + costs, values))
        curve = {self._table.metric: values.tolist()}
        cause = Cause.PROCESS_DIED if status is Status.LOST else Cause.OTHER
        return Outcome(segment, status, curve, f"c{segment.id}", spent, error=error, cause=cause)

    def _fate(self, segment: Segment, length: int) -> tuple[Status, int, str]:
        """How the segment ends, and after how many iterations."""
        faults = self._faults
        if not (faults.worker_dies or faults.raises or faults.diverges):
            return Status.COMPLETED, length, ""
        steady = np.random.default_rng((faults.seed, segment.id)).random(3)
        if steady[0] < faults.raises:
            return Status.FAILED, int(steady[2] * length), "injected failure"
        if steady[0] < faults.raises + faults.diverges:
            return Status.DIVERGED, int(steady[2] * length), ""
        if np.random.default_rng((faults.seed, segment.id, self._count)).random() < faults.worker_dies:
            return Status.LOST, int(steady[2] * length), "injected death of the worker"
        return Status.COMPLETED, length, ""

    def _trace(self, outcomes: dict[Status, int], now: float) -> Trace:
        if not self._curves:
            return Trace()
        at = np.concatenate([c[0] for c in self._curves])
        value = np.concatenate([c[1] for c in self._curves])
        order = np.argsort(at, kind="stable")
        order = order[at[order] <= self._until]
        return Trace(at[order], value[order], outcomes, now)


def _key(config: Config) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(config.items()))
