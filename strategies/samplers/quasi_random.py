"""The two samplers that learn nothing: a Sobol sequence, and independent samples."""

from __future__ import annotations

from collections.abc import Callable

from raysearch.core.segment import Config
from raysearch.space.space import Space
from raysearch.strategies.samplers.base import Floats

BLOCK = 1024


class Sequence:
    """Row i of a sequence of points, decoded: Sobol or independent uniform ones.

    Points come in blocks, so that a configuration costs microseconds. Where the space's constraints
    forbid a point, an independent sample that keeps them takes its place.
    """

    def __init__(self, space: Space, seed: int, units: Callable[[int, int, int], Floats]) -> None:
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
        return config if self._space.satisfies(config) else self._space.sample(self._seed, trial)

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Learns nothing."""


def sobol(space: Space, seed: int) -> Sequence:
    """A scrambled Sobol sequence: spreads evenly from the first few points on."""
    return Sequence(space, seed, space.sobol_units)


def uniform(space: Space, seed: int) -> Sequence:
    """Independent samples."""
    return Sequence(space, seed, space.random_units)
