"""Differences between two contenders that ran on the same tasks with the same seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean difference with its interval; NaN for the half width of a single pair.

    Attributes:
        mean: of the differences; below 0 the first contender has less.
        half_width: of the interval about it, at 95%.
        ratio: of the two means.
    """

    mean: float
    half_width: float
    ratio: float

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval lies on one side of 0, else `level`."""
        if not math.isfinite(self.half_width) or abs(self.mean) <= self.half_width:
            return "level"
        return "better" if self.mean < 0 else "worse"

    def __str__(self) -> str:
        if not math.isfinite(self.half_width):
            return f"{self.mean:+.3f}"
        return f"{self.mean:+.3f} ±{self.half_width:.3f} {self.verdict}"


def difference(mine: Floats, others: Floats) -> Difference:
    """Of two arrays of shape (tasks, seeds), paired.

    The interval is Student's, of the seeds within each task: it speaks of these tasks, not of others.

    >>> str(difference(np.array([[0.1, 0.2, 0.1]]), np.array([[0.3, 0.3, 0.3]])))
    '-0.167 ±0.143 better'
    """
    from scipy.stats import t

    apart = mine - others
    tasks, seeds = apart.shape
    ratio = float(mine.mean() / others.mean()) if others.mean() > 0 else math.nan
    if seeds < 2:
        return Difference(float(apart.mean()), math.nan, ratio)
    error = math.sqrt(float(apart.var(axis=1, ddof=1).mean()) / (tasks * seeds))
    quantile = float(t.ppf(0.5 + CONFIDENCE / 2, tasks * (seeds - 1)))
    return Difference(float(apart.mean()), error * quantile, ratio)
