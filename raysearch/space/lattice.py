"""Points of the unit cube that stand for a configuration each: the centres of what is stepped or listed.

Two points that decode to one configuration snap to one point, so that a set of points can tell which
configurations it holds.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from raysearch.space.base import Units

if TYPE_CHECKING:
    from raysearch.space.space import Space

DIGITS = 12  # of a unit coordinate that tell two configurations apart


def snap(space: Space, points: Units) -> Units:
    """`encode(decode(x))` of points of shape (n, dimension), in one go; 0.5 on the axes of inactive names."""
    snapped = np.clip(points, 0.0, 1.0)
    for axis, name in enumerate(space.free):
        snapped[:, axis] = space.domains[name].snap(snapped[:, axis])
    if space.conditions:
        active = [space.flatten(config) for config in space.decode_many(snapped)]
        for axis, name in enumerate(space.free):
            if name in space.conditions:
                snapped[[name not in values for values in active], axis] = 0.5
    return snapped


def is_allowed(space: Space, points: Units) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which points, shape (n, dimension), decode to configurations that keep the constraints: shape (n,)."""
    if not space.constraints:
        return np.ones(len(points), dtype=bool)
    return np.array([space.satisfies(c) for c in space.decode_many(points)], dtype=bool)


def keys(points: Units) -> list[bytes]:
    """A key for each snapped point: equal for points of one configuration, whatever the rounding."""
    rounded = np.round(points, DIGITS) + 0.0  # -0.0 is 0.0
    return [row.tobytes() for row in rounded]


def size_of(space: Space) -> int | None:
    """How many configurations the axes give, conditions and constraints aside; None for a continuum."""
    counts = [space.domains[name].cardinality for name in space.free]
    return None if any(n is None for n in counts) else math.prod(n for n in counts if n)


def all_points(space: Space, most: int) -> Units | None:
    """A point for each configuration that the constraints allow; None if there may be more than `most`."""
    size = size_of(space)
    if size is None or size > most:
        return None
    axes = [space.domains[name].centres() for name in space.free]
    grid = np.array(list(itertools.product(*axes)), dtype=np.float64).reshape(-1, space.dimension)
    points = snap(space, grid)
    first = {key: row for row, key in reversed(list(enumerate(keys(points))))}
    points = points[sorted(first.values())]
    allowed: Units = points[is_allowed(space, points)]
    return allowed
