"""Trainings that can be simulated for any change of their learning rate: for judging a choice of strategy.

The noisy quadratic (Wu et al. 2018, arXiv:1803.02021): of each dimension with curvature h, E[theta^2]
contracts by (1 - lr h)^2 a step towards lr^2 h^2 s^2 / (1 - (1 - lr h)^2). The loss is half the mean of h
E[theta^2], plus what the other hyper-parameters cost (they bend where the loss ends), times noise of the
evaluation.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from raysearch.core.segment import Config, Outcome, Segment, Status
from raysearch.space.space import Space

Floats = npt.NDArray[np.float64]
DIMENSIONS = 24


@dataclass
class Landscape:
    """One simulated task.

    Attributes:
        condition: largest over smallest curvature.
        noise: of the gradients.
        others: hyper-parameters besides the learning rate, each with a best value in [0, 1].
        penalty: how much a wrong one costs, relative to the loss.
        blur: standard deviation of an evaluation's logarithm.
        steps: of training in an iteration.
        scheduled: the trainable lets its learning rate fall to zero itself, along a cosine.
    """

    seed: int
    condition: float = 100.0
    noise: float = 0.3
    others: int = 2
    penalty: float = 2.0
    blur: float = 0.02
    steps: int = 40
    horizon: int = 81
    scheduled: bool = False
    states: dict[int, Floats] = field(default_factory=dict, repr=False)

    @cached_property
    def space(self) -> Space:
        """The learning rate and the others."""
        rate: dict[str, Any] = {"lr": {"loguniform": [1e-4, 1.0]}}
        return Space.from_dict(rate | {f"x{i}": {"uniform": [0.0, 1.0]} for i in range(self.others)})

    @cached_property
    def best(self) -> Floats:
        """The best value of each of the others."""
        return np.random.default_rng((11, self.seed)).random(self.others)

    @cached_property
    def curvature(self) -> Floats:
        """Of each dimension; the largest is 2."""
        return 2.0 * np.geomspace(1.0 / self.condition, 1.0, DIMENSIONS)

    def fresh(self) -> Landscape:
        """The same task without its trainings."""
        names = ("seed", "condition", "noise", "others", "penalty", "blur", "steps", "horizon", "scheduled")
        return Landscape(**{name: getattr(self, name) for name in names})

    def train(self, segment: Segment) -> Outcome:
        """What a worker sends back; the state stays here."""
        e = np.ones(DIMENSIONS) if segment.parent is None else self.states[segment.parent].copy()
        lr, cost = float(segment.config["lr"]), self.cost(segment.config)
        curve = []
        for iteration in range(segment.start, segment.stop):
            share = 0.5 * (1 + math.cos(math.pi * iteration / self.horizon)) if self.scheduled else 1.0
            contraction = (1.0 - share * lr * self.curvature) ** 2
            floor = (share * lr * self.curvature * self.noise) ** 2
            with np.errstate(over="ignore", invalid="ignore"):
                power = contraction**self.steps
                summed = np.where(
                    np.abs(1 - contraction) > 1e-12, (1 - power) / (1 - contraction), self.steps
                )
                e = power * e + floor * summed
            draw = np.random.default_rng((self.seed, segment.seed, iteration)).normal()
            curve.append(float(0.5 * (self.curvature * e).mean() * cost * math.exp(self.blur * draw)))
        self.states[segment.id] = e
        sound = bool(np.isfinite(curve).all()) and curve[-1] < 1e6
        status = Status.COMPLETED if sound else Status.DIVERGED
        return Outcome(segment, status, {"loss": curve}, f"c{segment.id}")

    def cost(self, config: Config) -> float:
        """What the other hyper-parameters multiply the loss by."""
        away = sum((float(config[f"x{i}"]) - b) ** 2 for i, b in enumerate(self.best))
        return float(1.0 + self.penalty * away)

    def true_loss(self, segment: int, config: Config) -> float:
        """Without the noise of the evaluation."""
        return float(0.5 * (self.curvature * self.states[segment]).mean() * self.cost(config))


def run(strategy: Any, task: Landscape, workers: int, until: float) -> float:
    """The true loss of the model that a strategy hands over at a deadline, in iterations of one worker.

    It is the one that looks best of those trained the longest; inf if none ended well.
    """
    events: list[tuple[float, int, Segment]] = []
    count, now, idle = 0, 0.0, workers
    shown: dict[int, tuple[float, int, Mapping[str, Any]]] = {}
    while True:
        for segment in strategy.ask(idle) if idle else []:
            count, idle = count + 1, idle - 1
            heapq.heappush(events, (now + segment.stop - segment.start, count, segment))
        if not events or events[0][0] > until + 1e-9:
            break
        now, _, segment = heapq.heappop(events)
        idle += 1
        outcome = task.train(segment)
        if outcome.status is Status.COMPLETED:
            old = shown.get(segment.stop)
            if old is None or outcome.curve["loss"][-1] < old[0]:
                shown[segment.stop] = (outcome.curve["loss"][-1], segment.id, segment.config)
        strategy.tell(outcome)
    if not shown:
        return math.inf
    _, segment_id, config = shown[max(shown)]
    return task.true_loss(segment_id, config)
