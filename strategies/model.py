"""The sampler that learns: expected improvement of a Gaussian process over all rungs at once.

After a small Sobol design, a tenth of the trials stays Sobol, so that a misleading model costs no more
than that the rest was chosen badly. The others have the greatest expected improvement of the value at
the last iteration, on top of what is being tried already. Scores enter as normal scores of their ranks.

Costs are bounded: at most CAP observations enter, and the model is conditioned anew only when their
number has grown by a share, so that a proposal costs microseconds in a search of many trials.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from raysearch.space import Space
from raysearch.strategies.gaussian import GaussianProcess, Posterior, normal_scores
from raysearch.strategies.samplers import Sequence, sobol
from raysearch.tree import Config

Floats = npt.NDArray[np.float64]
CAP = 300


class ModelSampler:
    """See the module; `iterations` is where the improvement is expected, max_iterations."""

    share = 0.1
    growth = 0.02
    refit = 0.25
    steps = 10
    pool = 300
    local = 0.5
    batch = 64
    extra_init = 1

    def __init__(self, space: Space, seed: int, iterations: int) -> None:
        self._space = space
        self._seed = seed
        self._scale = math.log(max(iterations, 2))
        self._design: Sequence = sobol(space, seed)
        self._process = GaussianProcess(space.is_categorical)
        self._x: list[Floats] = []
        self._t: list[float] = []
        self._trial: list[int] = []
        self._y: list[float] = []
        self._seen = 0
        self._flying: dict[int, Floats] = {}
        self._posterior: Posterior | None = None
        self._best = 0.0
        self._used = 0
        self._conditioned_at = 0
        self._fitted_at = 0
        self._n_init = space.dimension + self.extra_init

    def propose(self, trial: int) -> Config:
        """The configuration of a new trial."""
        rng = np.random.default_rng((self._seed, trial))
        if self._seen < self._n_init or rng.random() < self.share or not self._space.dimension:
            return self._design.propose(trial)
        posterior = self._current(rng)
        best = int(np.argmax(posterior.log_expected_improvement(self._best)))
        posterior.try_point(best)
        self._used += 1
        unit = posterior.x[best]
        self._flying[trial] = unit
        config = self._space.decode(unit)
        return config if self._space.satisfies(config) else self._design.propose(trial)

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Learns the score of a trial at a rung."""
        self._flying.pop(trial, None)
        self._x.append(self._space.encode(config))
        self._t.append(math.log(iteration) / self._scale)
        self._trial.append(trial)
        self._y.append(score)
        self._seen += 1
        if len(self._y) >= 2 * CAP:
            self._forget()

    def _current(self, rng: np.random.Generator) -> Posterior:
        due = self._seen >= self._conditioned_at + max(1.0, self.growth * self._seen)
        if due:
            self._condition()
        if self._posterior is None or due or self._used >= self.batch:
            self._posterior = self._new_posterior(rng)
            self._used = 0
        return self._posterior

    def _condition(self) -> None:
        keep = self._chosen()
        y = np.array(self._y)[keep]
        finite = np.isfinite(y)
        y = np.where(finite, y, y[finite].max() + 1.0 if finite.any() else 0.0)
        self._values = normal_scores(y)
        self._points = np.array(self._x)[keep]
        refit = self._seen >= (1.0 + self.refit) * self._fitted_at
        if refit:
            self._fitted_at = self._seen
        t, trial = np.array(self._t)[keep], np.array(self._trial)[keep]
        self._process.fit(self._points, t, trial, self._values, self.steps if refit else 0)
        self._best = float(self._values.min())
        self._conditioned_at = self._seen

    def _new_posterior(self, rng: np.random.Generator) -> Posterior:
        pool = self._candidates(rng)
        flying = list(self._flying.values())[-32:]
        x = np.concatenate([pool, np.array(flying).reshape(-1, self._space.dimension)])
        posterior = self._process.posterior(x, 1.0)
        for index in range(len(pool), len(x)):
            posterior.try_point(index)
        return posterior

    def _candidates(self, rng: np.random.Generator) -> Floats:
        near = int(self.pool * self.local)
        wide = rng.random((self.pool - near, self._space.dimension))
        leaders = self._points[np.argsort(self._values)[:8]]
        x = leaders[rng.integers(len(leaders), size=near)]
        size = np.exp(rng.uniform(math.log(0.03), math.log(0.3), size=(near, 1)))
        moved = rng.random(x.shape) < 0.6
        x = np.clip(x + rng.normal(size=x.shape) * size * moved, 0.0, 1.0)
        categorical = self._space.is_categorical
        if categorical.any():
            jump = moved & categorical & (rng.random(x.shape) < 0.3)
            x = np.where(categorical, leaders[rng.integers(len(leaders), size=near)], x)
            x = np.where(jump, rng.random(x.shape), x)
        return np.concatenate([wide, x])

    def _chosen(self) -> npt.NDArray[np.int64]:
        """Which observations enter: those of the highest rungs, the best, and others at random."""
        n = len(self._y)
        if n <= CAP:
            return np.arange(n)
        rng = np.random.default_rng((self._seed, self._seen))
        y, t = np.array(self._y), np.array(self._t)
        order = np.lexsort((rng.random(n), -t))
        high, rest = order[: CAP // 2], order[CAP // 2 :]
        rest = rest[np.argsort(y[rest], kind="stable")]
        best, rest = rest[: CAP // 4], rest[CAP // 4 :]
        others = rng.choice(rest, CAP - len(high) - len(best), replace=False)
        return np.sort(np.concatenate([high, best, others]))

    def _forget(self) -> None:
        keep = self._chosen()
        self._x = [self._x[i] for i in keep]
        self._t = [self._t[i] for i in keep]
        self._trial = [self._trial[i] for i in keep]
        self._y = [self._y[i] for i in keep]
