"""The hypervolume of points: how much of what lies before a reference point they dominate.

Lower is better in each objective. Exact: by a sweep for two objectives, by slices for three, and by WFG
(While et al. 2012, algorithm 1) beyond, which takes long for many points of many objectives.
"""

from __future__ import annotations

import numpy as np

from raysearch.core.pareto import Floats, non_dominated


def hypervolume(points: Floats, reference: Floats) -> float:
    """The volume that the points dominate, up to the reference; points that are not below it add nothing.

    Args:
        points: shape (n, m); rows that are not finite add nothing.
        reference: shape (m,), worse than the points that are to count.

    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
    3.0
    """
    reference = np.asarray(reference, np.float64)
    points = np.asarray(points, np.float64).reshape(-1, len(reference))
    points = points[np.isfinite(points).all(axis=1) & (points < reference).all(axis=1)]
    if not len(points):
        return 0.0
    return _volume(np.unique(points[non_dominated(points)], axis=0), reference)


def _volume(front: Floats, reference: Floats) -> float:
    """Of distinct points that do not dominate each other, sorted by their first objective."""
    if front.shape[1] == 1:
        return float(reference[0] - front[0, 0])
    if front.shape[1] == 2:
        tops = np.append(reference[1], front[:-1, 1])
        return float(((reference[0] - front[:, 0]) * (tops - front[:, 1])).sum())
    if front.shape[1] == 3:
        return _slices(front, reference)
    total = 0.0
    for row, point in enumerate(front):
        others = np.maximum(front[row + 1 :], point)
        total += float(np.prod(reference - point)) - hypervolume(others, reference)
    return total


def _slices(front: Floats, reference: Floats) -> float:
    """Of three objectives: areas of the first two, between one value of the third and the next."""
    front = front[np.argsort(front[:, 2], kind="stable")]
    heights = np.diff(np.append(front[:, 2], reference[2]))
    areas = (hypervolume(front[: k + 1, :2], reference[:2]) for k in range(len(front)))
    return float(sum(height * area for height, area in zip(heights.tolist(), areas, strict=True)))
