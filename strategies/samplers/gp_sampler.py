"""The sampler that learns: expected improvement of a Gaussian process over all rungs at once.

The sampler proposes Sobol points until it has seen FIRST scores, and at least three for each axis. After
that one trial in TENTH is a Sobol point, so that the search explores even if the model misleads; every other
trial is the candidate with the greatest expected improvement at the last iteration, given the trials in
progress. The model sees scores as normal scores of their ranks.

Candidates take values that the space holds, and no configuration is proposed twice while others are left; a
space of few configurations is listed in full. Once every configuration was proposed, the sampler repeats
those that it proposed least often, and counts that as a fallback (`fallbacks`).

Cost is bounded: the model takes at most CAP observations, and is conditioned again only when their number has
grown by a set fraction. From MANY scores on the better half of a pool is proposed, best first, without regard
to what is in progress, so that a proposal takes microseconds in a search of many trials.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from raysearch.core.segment import Config
from raysearch.space.lattice import all_points, is_allowed, keys, size_of, snap
from raysearch.space.space import Space
from raysearch.strategies.samplers.fallbacks import Fallbacks
from raysearch.strategies.samplers.gaussian_process import Believed, GaussianProcess, normal_scores
from raysearch.strategies.samplers.quasi_random import Sequence, sobol
from raysearch.strategies.seeding import fresh_seed

Floats = npt.NDArray[np.float64]
CAP = 300  # most observations that the model is conditioned on
MANY = 4 * CAP  # scores from which on proposals come by the half pool
FIRST = 20  # scores before the model proposes
INFORMED = 3  # the same where past tasks give the model an expectation
TRIES = 4  # pools of candidates to draw until one holds a new candidate that meets the constraints
TENTH = 10  # one trial in this many is a Sobol point
LISTED = 10_000  # list the space if it has at most this many configurations and new candidates run out
AGAIN = "a configuration proposed before: all that the space holds were"
NONE_NEW = f"a Sobol point: {TRIES} pools of candidates held none that is new and keeps the constraints"


class ModelSampler:
    """Proposes as the module says; `iterations` is where improvement is expected: max_iterations."""

    growth = 0.04  # growth of the number of scores after which the model is conditioned again
    pool = 600  # candidates of one pool; half as many from CAP to MANY scores
    batch = 64  # proposals from one pool; half of the pool from MANY scores on
    first = FIRST  # scores before the model proposes, and at least so many for each axis
    per_axis = 3

    def __init__(self, space: Space, seed: int, iterations: int) -> None:
        self._space = space
        self._seed = seed
        self._scale = math.log(max(iterations, 2))
        self._design: Sequence = sobol(space, seed)
        self._process = GaussianProcess(space.is_categorical)
        self._scores = Scores(seed)
        self._flying: dict[int, Floats] = {}
        self._posterior: Believed | None = None
        self._used = 0
        self._conditioned_at = 0
        self._fitted_at = 0
        self._times: dict[bytes, int] = {}  # how often each configuration was proposed, by its key
        self._leaders: Floats | None = None  # the points of the best scores
        self._pool_keys: list[bytes] = []
        self._pool_times = 0  # how often those in the pool were proposed when it was drawn
        self._ahead: list[
            tuple[bytes, Config]
        ] = []  # to be proposed, the most promising last, with their keys
        self.fallbacks = Fallbacks("model")
        self._trust = 1.0
        self.expect: Callable[[Floats], Floats] | None = (
            None  # what other tasks say of points, as normal scores
        )

    def propose(self, trial: int) -> Config:
        """The configuration of a new trial: one that was not proposed before, as long as there is one."""
        dimension = self._space.dimension
        if not dimension:
            return self._design.propose(trial)
        needed = max(self.first, self.per_axis * dimension)
        is_early = self._scores.seen < (needed if self.expect is None else INFORMED)
        if is_early or trial % TENTH == int(chance(self._seed, trial // TENTH) * TENTH):
            config = self._design.propose(trial)
            if self._times.get(key := self._key(config), 0) == 0:
                return self._proposed(trial, config, key)
        if self._scores.seen > MANY:
            return self._of_many(trial)
        if len(self._scores) == 0:  # any candidate, for a model without scores
            unit = next(iter(self._fresh_pool(np.random.default_rng((self._seed, trial)))), None)
        else:
            unit = self._most_promising(trial)
        if unit is None:
            return self._designed(trial)
        self._flying[trial] = unit
        config = self._space.decode(unit)
        return self._proposed(trial, config, self._key(config))

    def _of_many(self, trial: int) -> Config:
        """The next of the better half of a pool; of a new pool when all of them were proposed."""
        for attempt in range(TRIES):
            if not self._ahead:
                self._look_ahead(trial, attempt)
            while self._ahead:
                key, config = self._ahead.pop()
                if self._times.get(key, 0) <= self._pool_times:
                    return self._proposed(trial, config, key)
        return self._designed(trial)

    def _look_ahead(self, trial: int, attempt: int) -> None:
        """Fills `_ahead` from a new pool."""
        posterior = self._current(trial, attempt)
        promise = posterior.log_expected_improvement(self._best)
        better = np.argsort(promise, kind="stable")[len(promise) // 2 :]
        configs = self._space.decode_many(posterior.x[better])
        self._ahead = [(self._pool_keys[k], c) for k, c in zip(better.tolist(), configs, strict=True)]

    def _designed(self, trial: int) -> Config:
        """The Sobol point, where no pool holds a new candidate; counted as a fallback."""
        self.fallbacks.add(trial, NONE_NEW)
        config = self._design.propose(trial)
        return self._proposed(trial, config, self._key(config))

    def _proposed(self, trial: int, config: Config, key: bytes) -> Config:
        """Counts the configuration as proposed once more, and returns it."""
        times = self._times.get(key, 0)
        self._times[key] = times + 1
        if times and not self.fallbacks.of(trial):
            self.fallbacks.add(trial, AGAIN)
        return config

    def _key(self, config: Config) -> bytes:
        return keys(self._space.encode(config)[None])[0]

    def _most_promising(self, trial: int) -> Floats | None:
        """The candidate with the greatest expected improvement; later proposals count it as in progress.

        None if none of TRIES pools holds a candidate that was proposed no more often than the rest.
        """
        for attempt in range(TRIES):
            posterior = self._current(trial, attempt)
            promise = posterior.log_expected_improvement(self._best)
            promise = np.where(posterior.is_tried, -np.inf, promise)
            for best in np.argsort(-promise, kind="stable").tolist():
                if promise[best] == -np.inf:
                    break
                if self._times.get(self._pool_keys[best], 0) <= self._pool_times:
                    posterior.try_point(best)
                    self._used += 1
                    unit: Floats = posterior.x[best]
                    return unit
        return None

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Learns the score of a trial at a rung."""
        self._flying.pop(trial, None)
        if self._scores.wants(trial, iteration, score):
            unit = self._space.encode(config)
            self._times.setdefault(keys(unit[None])[0], 1)
            self._scores.add(trial, unit, math.log(iteration) / self._scale, score)

    def _current(self, trial: int, attempt: int) -> Believed:
        """The posterior over a pool of candidates; over another pool than before where `attempt` > 0."""
        seen = self._scores.seen
        is_many = seen > MANY
        growth = self.growth * (1.0 if seen <= CAP else 6.0 if is_many else 2.5)
        is_due = seen >= self._conditioned_at + max(1.0, growth * self._conditioned_at)
        if self._posterior is None or is_due or is_many or self._used >= self.batch or attempt:
            with one_thread():
                if is_due:
                    self._condition(seen)
                flying = [] if is_many else list(self._flying.values())[-32:]
                rng = np.random.default_rng((self._seed, trial, attempt))
                self._posterior = self._new_posterior(rng, flying)
            self._used = 0
        return self._posterior

    def _condition(self, seen: int) -> None:
        self._points, t, trial, y = self._scores.arrays()
        finite = np.isfinite(y)
        self._values = normal_scores(np.where(finite, y, y[finite].max() + 1.0 if finite.any() else 0.0))
        self._leaders = self._points[np.argsort(self._values)[:8]]
        if self.expect is not None:
            self._values = self._values - self._expected(self._points, trial, t)
        self._process.fit(self._points, t, trial, self._values, self._steps(seen))
        self._best = float((self._values + self._trust_in(self._points)).min())
        self._conditioned_at = seen

    def _steps(self, seen: int) -> int:
        """How many steps the hyper-parameters of a model are improved by, where it is conditioned."""
        if seen < self._fitted_at * (1.25 if seen <= CAP else 4.0 if seen > MANY else 2.0):
            return 0
        self._fitted_at = seen
        return 10

    def _expected(self, points: Floats, trial: npt.NDArray[np.int64], t: Floats) -> Floats:
        """What other tasks would say of the scores, times how far they proved right so far, from 0 to 1."""
        assert self.expect is not None
        expected = self.expect(points)
        level = np.median(t)
        same = t <= level
        a, b = expected[same] - expected[same].mean(), self._values[same] - self._values[same].mean()
        prior = 5.0 * float(np.var(expected) + 1e-9)  # as much as five scores that agree
        self._trust = float(np.clip(((a * b).sum() + prior) / ((a * a).sum() + prior), 0.0, 1.0))
        return self._trust * expected

    def _trust_in(self, x: Floats) -> Floats | float:
        return 0.0 if self.expect is None else self._trust * self.expect(x)

    def _new_posterior(self, rng: np.random.Generator, flying: list[Floats]) -> Believed:
        pool = self._fresh_pool(rng)
        x = np.concatenate([pool, np.array(flying).reshape(-1, self._space.dimension)])
        posterior = self._posterior_of(x, rng)
        for index in range(len(pool), len(x)):
            posterior.try_point(index)
        return posterior

    def _posterior_of(self, x: Floats, rng: np.random.Generator) -> Believed:
        """What is believed of points."""
        posterior = self._process.posterior(x, 1.0)
        posterior.mean += self._trust_in(x)
        return posterior

    def _fresh_pool(self, rng: np.random.Generator) -> Floats:
        """Candidates, snapped, each a configuration of its own that was proposed as seldom as possible.

        Where the space holds few, all of it; where those drawn are too few, others of the space.
        """
        drawn = self._every if (self._size or LISTED) < self.pool else None
        if drawn is None:
            pool = self.pool // 2 if CAP < self._scores.seen <= MANY else self.pool
            drawn = snap(self._space, candidates(self._space, rng, self._leaders, pool))
        is_continuum = self._size is None and not self._space.conditions  # repeats few, which are passed over
        fresh = drawn if is_continuum else _of_times(drawn, self._times, 0)
        fresh = fresh[is_allowed(self._space, fresh)]
        if len(fresh) < self.pool // 4:
            fresh = self._topped_up(fresh, rng)
        self._pool_keys = keys(fresh)
        times = map(self._times.get, self._pool_keys, itertools.repeat(0))
        self._pool_times = 0 if is_continuum else min(times, default=0)
        return fresh

    def _topped_up(self, fresh: Floats, rng: np.random.Generator) -> Floats:
        """The candidates and others: of a space that can be listed the seldom proposed, or random ones."""
        if self._every is not None:
            times = min((self._times.get(key, 0) for key in keys(self._every)), default=0)
            seldom = _of_times(self._every, self._times, times)
            return seldom[rng.permutation(len(seldom))[: self.pool]]
        if not self._space.constraints:
            return fresh
        more = self._space.sample_many(int(rng.integers(1 << 31)), 0, self.pool // 4)
        return _of_times(np.concatenate([fresh, self._space.encode_many(more)]), self._times, 0)

    @cached_property
    def _size(self) -> int | None:
        return size_of(self._space)

    @cached_property
    def _every(self) -> Floats | None:
        """A point for each configuration of the space; None if there are too many to list."""
        return all_points(self._space, LISTED)


def _of_times(points: Floats, proposed: Mapping[bytes, int], times: int) -> Floats:
    """Those that were proposed so many times, each configuration once."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys(points)):
        if proposed.get(key, 0) == times:
            first.setdefault(key, row)
    return points[list(first.values())]


def candidates(space: Space, rng: np.random.Generator, leaders: Floats | None, pool: int) -> Floats:
    """Points anywhere, and as many around the leaders if there are any; shape (pool, dimension)."""
    near, d = pool // 2 if leaders is not None else 0, space.dimension
    if leaders is None:
        return rng.random((pool, d))
    x = leaders[rng.integers(len(leaders), size=near)]
    size = np.exp(rng.uniform(math.log(0.03), math.log(0.3), size=(near, 1)))
    moved = rng.random((near, d)) < 0.6
    moved[np.arange(near), rng.integers(d, size=near)] = True  # or it would be a leader once more
    redrawn = space.is_categorical & moved & (rng.random((near, d)) < 0.5)
    x = np.clip(x + rng.normal(size=(near, d)) * size * (moved & ~space.is_categorical), 0.0, 1.0)
    x = np.where(redrawn, rng.random((near, d)), x)
    return np.concatenate([rng.random((pool - near, d)), x])


class Scores:
    """The scores that the model learns from: at least CAP of them, and fewer than twice as many.

    When there are too many, those of the highest rungs stay, the best, and some of the others at random.
    """

    def __init__(self, seed: int) -> None:
        self.seen = 0
        self._seed = seed
        self._rows: list[tuple[int, float, float]] = []  # trial, t, score
        self._points: list[Floats] = []
        self._score_limit = math.inf

    def __len__(self) -> int:
        return len(self._rows)

    def wants(self, trial: int, iteration: int, score: float) -> bool:
        """Whether a score is worth the cost of entering; most of very many are not."""
        self.seen += 1
        if self.seen <= 2 * CAP or score <= self._score_limit:
            return True
        return chance(self._seed, trial, iteration) < CAP / self.seen

    def add(self, trial: int, point: Floats, t: float, score: float) -> None:
        """Enters a score."""
        self._rows.append((trial, t, score))
        self._points.append(point)
        if len(self._rows) >= 2 * CAP:
            self._forget()

    def arrays(self) -> tuple[Floats, Floats, npt.NDArray[np.int64], Floats]:
        """Points, times, trials and scores of at most CAP."""
        keep = self.chosen()
        rows = [self._rows[i] for i in keep]
        trial, t, y = zip(*rows, strict=True)
        return np.array([self._points[i] for i in keep]), np.array(t), np.array(trial), np.array(y)

    def best(self) -> float:
        """The best score that was entered."""
        return min(y for _, _, y in self._rows)

    def chosen(self) -> list[int]:
        """The rows of at most CAP."""
        n = len(self._rows)
        if n <= CAP:
            return list(range(n))
        rng = np.random.default_rng((self._seed, self.seen))
        t, y = np.array([row[1] for row in self._rows]), self._worths()
        order = np.lexsort((rng.random(n), -t))
        high, rest = order[: CAP // 2], order[CAP // 2 :]
        rest = rest[np.argsort(y[rest], kind="stable")]
        best, rest = rest[: CAP // 4], rest[CAP // 4 :]
        others = rng.choice(rest, CAP - len(high) - len(best), replace=False)
        return sorted(np.concatenate([high, best, others]).tolist())

    def _worths(self) -> Floats:
        """What rows are kept by, lower is better."""
        return np.array([y for _, _, y in self._rows])

    def _forget(self) -> None:
        keep = self.chosen()
        self._rows = [self._rows[i] for i in keep]
        self._points = [self._points[i] for i in keep]
        self._score_limit = float(np.quantile([y for _, _, y in self._rows], 0.25, method="lower"))


def one_thread() -> AbstractContextManager[object]:
    """Linear algebra on one thread: more are slower on such small matrices, and in the workers' way."""
    limited: AbstractContextManager[object] = _threadpools().limit(limits=1)
    return limited


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()


def chance(*key: int) -> float:
    """A number in [0, 1) that is a function of the key."""
    return fresh_seed(*key) / (1 << 31)
