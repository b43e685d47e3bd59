"""What caviar is compared with on tables: strategies driven by the same simulator."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from raysearch.core.segment import Config, Mode, Outcome, Segment, Status, score, segment_id, value_at


class Points(Protocol):
    """Where a rival's configurations come from; None when there are no more."""

    def propose(self, trial: int) -> Config | None:
        """The configuration of a new trial."""
        ...


class FullTrainings:
    """Each configuration in turn to the end: random search where the points are random."""

    def __init__(self, points: Points, iterations: int) -> None:
        self._points = points
        self._iterations = iterations
        self._next = 0
        self._out = 0
        self._is_over = False

    def ask(self, free: int) -> list[Segment]:
        """The next `free` configurations."""
        segments: list[Segment] = []
        while len(segments) < free and not self._is_over:
            if (config := self._points.propose(self._next)) is None:
                self._is_over = True
                break
            segments.append(segment(self._next, config, 0, self._iterations))
            self._next += 1
        self._out += len(segments)
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Nothing is learnt."""
        self._out -= 1

    @property
    def finished(self) -> bool:
        """True when all were trained."""
        return self._out == 0 and self._is_over

    def kept(self) -> Set[int]:
        """Nothing."""
        return set()


class FewEpochs:
    """All candidates for i epochs, then the best on to the end, best first (Egele et al. 2024).

    Those that diverged or failed in the first epochs do not go on.
    """

    def __init__(
        self, candidates: Sequence[Config], epochs: int, iterations: int, metric: str, mode: Mode
    ) -> None:
        self._configs = candidates
        self._epochs = epochs
        self._iterations = iterations
        self._metric = metric
        self._mode = mode
        self._new = deque(range(len(candidates)))
        self._scores: dict[int, float] = {}
        self._ranked: deque[int] | None = None
        self._out = 0

    def ask(self, free: int) -> list[Segment]:
        """First epochs while there are any; then, once all are in, the best."""
        if not self._new and self._ranked is None and len(self._scores) == len(self._configs):
            ended_well = [i for i, value in self._scores.items() if value < math.inf]
            self._ranked = deque(sorted(ended_well, key=self._scores.__getitem__))
        segments: list[Segment] = []
        while len(segments) < free and self._new:
            i = self._new.popleft()
            segments.append(segment(i, self._configs[i], 0, self._epochs))
        while len(segments) < free and self._ranked:
            i = self._ranked.popleft()
            segments.append(segment(i, self._configs[i], self._epochs, self._iterations, ordinal=1))
        self._out += len(segments)
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Notes the value after the first epochs."""
        self._out -= 1
        if outcome.segment.start == 0:
            values = outcome.curve.get(self._metric, ())
            is_good = outcome.status is Status.COMPLETED and len(values) >= self._epochs
            self._scores[outcome.segment.trial] = score(value_at(values), self._mode) if is_good else math.inf

    @property
    def finished(self) -> bool:
        """True when all were trained to the end."""
        return self._out == 0 and self._ranked is not None and not self._ranked

    def kept(self) -> Set[int]:
        """Everything."""
        return {segment_id(i, 0) for i in self._scores}


class Scheduler(Protocol):
    """Who decides after each epoch whether a trial goes on."""

    def begin(self, trial: int) -> None:
        """A trial begins."""
        ...

    def goes_on(self, trial: int, iteration: int, value: float) -> bool:
        """Whether the trial is trained on, after its value at an iteration."""
        ...

    def end(self, trial: int, iteration: int, value: float) -> None:
        """The trial was trained to the end."""
        ...

    def fail(self, trial: int) -> None:
        """The trial diverged or failed."""
        ...


@dataclass
class FakeTrial:
    """As much of a `ray.tune` trial as its scheduler looks at."""

    trial_id: str


class EpochByEpoch:
    """Trials an epoch at a time, after each of which a rival's scheduler says whether they go on.

    Trials that go on come before new ones: with most schedulers a worker keeps its trial.
    """

    def __init__(self, points: Points, iterations: int, metric: str, scheduler: Scheduler) -> None:
        self._points = points
        self._iterations = iterations
        self._metric = metric
        self._scheduler = scheduler
        self._going: deque[Segment] = deque()
        self._next = 0
        self._out = 0
        self._is_over = False

    def ask(self, free: int) -> list[Segment]:
        """Trials that go on, each an epoch, then new ones."""
        segments: list[Segment] = []
        while len(segments) < free and self._going:
            segments.append(self._going.popleft())
        while len(segments) < free and not self._is_over:
            if (config := self._points.propose(self._next)) is None:
                self._is_over = True
                break
            self._scheduler.begin(self._next)
            segments.append(segment(self._next, config, 0, 1))
            self._next += 1
        self._out += len(segments)
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Passes the epoch's result to the scheduler and does what it says."""
        self._out -= 1
        done = outcome.segment
        values = outcome.curve.get(self._metric)
        if outcome.status is not Status.COMPLETED or not values:
            self._scheduler.fail(done.trial)
        elif done.stop >= self._iterations:
            self._scheduler.end(done.trial, done.stop, values[-1])
        elif self._scheduler.goes_on(done.trial, done.stop, values[-1]):
            self._going.append(segment(done.trial, done.config, done.stop, done.stop + 1, done.stop))

    @property
    def finished(self) -> bool:
        """True when every trial ended."""
        return self._out == 0 and not self._going and self._is_over

    def kept(self) -> Set[int]:
        """What goes on."""
        return {s.parent for s in self._going if s.parent is not None}


class RayAsha:
    """Ray Tune's own AsyncHyperBandScheduler, asked after every epoch as Ray Tune asks it."""

    def __init__(self, iterations: int, metric: str, mode: Mode, eta: int, first: int) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler

        self._metric = metric
        self._scheduler: Any = AsyncHyperBandScheduler(
            metric=metric, mode=mode, max_t=iterations, grace_period=first, reduction_factor=eta
        )
        self._trials: dict[int, FakeTrial] = {}

    def begin(self, trial: int) -> None:
        """A trial begins."""
        self._trials[trial] = FakeTrial(str(trial))
        self._scheduler.on_trial_add(None, self._trials[trial])

    def goes_on(self, trial: int, iteration: int, value: float) -> bool:
        """Whether the trial is trained on."""
        result = {self._metric: value, "training_iteration": iteration}
        return bool(self._scheduler.on_trial_result(None, self._trials[trial], result) == "CONTINUE")

    def end(self, trial: int, iteration: int, value: float) -> None:
        """The trial was trained to the end."""
        result = {self._metric: value, "training_iteration": iteration}
        self._scheduler.on_trial_complete(None, self._trials[trial], result)

    def fail(self, trial: int) -> None:
        """The trial diverged or failed."""
        self._scheduler.on_trial_error(None, self._trials[trial])


def segment(trial: int, config: Config, start: int, stop: int, ordinal: int = 0) -> Segment:
    """A segment of a rival's trial, with a reason; its parent is the one before."""
    parent = segment_id(trial, ordinal - 1) if ordinal else None
    reason = f"from iteration {start} to {stop}"
    return Segment(segment_id(trial, ordinal), trial, parent, config, start, stop, 0, reason)
