"""How a cost grows with a size: the fitted exponent, and whether that is faster than n log n."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

FITTED = 3  # of the largest sizes: at small ones what is there once outweighs what grows
SLACK = 0.1  # of an exponent, for noise


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The power of the size with which the cost goes, by least squares in logarithms over the largest sizes.

    Args:
        sizes: rising, above 0.
        costs: of the same length; where one is 0, below, or NaN, that size is left out.

    Returns:
        1 for a cost in proportion to the size, 0 for a fixed one; NaN below two sizes that count.

    >>> round(exponent([10, 100, 1000], [5.0, 50.0, 500.0]), 6)
    1.0
    """
    known = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if cost > 0][-FITTED:]
    if len(known) < 2:
        return math.nan
    x, y = np.log(np.array(known, np.float64)).T
    x = x - x.mean()
    return float(x @ y / (x @ x))


def grows_too_fast(sizes: Sequence[float], costs: Sequence[float], is_each: bool = False) -> bool:
    """True where the cost grows faster than n log n; what `is_each` counted (a turn) than log n.

    Both are fitted over the same sizes; the cost may exceed by `SLACK`. False where nothing can be fitted.
    """
    law: Callable[[float], float] = (
        (lambda n: math.log2(2 + n)) if is_each else (lambda n: n * math.log2(2 + n))
    )
    counted = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if cost > 0]
    if len(counted) < 2:
        return False
    at = [size for size, _ in counted]
    return exponent(at, [cost for _, cost in counted]) > exponent(at, [law(size) for size in at]) + SLACK
