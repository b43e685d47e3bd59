"""The two samplers that learn nothing: a Sobol sequence, and independent samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from raysearch.strategies.samplers.fallbacks import Fallbacks

if TYPE_CHECKING:
    from raysearch.core.segment import Config
    from raysearch.space.space import Space
    from raysearch.strategies.samplers.base import Floats

BLOCK = 1024


class Sequence:
    """Row i of a sequence of points, decoded: Sobol or independent uniform ones.

    Points come in blocks, so that a configuration costs microseconds. Where the space's constraints
    forbid a point, an independent sample that keeps them takes its place, which is counted (`fallbacks`).
    """

    def __init__(
        self, space: Space, seed: int, units: Callable[[int, int, int], Floats], name: str, point: str
    ) -> None:
        """`name` is the sampler's, `point` what one of its points is called."""
        self._point = point
        self.fallbacks = Fallbacks(name)
        self._space = space
        self._seed = seed
        self._units = units
        self._first = 0
        self._block: list[Config] = []

    def propose(self, trial: int) -> Config:
        """Configuration number `trial`: a function of (seed, trial)."""
        if not 0 <= trial - self._first < len(self._block):
            self._first = trial - trial % BLOCK
            self._block = list(self._space.decode_many(self._units(self._seed, self._first, BLOCK)))
        config = self._block[trial - self._first]
        if self._space.satisfies(config):
            return config
        if not self.fallbacks.of(trial):  # asked for the same trial again, it answers the same
            values = self._space.flatten(config)
            broken = next(c.text for c in self._space.constraints if not c.holds(values))
            self.fallbacks.add(trial, f"a random point: {self._point} does not meet {broken!r}")
        return self._space.sample(self._seed, trial)

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Learns nothing."""


def sobol(space: Space, seed: int) -> Sequence:
    """A scrambled Sobol sequence: spreads evenly from the first few points on."""
    return Sequence(space, seed, space.sobol_units, "sobol", "the Sobol point")


def uniform(space: Space, seed: int) -> Sequence:
    """Independent samples."""
    return Sequence(space, seed, space.random_units, "random", "the point drawn first")
