"""What a search has to work with: time, workers, and how long a training takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

SEGMENTS = 1.5  # of a trial in the mean: a third goes on at each rung
DISPATCH_S = 0.002  # measured: `raysearch bench throughput`


@dataclass(frozen=True)
class Situation:
    """What was measured, and what there is.

    Attributes:
        horizon: iterations of a whole training, R.
        seconds: of an iteration, with every worker busy.
        workers: that train side by side.
        hours: until the model is needed; None: as long as it takes.
        gpu_hours: that may be spent; None: no limit.
        gpus: that a worker holds.
        start_s: until a fresh model trains.
        switch_s: to save and to restore a checkpoint.
        can_pause: whether a training can go on from its checkpoint.
        can_nudge: whether there is a real-valued hyper-parameter that may change in the middle of a training.
        has_schedule: whether the trainable lowers its learning rate itself; None if unknown.
        nudgeable: hyper-parameters that may change in the middle of a training.
        ranks: Spearman of early and late ranks, where it is known.
        moves: whether the best settings change while a model trains (reinforcement learning).
        dimension: hyper-parameters that are free.
        knows: whether settings that are known to be good are there to begin from.
    """

    horizon: int
    seconds: float
    workers: int
    hours: float | None = None
    gpu_hours: float | None = None
    gpus: float = 0.0
    start_s: float = 0.0
    switch_s: float = 0.0
    can_pause: bool = True
    can_nudge: bool = True
    has_schedule: bool | None = None
    nudgeable: int = 3
    ranks: float | None = None
    moves: bool = False
    dimension: int = 3
    knows: bool = False

    @property
    def is_structural(self) -> bool:
        """Whether most hyper-parameters have to be chosen before a training begins."""
        return 2 * self.nudgeable < self.dimension

    @property
    def full_hours(self) -> float:
        """Of one whole training on one worker."""
        return (self.horizon * self.seconds + self.start_s) / 3600

    @property
    def per_trial(self) -> float:
        """What a trial costs besides its iterations, in whole trainings: start, checkpoints, dispatch."""
        return (self.start_s + SEGMENTS * self.switch_s + DISPATCH_S) / (3600 * self.full_hours)

    @property
    def depth(self) -> float:
        """Whole trainings that fit behind one another before the deadline; inf without one."""
        return math.inf if self.hours is None else self.hours / self.full_hours

    @property
    def trainings(self) -> float:
        """Whole trainings that all workers together can do; inf without a limit."""
        limits = []
        if self.hours is not None:
            limits.append(self.workers * self.hours / self.full_hours)
        if self.gpu_hours is not None and self.gpus:
            limits.append(self.gpu_hours / self.gpus / self.full_hours)
        return min(limits, default=math.inf)
