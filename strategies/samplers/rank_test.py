"""A test of whether one sample tends to be higher than another, by ranks alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def worse_probability(a: Sequence[float], b: Sequence[float]) -> float:
    """The one-sided p value of `a` being lower than `b`: above 1/2 if it looks higher (Mann and Whitney
    1947).

    Normal approximation with its correction for ties; 1/2 where all are alike.
    """
    from scipy.special import ndtr
    from scipy.stats import rankdata

    both = np.concatenate([a, b])
    ranks = rankdata(np.where(np.isfinite(both), both, np.finfo(float).max))
    n, m = len(a), len(b)
    _, ties = np.unique(ranks, return_counts=True)
    spread = n * m / 12.0 * ((n + m + 1) - float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1)))
    if spread <= 0:
        return 0.5
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    return float(ndtr((u - n * m / 2.0) / math.sqrt(spread)))
