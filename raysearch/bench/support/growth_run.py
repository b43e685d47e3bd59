"""One search of `raysearch bench growth`: simulated workers, the real engine and journal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.bench.support.contest import peak_mb

if TYPE_CHECKING:
    from raysearch.core.segment import Outcome, Segment
    from raysearch.engine.search import Search
    from raysearch.spec.search_spec import SearchSpec

EPOCH = 1.7e9


def simulate(run: str, trials: int, workers: int, names: int, points: int, sampler: str) -> dict[str, Any]:
    """Runs a search until so many trials began, and says what that cost. The run stays, to be gone on with.

    All workers come to the search at the same time, round for round, as they do to a busy coordinator: one
    flush makes the outcomes of a round durable.

    Args:
        names: hyper-parameters.
        points: of a full curve; caviar compares trials at a ninth, a third and all of it.
    """
    from raysearch.engine.search import Search
    from raysearch.storage.journal.journal import Journal
    from raysearch.storage.paths import RunPaths

    paths = RunPaths(Path(run))
    paths.root.mkdir(parents=True)
    spec = _spec(paths.root, names, points, sampler)
    strategy = spec.strategy.start(spec.space, metric=spec.metric, mode=spec.mode, seed=spec.seed)
    crowd = Crowd([f"worker-{i}" for i in range(workers)])
    before_mb, began, cpu = peak_mb(), time.perf_counter(), time.process_time()
    with Journal.create(paths.journal) as journal:
        journal.append_event("start", {"raysearch": "bench"}, EPOCH)
        search = Search(strategy, metric=spec.metric, mode=spec.mode, journal=journal, now=EPOCH)
        while search.standings.trials < trials:
            crowd.come(search)
    wall, cpu = time.perf_counter() - began - crowd.away_s, time.process_time() - cpu - crowd.away_cpu_s
    paths.spec.write_text(spec.to_yaml(), encoding="utf-8")
    outcomes = search.standings.counts.total()
    return {
        "outcomes": outcomes,
        "per_s": outcomes / wall,
        "us_each": 1e6 * cpu / outcomes,
        "cpu_s": cpu,
        "turn_cpu_ms": 1000 * float(np.median(crowd.turns_cpu_s)),
        "turn_ms": 1000 * float(np.median(crowd.turns_s)),
        "p99_ms": 1000 * float(np.percentile(crowd.turns_s, 99)),
        "memory_mb": peak_mb() - before_mb,
        "disk_mb": sum(file.stat().st_size for file in paths.journal.iterdir()) / 1e6,
    }


class Crowd:
    """Workers that train no model: what they hold ends between two rounds.

    Attributes:
        turns_s: how long each round took the search, from the outcomes handed in to the last lease given.
        turns_cpu_s: the same in CPU time, without the wait for the disk.
        away_s, away_cpu_s: time that making up outcomes took, which is no cost of the search.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.turns_s: list[float] = []
        self.turns_cpu_s: list[float] = []
        self.away_s = self.away_cpu_s = 0.0
        self._names = names
        self._trained: dict[str, list[Outcome]] = {name: [] for name in names}
        self._now = EPOCH

    def come(self, search: Search) -> None:
        """A round: each worker hands in what it trained and takes the next; the journal is flushed once."""
        self._now += 1.0
        began, cpu_began = time.perf_counter(), time.thread_time()
        accepted = [o for name, done in self._trained.items() for o in search.accept(name, done, self._now)]
        search.commit(accepted)
        replies = [(name, search.lease(name, 1, self._now)) for name in self._names]
        ended, cpu = time.perf_counter(), time.thread_time()
        self.turns_s.append(ended - began)
        self.turns_cpu_s.append(cpu - cpu_began)
        self._trained = {name: [train(lease.segment) for lease in reply.leases] for name, reply in replies}
        self.away_s += time.perf_counter() - ended
        self.away_cpu_s += time.thread_time() - cpu


def train(segment: Segment) -> Outcome:
    """The segment completed: its loss falls with the root of the iteration to what its config is worth."""
    from raysearch.core.segment import Outcome, Status

    floor = abs(segment.config["h0"] - 0.3)
    losses = floor + 2.0 / np.sqrt(np.arange(segment.start + 1, segment.stop + 1))
    return Outcome(segment, Status.COMPLETED, {"loss": losses.tolist()}, None, 1.0 * len(losses))


def _spec(root: Path, names: int, points: int, sampler: str) -> SearchSpec:
    from raysearch.spec.search_spec import make_spec
    from raysearch.strategies.caviar.settings import Caviar

    return make_spec(
        trainable="raysearch.bench.support.trivial:Trivial",
        name=root.name,
        storage=str(root.parent),
        metric="loss",
        mode="min",
        space={f"h{i}": {"uniform": [0.0, 1.0]} for i in range(names)},
        strategy=Caviar(
            samples=100_000_000,
            max_iterations=points,
            min_iterations=max(1, points // 9),
            sampler=sampler,
            variant="promotion",
            finish=None,
        ),
        seed=1,
    )
