"""How a search stands: counts, rungs, the best. A fold over outcomes."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from raysearch.core.reasons import event_of
from raysearch.core.segment import Config, Mode, Outcome, Segment, Status, score, segment_name

ADOPTED = "adopted"  # role of the segment that stands for a model trained before the search
FINALS = ("finalist", "baseline")  # roles of the finish: not part of the search's own standings
LEVELS = 16  # the highest rungs, of which more is told and whose best is kept
TOP = 16  # how many of the best of each rung are written even where growing them again is cheaper
STOPS_KEPT = 256  # of more, the lowest lose their best


@dataclass(frozen=True, slots=True)
class Best:
    """The best outcome so far among those that went furthest."""

    trial: int
    segment: int
    value: float
    iteration: int
    config: Config


class Standings:
    """Counts outcomes and remembers the best of each rung.

    Attributes:
        counts: outcomes by status; reached: the search's own by iteration and status.
        bars: score of the TOP-th best by iteration, once there are so many.
        busy_s: seconds of training, lost ones included.
        ended: outcomes of the search itself; iterations: what all trained, a finish too.
    """

    def __init__(self, metric: str, mode: Mode) -> None:
        self.counts: Counter[Status] = Counter()
        self.reached: dict[int, Counter[Status]] = {}
        self.bars: dict[int, float] = {}
        self.trials = 0
        self.finals = 0
        self.busy_s = 0.0
        self.recent: deque[Segment] = deque(maxlen=8)
        self.first_error = ""
        self.ended: Counter[Status] = Counter()
        self.iterations = 0
        self._latest: Outcome | None = None
        self._metric = metric
        self._mode = mode
        self._best: dict[int, Best] = {}
        self._top: dict[int, list[float]] = {}

    @property
    def best(self) -> Best | None:
        """The best of the outcomes that reached the furthest iteration; None before the first."""
        return self._best[max(self._best)] if self._best else None

    @property
    def leaders(self) -> set[int]:
        """The best segment of each of the highest rungs; a long line has hundreds of them."""
        return {self._best[stop].segment for stop in sorted(self._best)[-LEVELS:]}

    @property
    def only_failures(self) -> bool:
        """True while nothing but failures has come in."""
        return not self.counts[Status.COMPLETED] and not self.counts[Status.DIVERGED]

    def fold(self, outcome: Outcome) -> None:
        """Takes an outcome in."""
        segment = outcome.segment
        self.counts[outcome.status] += 1
        self.busy_s += outcome.seconds
        if outcome.status is Status.LOST:
            return
        if outcome.status is Status.FAILED:
            self.first_error = self.first_error or outcome.error
        reached, is_final = outcome.reached, segment.role in FINALS
        if segment.parent is not None or is_final or event_of(segment.reason):
            self.recent.append(segment)
        if segment.role != ADOPTED:
            self.iterations += reached - segment.start
        values = outcome.curve.get(self._metric, ())
        is_sound = outcome.status is Status.COMPLETED and len(values) > 0 and math.isfinite(values[-1])
        if is_sound:
            self._latest = outcome
        if is_final:
            self.finals += 1
            return
        self.trials += segment.start == 0
        ended_there = self.reached.get(segment.stop)
        if ended_there is None:
            ended_there = self.reached[segment.stop] = Counter()
        ended_there[outcome.status] += 1
        self.ended[outcome.status] += 1
        if is_sound:
            self._compare(segment, values[-1], reached)

    def snapshot(self) -> dict[str, Any]:
        """The standings as plain values."""
        best = self.best
        return {
            "trials": self.trials,
            "finals": self.finals,
            "segments": {status.value: n for status, n in self.counts.items()},
            "stops": len(self.reached),
            "rungs": [
                {
                    "iteration": stop,
                    **{s.value: n for s, n in self.reached[stop].items()},
                    "best": self._best[stop].value if stop in self._best else None,
                }
                for stop in told_rungs(self.reached)
            ],
            "ended": {status.value: n for status, n in self.ended.items()},
            "iterations": self.iterations,
            "latest": self._latest_values(),
            "best": dataclasses.asdict(best) if best else None,
            "busy_s": self.busy_s,
            "recent": [f"{segment_name(segment.id)}: {segment.reason}" for segment in self.recent],
        }

    def _latest_values(self) -> dict[str, Any] | None:
        latest = self._latest
        if latest is None:
            return None
        return {
            "trial": latest.segment.trial,
            "iteration": latest.reached,
            "value": latest.curve[self._metric][-1],
            "config": latest.segment.config,
        }

    def _compare(self, segment: Segment, value: float, reached: int) -> None:
        standing = score(value, self._mode)
        top = self._top.get(segment.stop)
        if top is None:
            top = self._top[segment.stop] = []
        if len(top) < TOP or standing < top[-1]:
            bisect.insort(top, standing)
            del top[TOP:]
            if len(top) == TOP:
                self.bars[segment.stop] = top[-1]
        best = self._best.get(segment.stop)
        if best is None or standing < score(best.value, self._mode):
            self._best[segment.stop] = Best(segment.trial, segment.id, value, reached, segment.config)
            if len(self._best) > STOPS_KEPT:
                self._drop_lowest()

    def _drop_lowest(self) -> None:
        lowest = min(self._best)
        for kept in (self._best, self._top, self.bars, self.reached):
            kept.pop(lowest, None)


def told_rungs(reached: Iterable[int]) -> list[int]:
    """The stops that a snapshot tells of, from the lowest up: all of them unless there are many."""
    stops = sorted(reached)
    return stops[-LEVELS:]
