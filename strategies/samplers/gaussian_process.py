"""A Gaussian process over configurations and training time at once.

    k = b T(t, t'; 2) + [a M(x, x') + c (same trial)] T(t, t'; s) + noise

x is a point of the unit cube (two values of a categorical axis are 0 or 1 apart), t the iterations on a
log scale from 0 to 1, M a Matern-5/2 kernel with one length for each axis, T(t, t'; s) = exp(-|t-t'|/s). The
term c models what the scores of one trial share beyond its configuration, such as its seed. `fit` sets the
kernel's parameters to their maximum a posteriori.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize
from scipy.special import ndtr, ndtri

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LEVEL_SCALE = 2.0  # s of the trend that all trials share
LEVEL_VARIANCE = 1.0  # b
JITTER = 1e-6
PRIOR_MEAN = (0.0, math.log(0.1), math.log(0.01), 0.0)  # of log a, log c, log noise, log s
PRIOR_SD = (1.0, 1.5, 1.5, 0.7)
BOUNDS = ((-4.0, 3.0), (-8.0, 2.0), (-9.0, 1.0), (-2.0, 3.0))
LENGTH_BOUNDS = (-3.0, 3.0)


class GaussianProcess:
    """Fitted to points (x, t, trial) with values y of mean about 0 and variance about 1."""

    def __init__(self, is_categorical: Bools) -> None:
        d = len(is_categorical)
        self._categorical = is_categorical
        self._any_categorical = bool(is_categorical.any())
        self._mean = np.concatenate([PRIOR_MEAN, np.full(d, math.log(0.5 * math.sqrt(max(d, 1))))])
        self._sd = np.concatenate([PRIOR_SD, np.ones(d)])
        self._theta = self._mean.copy()

    def fit(self, x: Floats, t: Floats, trial: Ints, y: Floats, steps: int) -> None:
        """Conditions on the data; `steps` > 0 first improves the hyper-parameters by as many steps."""
        self._x, self._t = x, t
        apart = np.abs(t[:, None] - t[None])
        same = (trial[:, None] == trial[None]).astype(np.float64)
        if steps:
            squares = self._squares(x)
            found = minimize(
                lambda theta: self._loss(theta, squares, apart, same, y),
                self._theta,
                jac=True,
                method="L-BFGS-B",
                bounds=[*BOUNDS, *[LENGTH_BOUNDS] * x.shape[1]],
                options={"maxiter": steps},
            )
            self._theta = found.x
        a, c, noise, scale = np.exp(self._theta[:4])
        k = LEVEL_VARIANCE * np.exp(-apart / LEVEL_SCALE)
        k += (a * self._matern(x, x) + c * same) * np.exp(-apart / scale)
        k[np.diag_indices(len(y))] += noise + JITTER
        self._lower = _cholesky(k)
        self._weights = cho_solve((self._lower, True), y, check_finite=False)

    def posterior(self, x: Floats, t: float, has_own: bool = True) -> Posterior:
        """Of new trials of the configurations at x, at time t, without the trend and the noise.

        Args:
            has_own: what a new trial has beyond its configuration (c) is part of it. Without, it is of the
                mean over trials of a configuration.

        The trend is the same for every point at one time, so it says nothing of which to try; and
        points that are being tried must not make all others look known.
        """
        scale = float(np.exp(self._theta[3]))
        k = self.covariance(x, self._x) * np.exp(-np.abs(t - self._t) / scale)
        half = solve_triangular(self._lower, k.T, lower=True, check_finite=False)
        before = float(np.exp(self._theta[: 2 if has_own else 1]).sum())
        variance = before - np.einsum("ij,ij->j", half, half)
        return Posterior(self, x, k @ self._weights, variance, half)

    def trend(self, t: float) -> float:
        """The trend that all trials share, at time t; `posterior` leaves it out."""
        return float(LEVEL_VARIANCE * np.exp(-np.abs(t - self._t) / LEVEL_SCALE) @ self._weights)

    def covariance(self, x: Floats, others: Floats) -> Floats:
        """Between configurations at one time, before any data."""
        return float(np.exp(self._theta[0])) * self._matern(x, others)

    def column(self, x: Floats, index: int) -> Floats:
        """`covariance(x, x)[index]`, a good deal faster."""
        apart = x - x[index]
        if self._any_categorical:
            apart[:, self._categorical] = np.abs(apart[:, self._categorical]) > 1e-9
        apart *= np.exp(-self._theta[4:])
        r = np.sqrt(5.0 * np.einsum("ij,ij->i", apart, apart))
        return np.asarray(math.exp(self._theta[0]) * (1.0 + r + r * r / 3.0) * np.exp(-r))

    @property
    def noise(self) -> float:
        """Variance of a single score about its trial's value."""
        return float(np.exp(self._theta[2])) + JITTER

    def _squares(self, x: Floats) -> Floats:
        apart = x[:, None, :] - x[None]
        apart[:, :, self._categorical] = np.abs(apart[:, :, self._categorical]) > 1e-9
        return apart * apart

    def _matern(self, x: Floats, others: Floats) -> Floats:
        lengths = np.exp(self._theta[4:])
        ordered = ~self._categorical
        p, q = x[:, ordered] / lengths[ordered], others[:, ordered] / lengths[ordered]
        square = np.einsum("ij,ij->i", p, p)[:, None] + np.einsum("ij,ij->i", q, q)[None] - 2.0 * p @ q.T
        for axis in np.flatnonzero(self._categorical):
            square += (np.abs(x[:, axis, None] - others[None, :, axis]) > 1e-9) / lengths[axis] ** 2
        r = np.sqrt(5.0 * np.maximum(square, 0.0))
        return np.asarray((1.0 + r + r * r / 3.0) * np.exp(-r))

    def _loss(
        self, theta: Floats, squares: Floats, apart: Floats, same: Floats, y: Floats
    ) -> tuple[float, Floats]:
        """Negative log posterior of the hyper-parameters, and its gradient."""
        a, c, noise, scale = np.exp(theta[:4])
        inverse_square = np.exp(-2.0 * theta[4:])
        r = np.sqrt(5.0 * (squares @ inverse_square))
        decay = np.exp(-r)
        time = np.exp(-apart / scale)
        matern = a * (1.0 + r + r * r / 3.0) * decay * time
        own = c * same * time
        k = LEVEL_VARIANCE * np.exp(-apart / LEVEL_SCALE) + matern + own
        k[np.diag_indices(len(y))] += noise + JITTER
        try:
            lower = np.linalg.cholesky(k)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse, _ = dpotri(lower, lower=True)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse @ y
        z = (theta - self._mean) / self._sd
        loss = 0.5 * float(y @ weights + z @ z) + float(np.log(np.diag(lower)).sum())
        w = inverse - np.outer(weights, weights)
        slope = np.empty_like(theta)
        slope[0] = np.vdot(w, matern)
        slope[1] = np.vdot(w, own)
        slope[2] = noise * np.trace(w)
        slope[3] = np.vdot(w, (matern + own) * apart) / scale
        w *= (5.0 / 3.0 * a) * (1.0 + r) * decay * time
        slope[4:] = np.tensordot(w, squares, 2) * inverse_square
        return loss, 0.5 * slope + z / self._sd


class Believed(Protocol):
    """What is believed of points, of one objective or of several; see `Posterior`."""

    x: Floats
    is_tried: Bools

    def try_point(self, index: int) -> None:
        """Takes a point as being tried."""
        ...

    def log_expected_improvement(self, best: float) -> Floats:
        """Log of what each point is expected to improve."""
        ...


class Posterior:
    """What is believed of some points, and of what is left unknown once others are being tried."""

    def __init__(
        self, process: GaussianProcess, x: Floats, mean: Floats, variance: Floats, half: Floats
    ) -> None:
        self._process = process
        self.x = x
        self.mean = mean
        self._variance = variance
        self._half = half
        self._tried = np.empty((0, len(x)))
        self.is_tried = np.zeros(len(x), dtype=bool)

    @property
    def sd(self) -> Floats:
        """Standard deviation of each point."""
        return np.sqrt(np.maximum(self._variance, 1e-9))

    def try_point(self, index: int) -> None:
        """Takes a point as being tried, with its mean as the result (Ginsbourger et al. 2010)."""
        self.is_tried[index] = True
        covariance = self._process.column(self.x, index)
        covariance -= self._half[:, index] @ self._half
        covariance -= self._tried[:, index] @ self._tried
        spread = max(float(self._variance[index]), 1e-9) + self._process.noise
        step = covariance / math.sqrt(spread)
        self._variance = self._variance - step * step
        self._tried = np.vstack([self._tried, step])

    def log_expected_improvement(self, best: float) -> Floats:
        """Log of the expected improvement on `best`; lower values are better (Jones et al. 1998)."""
        return log_improvement(best, self.mean, self.sd)


def log_improvement(best: float, mean: Floats, sd: Floats) -> Floats:
    """Log of E[max(0, best - Y)] for normal Y; the tail by its asymptote."""
    z = (best - mean) / sd
    near = np.log(np.maximum(z * ndtr(z) + np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi), 1e-300))
    far = -0.5 * z * z - 2.0 * np.log(np.abs(z) + 1e-9) - 0.92
    return np.asarray(np.where(z > -5.0, near, far) + np.log(sd))


def _cholesky(k: Floats) -> Floats:
    """The lower factor, with as much more noise as that takes."""
    for more in (0.0, 1e-3, 1e-1):
        try:
            return np.asarray(np.linalg.cholesky(k + more * np.eye(len(k))))
        except np.linalg.LinAlgError:
            continue
    raise FloatingPointError("the model's covariance matrix is not finite")


def normal_scores(y: Floats) -> Floats:
    """Each value's rank as a quantile of the normal distribution, ties in the middle.

    Makes the scale of a metric, its outliers and +inf harmless.
    """
    order = np.argsort(np.argsort(y, kind="stable"), kind="stable").astype(np.float64)
    _, inverse = np.unique(y, return_inverse=True)
    ranks = np.bincount(inverse, order) / np.bincount(inverse)
    return np.asarray(ndtri((ranks[inverse] + 0.5) / len(y)))
