"""Which hyper-parameters mattered: the share of the scores' variance that each explains alone.

The correlation ratio of normal scores over bins of one axis, corrected for the number of bins (epsilon
squared; Kelley 1935): an estimate of the first-order Sobol index that needs no model. What two
hyper-parameters do only together is not seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BINS = 5
LEAST = 20  # scores, below which all importances are NaN


def importances(points: Floats, scores: Floats) -> Floats:
    """The share of each axis, in [0, 1]; NaN for all with fewer than LEAST scores, or all alike.

    Args:
        points: of the unit cube, shape (n, d).
        scores: shape (n,), lower is better; NaN and infinities count as worst.
    """
    n, d = points.shape
    if n < LEAST or len(np.unique(scores)) < 2:
        return np.full(d, np.nan)
    z = normal_ranks(scores)
    return np.array([_epsilon_squared(points[:, axis], z) for axis in range(d)])


def normal_ranks(scores: Floats) -> Floats:
    """Phi^-1((rank - 1/2) / n), ties sharing their mean rank; what is not finite ranks last."""
    from scipy.special import ndtri

    finite = np.isfinite(scores)
    filled = np.where(finite, scores, np.max(scores[finite]) + 1.0 if finite.any() else 0.0)
    _, inverse, counts = np.unique(filled, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2.0)[inverse]
    return np.asarray(ndtri((ranks - 0.5) / len(scores)), np.float64)


def _epsilon_squared(axis: Floats, z: Floats) -> float:
    values, place = np.unique(axis, return_inverse=True)
    if len(values) < 2:
        return 0.0
    if len(values) > BINS:
        order = np.argsort(np.argsort(axis, kind="stable"), kind="stable")
        place = order * BINS // len(axis)
    counts = np.bincount(place)
    means = np.bincount(place, z) / np.maximum(counts, 1)
    within = float(((z - means[place]) ** 2).sum())
    total = float(((z - z.mean()) ** 2).sum())
    freedom = len(z) - np.count_nonzero(counts)
    if freedom <= 0 or total <= 0:
        return 0.0
    between = total - within - (np.count_nonzero(counts) - 1) * within / freedom
    return float(min(max(between / total, 0.0), 1.0))
