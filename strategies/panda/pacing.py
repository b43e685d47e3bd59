"""How long probes and stretches are, what learning rate they train with, and what the budget affords."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from raysearch.core.segment import Config
from raysearch.space.space import Space
from raysearch.strategies.panda import perturb

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

COMMIT = 4  # probes that a stretch is long
YOUNG = 12  # a probe is at most this part of the line's age
DECAYED = 0.2  # of the learning rate is left at the end of the decay, before the straight fall to zero
RESERVE, RESERVE_MOST = 0.1, 0.4  # of max_iterations, but of what the budget allows beyond: not for probes


def decayed(share: float) -> float:
    """The share of the learning rate that is left after this share of the decay; it ends at zero.

    A straight fall times an exponential one (as MiniCPM's, Hu et al. 2024, section 4.2), which spends as long
    at each size of the rate: it matters less by how much the learnt rate is too high.

    >>> [round(decayed(share), 3) for share in (0.0, 0.5, 1.0)]
    [1.0, 0.224, 0.0]
    """
    return (1.0 - share) * math.pow(DECAYED, share)


class Pacing:
    """Lengths and learning rates over a training; all are functions of the recipe and the iteration.

    Attributes:
        decay_from: the iteration from which the learning rate falls to zero, or to its lower bound.
    """

    def __init__(self, recipe: Panda, space: Space, rate: str | None, decays: bool) -> None:
        self._recipe, self._space, self._rate = recipe, space, rate
        whole = recipe.max_iterations
        self.decay_from = whole
        if decays and rate is not None:
            self.decay_from = max(1, round(whole * (1.0 - recipe.decay)))

    def probe(self, at: int) -> int:
        """Iterations of a probe that begins at `at`: fewer while the line is young."""
        length = min(self._recipe.probe_iterations, max(1, at // YOUNG))
        return min(length, max(1, self.decay_from - at - 1))

    def stretch(self, at: int) -> int:
        """Iterations of a stretch: with the probe before it an interval, less while the line is young."""
        probe = self.probe(at)
        if probe < self._recipe.probe_iterations:
            return probe * COMMIT
        return max(1, self._recipe.interval_iterations - probe)

    def effective(self, learned: Config, start: int, stop: int, calm: float = 1.0) -> Config:
        """What is trained with from `start` to `stop`: what was learnt, times base schedule and decay.

        `calm` is another factor of the learning rate, below 1 while it is warmed up again.
        """
        if self._rate is None:
            return learned
        whole = self._recipe.max_iterations
        share = self._recipe.shape.over(start, stop, whole) * calm
        if start >= self.decay_from:
            share *= decayed(((start + stop) / 2 - self.decay_from) / (whole - self.decay_from))
        return perturb.scaled(self._space, learned, self._rate, share)

    def affords(self, spent: int, at: int, extra: int) -> bool:
        """Whether `extra` iterations leave the rest of the training, and a reserve for spikes."""
        recipe = self._recipe
        left = recipe.population * (recipe.max_iterations - at)
        beyond = recipe.iterations - recipe.max_iterations
        spare = min(RESERVE * recipe.max_iterations, RESERVE_MOST * beyond)
        return spent + left + extra + spare <= recipe.iterations
