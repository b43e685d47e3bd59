"""Where a search begins when something is known already: other tasks' best, a box around them, a belief.

Two trials of three begin from what is known, as long as it proves no worse than the rest: first the
portfolio, then points in the box or of the prior. One in three is always free of it. At the first rung
transferred and free trials are compared (Mann-Whitney, one-sided) whenever there are TEST more of each: if
the transferred look no better, their share halves; if they look worse, it is zero and the hurdle falls.

The box: Perrone et al. 2019 (arXiv:1909.12552). The hurdle: Zappella et al. 2021 (RUSH, arXiv:2103.16111):
only what is no worse than the best of the portfolio at its rung is promoted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from raysearch.core.pareto import ranking
from raysearch.core.segment import Config
from raysearch.space.objectives import Standing, violation
from raysearch.space.space import Space
from raysearch.strategies.samplers.base import Expects, Sampler, behind
from raysearch.strategies.samplers.portfolio import neighbours
from raysearch.strategies.samplers.prior_confidence import confidence_of, prior_names
from raysearch.strategies.samplers.priors import prior_space
from raysearch.strategies.samplers.rank_test import worse_probability
from raysearch.strategies.samplers.transfer_settings import HURDLE_TASKS, Transfer
from raysearch.strategies.seeding import fresh_seed

FREE_ONE_IN = 3
TEST = 8  # results of either kind, after which they are compared
NOT_BETTER, WORSE = 0.5, 0.9
SALT = 0x9A57


class TransferSampler:
    """A sampler that begins from a Transfer, and goes on with another sampler; see the module."""

    def __init__(self, transfer: Transfer, inner: Sampler, space: Space, seed: int, first: int) -> None:
        """`first` is the number of the first trial that is proposed."""
        self._transfer, self._inner, self._space, self._seed = transfer, inner, space, seed
        self._first = first
        model = behind(inner)  # of one that moves proposals to recorded ones
        self._model = model if isinstance(model, Expects) else None
        if transfer.expected and self._model is not None:
            table = np.array(transfer.expected, float)
            known, z, kinds = table[:, 1:], table[:, 0], space.is_categorical
            self._model.expect = lambda x: neighbours(known, z, x, kinds)
        self._prior = prior_space(space, transfer.priors) if prior_names(transfer.priors) else None
        self._places = {_key(space, one["config"]): one for one in transfer.portfolio}
        self._kinds: dict[int, str] = {}
        self._level = 0
        self._scores: dict[bool, list[float]] = {True: [], False: []}
        self._bars: dict[int, float] = {}
        self._tested = 0
        self.share = 1.0  # of what may be transferred
        self.is_dropped = False

    def propose(self, trial: int) -> Config | None:
        """The configuration of a new trial."""
        config, kind = self._transferred(trial)
        if config is None:
            config, kind = self._inner.propose(trial), "free"
        self._kinds[trial] = kind
        return config

    def origin(self, trial: int) -> str:
        """Where the trial's configuration is from, for its reason; empty for one that is free of the past."""
        kind = self._kinds.get(trial, "free")
        return "" if kind == "free" else kind

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Learns a score; a trial of another life is known by its number and configuration."""
        self._inner.observe(trial, config, iteration, score)
        if trial < self._first:
            return
        key = _key(self._space, config)
        if key in self._places:
            self._bars[iteration] = min(score, self._bars.get(iteration, math.inf))
        kind = self._kinds.get(trial) or ("portfolio" if key in self._places else self._planned(trial))
        self._level = min(self._level or iteration, iteration)
        if iteration == self._level:
            self._scores[kind != "free"].append(score)
            self._test()

    def hurdle(self, iteration: int) -> float:
        """The score that a trial must not exceed to be promoted from this rung; +inf for no hurdle."""
        if not self._transfer.hurdle or self._transfer.tasks < HURDLE_TASKS or self.is_dropped:
            return math.inf
        return self._bars.get(iteration, math.inf)

    # ---- inside

    def _planned(self, trial: int) -> str:
        """Which kind the trial is, but for the safeguards."""
        turn = trial - self._first
        if turn % FREE_ONE_IN == FREE_ONE_IN - 1:
            return "free"
        place = turn - turn // FREE_ONE_IN
        if place < len(self._transfer.portfolio):
            return "portfolio"
        return "box" if self._transfer.box or self._prior is not None else "free"

    def _transferred(self, trial: int) -> tuple[Config | None, str]:
        kind = self._planned(trial)
        draw = np.random.default_rng((self._seed, SALT, max(trial, 0)))
        if kind == "free" or draw.random() >= self.share:
            return None, "free"
        turn = trial - self._first
        if kind == "portfolio":
            one = self._transfer.portfolio[turn - turn // FREE_ONE_IN]
            config = dict(one["config"])
            return (
                (config, str(one.get("why") or "portfolio")) if self._space.allows(config) else (None, "free")
            )
        if self._prior is not None and draw.random() < max(
            confidence_of(self._transfer.priors), float(not self._transfer.box)
        ):
            return self._believed(trial), "the prior"
        return self._boxed(trial), "the box of past tasks"

    def _believed(self, trial: int) -> Config | None:
        """A sample of the prior that lies in the space; none if 8 in a row do not."""
        assert self._prior is not None
        tries = (self._prior.sample(fresh_seed(self._seed, SALT, trial), i) for i in range(8))
        return next((config for config in tries if self._space.allows(config)), None)

    def _boxed(self, trial: int) -> Config | None:
        unit = self._space.sobol_units(fresh_seed(self._seed, SALT), trial, 1)[0]
        for axis, name in enumerate(self._space.free):
            if name in self._transfer.box:
                unit[axis] = self._inside(name, self._transfer.box[name], float(unit[axis]))
        config = self._space.decode(unit)
        return config if self._space.satisfies(config) else None

    def _inside(self, name: str, box: Sequence[Any], u: float) -> float:
        domain = self._space.domains[name]
        if domain.is_categorical:
            known = [value for value in box if domain.contains(value)]
            return domain.to_unit(known[int(u * len(known))]) if known else u
        low, high = (float(end) for end in box)
        return low + u * (high - low)

    def _test(self) -> None:
        """Compares transferred and free trials at the first rung, when enough of both came in."""
        n = min(len(s) for s in self._scores.values())
        if n < self._tested + TEST or self.is_dropped:
            return
        self._tested = n
        p = worse_probability(*_comparable(self._scores[True], self._scores[False]))
        if p > WORSE:
            self.share, self.is_dropped = 0.0, True
            if self._model is not None:
                self._model.expect = None
        elif p > NOT_BETTER:
            self.share /= 2


def _comparable(a: Sequence[float], b: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """The scores as they are; of several objectives or limits their ranks by all of them."""
    both = [*a, *b]
    count = max((len(one.values) for one in both if isinstance(one, Standing)), default=0)
    if not count:
        return a, b
    points = [one.values if isinstance(one, Standing) else (0.0,) * count for one in both]
    order = ranking(np.array([violation(one) for one in both]), np.array(points))
    ranks = np.empty(len(both))
    ranks[order] = np.arange(len(both))
    return ranks[: len(a)].tolist(), ranks[len(a) :].tolist()


def _key(space: Space, config: Config) -> bytes:
    return np.round(space.encode(config), 9).tobytes()
