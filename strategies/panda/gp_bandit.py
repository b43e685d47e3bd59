"""What to try next, from what nudges gained so far: a Gaussian-process bandit whose past fades.

Population-based bandits (PB2, Parker-Holder et al. 2020, arXiv:2002.02518) with a term for white noise,
the standard deviation in the confidence bound (equation 5), values on their own scales, and values
without an order.
"""

from __future__ import annotations

import numpy as np

from raysearch.core.segment import Config
from raysearch.space.space import Space
from raysearch.strategies.samplers.gaussian_process import GaussianProcess
from raysearch.strategies.seeding import fresh_seed

LEAST = 4  # gains observed before anything is suggested
LATEST = 60  # gains that are remembered
CANDIDATES = 128
OPTIMISM = 1.0  # standard deviations in the confidence bound
STEPS = 15  # of fitting


class Suggestions:
    """Gains observed, and where they say to look."""

    def __init__(self, space: Space, names: tuple[str, ...], seed: int) -> None:
        self._space = space
        self._axes = [space.free.index(name) for name in names]
        self._seed = seed
        self._seen: list[tuple[Config, float, float]] = []
        self._count = 0

    def observe(self, config: Config, share: float, gain: float) -> None:
        """A stretch with `config`, ended at this share of the training, gained so much; higher is better."""
        if np.isfinite(gain):
            self._seen = [*self._seen, (config, share, gain)][-LATEST:]

    def suggest(self, config: Config, share: float) -> Config | None:
        """`config` with its nudged values where most is to be gained; None before enough is known."""
        if len(self._seen) < LEAST:
            return None
        self._count += 1
        gains = np.array([g for _, _, g in self._seen])
        deviation = float(np.std(gains))
        if deviation <= 0:
            return None
        process = GaussianProcess(self._space.is_categorical)
        process.fit(
            self._space.encode_many([c for c, _, _ in self._seen]),
            np.array([s for _, s, _ in self._seen]),
            np.arange(len(self._seen)),
            (np.mean(gains) - gains) / deviation,
            STEPS,
        )
        candidates = self._candidates(config)
        if not candidates:
            return None
        believed = process.posterior(self._space.encode_many(candidates), share)
        return candidates[int(np.argmin(believed.mean - OPTIMISM * believed.sd))]

    def _candidates(self, config: Config) -> list[Config]:
        points = np.tile(self._space.encode(config), (CANDIDATES, 1))
        drawn = self._space.random_units(fresh_seed(self._seed, 11), self._count * CANDIDATES, CANDIDATES)
        points[:, self._axes] = drawn[:, self._axes]
        return [c for c in self._space.decode_many(points) if self._space.allows(c)]
