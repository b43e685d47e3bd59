"""How a search stands at a moment: `Snapshot`, made by a live search and by readers of its journal alike.

    def watch(status):                      # as on_status of raysearch.search, or of How
        if status.best is not None:
            print(status.trials, status.best.value)

A snapshot can be read by key too, as `raysearch status --json` prints it: `status["trials"]`, `dict(status)`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.segment import Config, Status, segment_name
from raysearch.engine.wind_down import Ended, Ending
from raysearch.engine.worker_snapshot import WorkerSnapshot

RUNGS_KEPT = 16  # the highest rungs, which a snapshot has and whose best is kept
DECISIONS_KEPT = 8


@dataclass(frozen=True, slots=True)
class BestSoFar:
    """The best outcome so far among those that went furthest."""

    trial: int
    segment: int
    value: float
    iteration: int
    config: Config


@dataclass(frozen=True, slots=True)
class Latest:
    """The last outcome that ended with a finite value of the metric."""

    trial: int
    iteration: int
    value: float
    config: Config


@dataclass(frozen=True, slots=True)
class RungCounts:
    """The segments that were to stop at one iteration.

    Attributes:
        counts: how many of the search's own ended there, by status.
        best: value of the metric; None where none completed with a finite one.
    """

    iteration: int
    counts: Mapping[str, int]
    best: float | None


@dataclass(frozen=True, slots=True)
class CoordinatorFacts:
    """What the coordinator of the Tune executor adds.

    Attributes:
        pid: of its process; memory_mb is that process's peak, cpu_s its time since the run was opened.
        work: open segments by the share they need, where some need more than the ordinary one.
        need: how many workers there is work for, if that is fewer than there may be.
    """

    pid: int
    memory_mb: float
    cpu_s: float
    work: Mapping[int, int]
    need: int | None


@dataclass(frozen=True, slots=True)
class Live:
    """What only the process that runs a search knows of it; the defaults stand for a reader of the journal.

    Attributes:
        end: why the search is over; None while it goes on.
        failed: the error that ended it, in words.
        winding: why it winds down, in words; empty while it does not.
        spent: of the budget, in words; empty where there is none.
        forecast: what going on would gain and cost, in words; empty where that is not known.
        seconds, life_s: wall time in all lives, and in this one.
        running: workers that hold something; queued and leased are segments.
        warnings: each with how often it came.
    """

    end: Ended | None = None
    failed: str = ""
    winding: str = ""
    spent: str = ""
    forecast: str = ""
    seconds: float = 0.0
    life_s: float = 0.0
    running: int = 0
    queued: int = 0
    leased: int = 0
    workers: Mapping[str, WorkerSnapshot] = field(default_factory=dict)
    warnings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot(Mapping[str, Any]):
    """How a search stands.

    Attributes:
        live: of its end, its time, its workers and its warnings.
        trials, finals: begun by the search itself, and of its finish.
        segments: outcomes by status; `ended` the search's own without those that were lost.
        stops: at how many iterations segments were to stop; `rungs` the highest of them.
        iterations: trained by all, a finish too; busy_s seconds of training, lost ones included.
        latest, best: None before there is one.
        recent: the last decisions, `12.3: why`.
        coordinator: of the process that serves the workers; None for other executors.
    """

    live: Live
    trials: int
    finals: int
    segments: Mapping[str, int]
    stops: int
    rungs: tuple[RungCounts, ...]
    ended: Mapping[str, int]
    iterations: int
    latest: Latest | None
    best: BestSoFar | None
    busy_s: float
    recent: tuple[str, ...]
    coordinator: CoordinatorFacts | None = None

    @property
    def ending(self) -> str:
        """Why the search is over, in words; empty while it goes on."""
        return self.live.end.words if self.live.end is not None else ""

    @property
    def is_complete(self) -> bool:
        """True if the search ended because its strategy had nothing left to ask for."""
        return self.live.end is not None and self.live.end.kind is Ending.COMPLETE

    def but(self, **live: Any) -> Snapshot:
        """The same with other values in `live`."""
        return dataclasses.replace(self, live=dataclasses.replace(self.live, **live))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `raysearch status --json` prints them."""
        return {key: self[key] for key in self}

    def __getitem__(self, key: str) -> Any:
        try:
            return _KEYS[key](self)
        except KeyError:
            if self.coordinator is not None and key in _FACTS:
                return getattr(self.coordinator, key)
            raise

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS if self.coordinator is None else (*_KEYS, *_FACTS))

    def __len__(self) -> int:
        return len(_KEYS) + (len(_FACTS) if self.coordinator is not None else 0)


_KEYS: dict[str, Callable[[Snapshot], Any]] = {
    "ending": lambda s: s.ending,
    "failed": lambda s: s.live.failed,
    "winding": lambda s: s.live.winding,
    "spent": lambda s: s.live.spent,
    "forecast": lambda s: s.live.forecast,
    "seconds": lambda s: s.live.seconds,
    "life_s": lambda s: s.live.life_s,
    "trials": lambda s: s.trials,
    "finals": lambda s: s.finals,
    "segments": lambda s: dict(s.segments),
    "stops": lambda s: s.stops,
    "rungs": lambda s: [{"iteration": r.iteration, **r.counts, "best": r.best} for r in s.rungs],
    "ended": lambda s: dict(s.ended),
    "iterations": lambda s: s.iterations,
    "latest": lambda s: _plain(s.latest),
    "best": lambda s: _plain(s.best),
    "busy_s": lambda s: s.busy_s,
    "recent": lambda s: list(s.recent),
    "running": lambda s: s.live.running,
    "queued": lambda s: s.live.queued,
    "leased": lambda s: s.live.leased,
    "workers": lambda s: {name: _plain(worker) for name, worker in s.live.workers.items()},
    "warnings": lambda s: dict(s.live.warnings),
}
_FACTS = tuple(f.name for f in dataclasses.fields(CoordinatorFacts))


def _plain(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass of one level, by name."""
    return None if value is None else {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}


@dataclass(slots=True)
class OutcomeTally:
    """Counts of a search's outcomes, however they were read; makes the snapshot.

    Attributes:
        counts: outcomes by status; reached: the search's own by iteration and status.
        best: by the iteration at which segments were to stop.
        ended: outcomes of the search itself; iterations: what all trained, a finish too.
        busy_s: seconds of training, lost ones included.
        recent: id and reason of the last decisions.
    """

    counts: Counter[str] = field(default_factory=Counter)
    reached: dict[int, Counter[str]] = field(default_factory=dict)
    best: dict[int, BestSoFar] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    finals: int = 0
    iterations: int = 0
    busy_s: float = 0.0
    recent: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=DECISIONS_KEPT))

    @property
    def furthest(self) -> BestSoFar | None:
        """The best of the outcomes that reached the furthest iteration; None before the first."""
        return self.best[max(self.best)] if self.best else None

    def snapshot(self, live: Live, latest: Latest | None) -> Snapshot:
        """How the search stands by these counts."""
        return Snapshot(
            live=live,
            trials=self.trials,
            finals=self.finals,
            segments=_by_name(self.counts),
            stops=len(self.reached),
            rungs=tuple(self._rung(stop) for stop in highest(self.reached)),
            ended=_by_name(self.ended),
            iterations=self.iterations,
            latest=latest,
            best=self.furthest,
            busy_s=self.busy_s,
            recent=tuple(f"{segment_name(segment)}: {reason}" for segment, reason in self.recent),
        )

    def _rung(self, stop: int) -> RungCounts:
        best = self.best.get(stop)
        return RungCounts(stop, _by_name(self.reached[stop]), best.value if best is not None else None)


def highest(stops: Iterable[int]) -> list[int]:
    """The stops whose rungs a snapshot has, from the lowest up: all of them unless there are many."""
    return sorted(stops)[-RUNGS_KEPT:]


def _by_name(counts: Mapping[str, int]) -> dict[str, int]:
    return {Status(status).value: count for status, count in counts.items()}
