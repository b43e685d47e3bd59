"""The sampler that learns several objectives and limits: a Gaussian process for each of them.

A candidate is worth the improvement that is expected of it, times the probability that it meets the
limits (Gardner et al. 2014, equation 5); here times its square, as a training beyond them is lost.
Improvement is that on the best value for one objective; the hypervolume that it adds to the front for
two, in closed form by strips (Emmerich et al. 2011, section 4); and that of an augmented Chebyshev norm
with random weights, drawn anew for each proposal, for more (Knowles 2006, ParEGO; Daulton et al. 2020,
arXiv:2006.05078, appendix A.2). While nothing is known to meet the limits the probability decides alone.
The front has what was seen at the last iteration, and of trials that did not come so far the models'
means there.

All else is as in `gp_sampler`: all rungs at once, normal scores of ranks, what is in progress.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr

from raysearch.core.pareto import CHEBYSHEV_SUM, Bools, Ints, dominators, non_dominated, ranking
from raysearch.space.objectives import Objectives, Standing, violation
from raysearch.space.space import Space
from raysearch.strategies.samplers.gaussian_process import (
    Believed,
    Floats,
    GaussianProcess,
    Posterior,
    log_improvement,
    normal_scores,
)
from raysearch.strategies.samplers.gp_sampler import CAP, ModelSampler, Scores, chance

DRAWS = 64  # of each candidate's objectives, for the Chebyshev norm
MARGIN = 0.1  # of the range of all, by which the reference point is beyond the worst of the front
CAUTION = 2.0  # power of the probability of meeting the limits, once something meets them
LEADERS = 8  # around whose points half of the candidates are drawn


class FrontSampler(ModelSampler):
    """Proposes as the module says; it is told standings, and +inf for failures."""

    first = 10
    per_axis = 2

    def __init__(self, space: Space, seed: int, iterations: int, objectives: Objectives) -> None:
        super().__init__(space, seed, iterations)
        self._front_scores = FrontScores(seed, len(objectives.modes), len(objectives.limits))
        self._scores: Scores = self._front_scores
        self._models = [GaussianProcess(space.is_categorical) for _ in objectives.modes]
        self._bounds = [GaussianProcess(space.is_categorical) for _ in objectives.limits]
        self._thresholds: list[float] = []  # of each limit, as a normal score
        self._front = np.zeros((0, len(objectives.modes)))
        self._reference = np.zeros(len(objectives.modes))
        self._best = 0.0

    def _condition(self, seen: int) -> None:
        scores, steps = self._front_scores, self._steps(seen)
        self._points, t, trial, values, excesses, beyond = scores.columns()
        seen_there = np.column_stack([normal_scores(_finite(column)) for column in values.T])
        for model, column in zip(self._models, seen_there.T, strict=True):
            model.fit(self._points, t, trial, column, steps)
        self._thresholds = []
        for model, column in zip(self._bounds, excesses.T, strict=True):
            known = normal_scores(np.append(_finite(column), 0.0))
            model.fit(self._points, t, trial, known[:-1], steps)
            self._thresholds.append(float(known[-1]))
        order = ranking(beyond, np.where(np.isfinite(values), values, 0.0), [LEADERS])
        self._leaders = self._points[order[:LEADERS]]
        self._note_front(np.flatnonzero(beyond == 0), seen_there, t >= 1.0)
        self._conditioned_at = seen

    def _note_front(self, within: Ints, seen_there: Floats, is_last: Bools) -> None:
        """The front among these rows, and the reference point behind it.

        Args:
            within: rows within the limits.
            seen_there: normal scores of the objectives, shape (rows, m).
            is_last: which rows are of the last iteration; of others the models' means there are taken.
        """
        means = np.column_stack([model.posterior(self._points, 1.0).mean for model in self._models])
        trends = np.array([model.trend(1.0) for model in self._models])
        points = np.where(is_last[:, None], seen_there - trends, means)
        self._front = points[within][non_dominated(points[within])]
        if len(self._front):
            margin = MARGIN * np.maximum(points.max(axis=0) - points.min(axis=0), 1e-6)
            self._reference = self._front.max(axis=0) + margin

    def _posterior_of(self, x: Floats, rng: np.random.Generator) -> Believed:
        bounds = [model.posterior(x, 1.0, False) for model in self._bounds]
        for model, bound in zip(self._bounds, bounds, strict=True):
            bound.mean += model.trend(1.0)
        models = [model.posterior(x, 1.0, False) for model in self._models]
        return FrontPosterior(models, bounds, self._thresholds, self._front, self._reference, rng)


class FrontPosterior:
    """What is believed of some points: every objective, and how far they are from every limit."""

    def __init__(
        self,
        models: Sequence[Posterior],
        bounds: Sequence[Posterior],
        thresholds: Sequence[float],
        front: Floats,
        reference: Floats,
        rng: np.random.Generator,
    ) -> None:
        self._models, self._bounds, self._thresholds = models, bounds, thresholds
        self._front, self._reference, self._rng = (
            front[np.argsort(front[:, 0], kind="stable")],
            reference,
            rng,
        )
        self.x = models[0].x
        self.is_tried = models[0].is_tried

    def try_point(self, index: int) -> None:
        """Takes a point as being tried, with its means as the result."""
        for one in (*self._models, *self._bounds):
            one.try_point(index)

    def log_expected_improvement(self, best: float) -> Floats:
        """Log of the expected improvement of the front, and of the probability of meeting the limits."""
        pairs = zip(self._bounds, self._thresholds, strict=True)
        worth = np.zeros(len(self.x)) + sum(log_ndtr((bar - one.mean) / one.sd) for one, bar in pairs)
        if not len(self._front):
            return np.asarray(worth if self._bounds else worth + self._models[0].sd)
        worth = CAUTION * worth
        if len(self._models) == 1:
            only = self._models[0]
            return np.asarray(worth + log_improvement(float(self._front.min()), only.mean, only.sd))
        if len(self._models) == 2:
            return np.asarray(worth + self._log_hypervolume_improvement())
        return np.asarray(worth + self._log_chebyshev_improvement())

    def _log_hypervolume_improvement(self) -> Floats:
        """Of two objectives: the sum over strips of the first, of its expected width times that of height."""
        first, second = self._models
        edges = np.append(self._front[:, 0], self._reference[0])
        tops = np.append(self._reference[1], self._front[:, 1])
        widths = np.exp(np.stack([log_improvement(edge, first.mean, first.sd) for edge in edges.tolist()]))
        widths = np.diff(widths, axis=0, prepend=0.0)
        heights = np.exp(np.stack([log_improvement(top, second.mean, second.sd) for top in tops.tolist()]))
        return np.asarray(np.log(np.maximum(np.einsum("ij,ij->j", widths, heights), 1e-300)))

    def _log_chebyshev_improvement(self) -> Floats:
        """Of one augmented Chebyshev norm, each objective scaled by the front's range, by Monte Carlo."""
        weights = self._rng.dirichlet(np.ones(len(self._models)))
        low = self._front.min(axis=0)
        scale = weights / np.maximum(self._reference - low, 1e-9)
        draws = self._rng.standard_normal((DRAWS, len(self._models), 1))
        means = np.stack([one.mean for one in self._models])
        sds = np.stack([one.sd for one in self._models])
        norms = _norm((means + sds * draws - low[:, None]) * scale[:, None])
        least = float(_norm(((self._front - low) * scale).T).min())
        return np.asarray(np.log(np.maximum(np.maximum(least - norms, 0.0).mean(axis=0), 1e-300)))


class FrontScores(Scores):
    """The scores that the models learn from; of too many those stay that rank first by limits and fronts."""

    def __init__(self, seed: int, objectives: int, limits: int) -> None:
        super().__init__(seed)
        self._objectives, self._limits = objectives, limits
        self._bar = np.zeros((0, objectives))  # the front, once there were too many

    def wants(self, trial: int, iteration: int, score: float) -> bool:
        """Whether a score is worth the cost of entering; those that the front dominates seldom are."""
        self.seen += 1
        if self.seen <= 2 * CAP or chance(self._seed, trial, iteration) < CAP / self.seen:
            return True
        if not isinstance(score, Standing) or score.violation > 0:
            return False
        return not dominators(self._bar, np.array(score.values)).any()

    def columns(self) -> tuple[Floats, Floats, Ints, Floats, Floats, Floats]:
        """Points, times, trials, objectives, excesses and violations of at most CAP; +inf for failures."""
        keep = self.chosen()
        rows = [self._rows[i] for i in keep]
        points = np.array([self._points[i] for i in keep])
        t, trial = np.array([row[1] for row in rows]), np.array([row[0] for row in rows], np.int64)
        values, excesses, beyond = self._table(rows)
        return points, t, trial, values, excesses, beyond

    def _table(self, rows: Sequence[tuple[int, float, float]]) -> tuple[Floats, Floats, Floats]:
        scores = [score for _, _, score in rows]
        bad = [math.inf] * max(self._objectives, self._limits)
        values = [s.values if isinstance(s, Standing) else bad[: self._objectives] for s in scores]
        excesses = [s.excesses if isinstance(s, Standing) else bad[: self._limits] for s in scores]
        shape = len(rows), self._limits
        return np.array(values), np.array(excesses).reshape(shape), np.array([violation(s) for s in scores])

    def _worths(self) -> Floats:
        values, _, beyond = self._table(self._rows)
        order = ranking(beyond, np.where(np.isfinite(values), values, 0.0), [CAP // 4])
        worths = np.zeros(len(order))
        worths[order] = np.arange(len(order))
        return worths

    def _forget(self) -> None:
        super()._forget()
        values, _, beyond = self._table(self._rows)
        within = values[beyond == 0]
        self._bar = within[non_dominated(within)]


def _finite(column: Floats) -> Floats:
    """The column, in which failures are worse than all else."""
    finite = np.isfinite(column)
    return np.where(finite, column, column[finite].max() + 1.0 if finite.any() else 0.0)


def _norm(x: Floats) -> Floats:
    """The augmented Chebyshev norm; objectives are the axis before the last."""
    return np.asarray(x.max(axis=-2) + CHEBYSHEV_SUM * x.sum(axis=-2))
