"""What caviar is compared with on tables: strategies driven by the same simulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysearch.core.segment import Config, Mode, Outcome, Segment, Status, score, segment_id


class FullTrainings:
    """Each configuration in turn to the end: random search over the rows given in random order."""

    def __init__(self, configs: Sequence[Config], iterations: int) -> None:
        self._configs = configs
        self._iterations = iterations
        self._next = 0
        self._out = 0

    def ask(self, free: int) -> list[Segment]:
        """The next `free` configurations."""
        numbers = range(self._next, min(self._next + free, len(self._configs)))
        self._next, self._out = numbers.stop, self._out + len(numbers)
        return [_segment(i, 0, self._configs[i], 0, self._iterations) for i in numbers]

    def tell(self, outcome: Outcome) -> None:
        """Nothing is learnt."""
        self._out -= 1

    @property
    def finished(self) -> bool:
        """True when all were trained."""
        return self._out == 0 and self._next == len(self._configs)

    def kept(self) -> Set[int]:
        """Nothing."""
        return set()


class OneEpoch:
    """All configurations for one epoch, then the best on to the end, best first (Egele et al. 2023)."""

    def __init__(self, configs: Sequence[Config], iterations: int, metric: str, mode: Mode) -> None:
        self._configs = configs
        self._iterations = iterations
        self._metric = metric
        self._mode = mode
        self._new = deque(range(len(configs)))
        self._scores: dict[int, float] = {}
        self._ranked: deque[int] | None = None
        self._out = 0

    def ask(self, free: int) -> list[Segment]:
        """First epochs while there are any; then, once all are in, the best."""
        if not self._new and self._ranked is None and len(self._scores) == len(self._configs):
            self._ranked = deque(sorted(self._scores, key=self._scores.__getitem__))
        segments: list[Segment] = []
        while len(segments) < free and self._new:
            i = self._new.popleft()
            segments.append(_segment(i, 0, self._configs[i], 0, 1))
        while len(segments) < free and self._ranked:
            i = self._ranked.popleft()
            segments.append(_segment(i, 1, self._configs[i], 1, self._iterations))
        self._out += len(segments)
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Notes the value after the first epoch."""
        self._out -= 1
        values = outcome.curve.get(self._metric) or [float("nan")]
        if outcome.segment.start == 0:
            self._scores[outcome.segment.trial] = score(values[0], self._mode)

    @property
    def finished(self) -> bool:
        """True when all were trained to the end."""
        return self._out == 0 and self._ranked is not None and not self._ranked

    def kept(self) -> Set[int]:
        """Everything."""
        return {segment_id(i, 0) for i in self._scores}


@dataclass
class FakeTrial:
    """As much of a `ray.tune` trial as its scheduler looks at."""

    trial_id: str


class RayAsha:
    """Ray Tune's own AsyncHyperBandScheduler, asked after every epoch as Ray Tune asks it."""

    def __init__(
        self, configs: Sequence[Config], iterations: int, metric: str, mode: Mode, eta: int, first: int
    ) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler

        self._configs = configs
        self._iterations = iterations
        self._metric = metric
        self._scheduler: Any = AsyncHyperBandScheduler(
            metric=metric, mode=mode, max_t=iterations, grace_period=first, reduction_factor=eta
        )
        self._trials: dict[int, FakeTrial] = {}
        self._going: deque[Segment] = deque()
        self._next = 0
        self._out = 0

    def ask(self, free: int) -> list[Segment]:
        """Trials that go on, each an epoch, then new ones."""
        segments: list[Segment] = []
        while len(segments) < free and self._going:
            segments.append(self._going.popleft())
        while len(segments) < free and self._next < len(self._configs):
            i, self._next = self._next, self._next + 1
            self._trials[i] = FakeTrial(str(i))
            self._scheduler.on_trial_add(None, self._trials[i])
            segments.append(_segment(i, 0, self._configs[i], 0, 1))
        self._out += len(segments)
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Passes the epoch's result to the scheduler and does what it says."""
        self._out -= 1
        segment = outcome.segment
        trial = self._trials[segment.trial]
        values = outcome.curve.get(self._metric)
        if outcome.status is not Status.COMPLETED or not values:
            self._scheduler.on_trial_error(None, trial)
            return
        result = {self._metric: values[-1], "training_iteration": segment.stop}
        if segment.stop >= self._iterations:
            self._scheduler.on_trial_complete(None, trial, result)
        elif self._scheduler.on_trial_result(None, trial, result) == "CONTINUE":
            ordinal = segment.stop
            self._going.append(
                _segment(segment.trial, ordinal, segment.config, segment.stop, segment.stop + 1)
            )

    @property
    def finished(self) -> bool:
        """True when every trial ended."""
        return self._out == 0 and not self._going and self._next == len(self._configs)

    def kept(self) -> Set[int]:
        """What goes on."""
        return {s.parent for s in self._going if s.parent is not None}


def shuffled(configs: Sequence[Config], seed: int) -> list[Config]:
    """The rows in random order."""
    return [configs[i] for i in np.random.default_rng(seed).permutation(len(configs))]


def _segment(trial: int, ordinal: int, config: Config, start: int, stop: int) -> Segment:
    parent = segment_id(trial, ordinal - 1) if start else None
    reason = f"from iteration {start} to {stop}"
    return Segment(segment_id(trial, ordinal), trial, parent, config, start, stop, 0, reason)
