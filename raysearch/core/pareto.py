"""Points of several objectives in an order: by limits, by non-dominated fronts, by spread along a front.

Arrays of points have shape (n, m): n points, m objectives, lower is better in each, no NaN. A point dominates
another if it is no worse in any objective and better in one.

The order is that of MO-ASHA (Schmucker et al. 2021, arXiv:2106.12639, section 3): fronts by non-dominated
sorting (Deb et al. 2002, NSGA-II, section III-A), within one the epsilon-net (Salinas et al. 2021,
arXiv:2106.05680, section 4.2). Points beyond limits come after all within, the least violation first (Deb et
al. 2002, section VI, definition 1).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NET = 512  # points of one front that are put in order by the epsilon-net; of more, by crowding distance
CHUNK = 512  # points compared with others at once
CHEBYSHEV_SUM = 0.05  # weight of the sum in the augmented Chebyshev norm (Knowles 2006, ParEGO, equation 2)


def dominators(points: Floats, point: Floats) -> Bools:
    """Which of the points dominate this one."""
    return np.asarray((points <= point).all(axis=1) & (points < point).any(axis=1))


def fronts(points: Floats) -> Ints:
    """The front of each point, from 0: those that nothing dominates; then those that only they dominate; ...

    O(n log n) for one and two objectives, O(n^2) beyond. Equal points share a front.

    >>> fronts(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 4.0]])).tolist()
    [0, 0, 1]
    """
    if points.shape[1] == 1:
        return np.asarray(np.unique(points[:, 0], return_inverse=True)[1], np.int64).reshape(-1)
    order = np.lexsort(points.T[::-1])
    found = np.zeros(len(points), np.int64)
    found[order] = _fronts_of_pairs(points[order]) if points.shape[1] == 2 else _fronts_of_many(points[order])
    return found


def fronts_beside(reference: Floats, of_reference: Ints, points: Floats) -> Ints:
    """The front that each point would have among reference points, whose fronts are known."""
    found = np.zeros(len(points), np.int64)
    for start in range(0, len(points), CHUNK):
        some = points[start : start + CHUNK, None, :]
        dominated = (reference[None] <= some).all(axis=2) & (reference[None] < some).any(axis=2)
        found[start : start + CHUNK] = np.where(dominated, of_reference[None] + 1, 0).max(axis=1, initial=0)
    return found


def non_dominated(points: Floats) -> Bools:
    """Which points nothing dominates."""
    return np.asarray(fronts(points) == 0) if len(points) else np.zeros(0, np.bool_)


def spread(points: Floats) -> Ints:
    """The rows of one front, in the order in which they cover it best; ties to the lower row.

    The first is the best of the first objective; each next one is that which is farthest from all before,
    with each objective scaled over the front to [0, 1]. Beyond NET points, by falling crowding distance.

    >>> spread(np.array([[0.0, 1.0], [0.1, 0.9], [0.5, 0.5], [1.0, 0.0]])).tolist()
    [0, 3, 2, 1]
    """
    x = scaled(points)
    if len(x) > NET:
        return np.asarray(np.argsort(-crowding(points), kind="stable"), np.int64)
    order = [int(np.lexsort((np.arange(len(x)), x[:, 0]))[0])] if len(x) else []
    apart = np.full(len(x), np.inf)
    while len(order) < len(x):
        step = x - x[order[-1]]
        apart = np.minimum(apart, np.einsum("ij,ij->i", step, step))
        apart[order[-1]] = -1.0
        order.append(int(np.argmax(apart)))
    return np.array(order, np.int64)


def crowding(points: Floats) -> Floats:
    """The crowding distance of each point of one front (Deb et al. 2002, section III-B); +inf at its ends."""
    distance = np.zeros(len(points))
    for column in scaled(points).T:
        order = np.argsort(column, kind="stable")
        distance[order[[0, -1]]] = np.inf
        distance[order[1:-1]] += column[order[2:]] - column[order[:-2]]
    return distance


def scaled(points: Floats) -> Floats:
    """The points with each objective from 0, the least, to 1, the greatest; 0 where all are the same."""
    if not len(points):
        return points
    low = points.min(axis=0)
    span = points.max(axis=0) - low
    return np.asarray((points - low) / np.where(span > 0, span, 1.0), np.float64)


def ranking(
    violations: Floats, points: Floats, borders: Sequence[int] | None = None, of: Ints | None = None
) -> Ints:
    """The rows, the best first; ties to the lower row.

    Args:
        violations: shape (n,): how far each is beyond the limits; 0 is within, +inf is a failure.
        points: shape (n, m); those of failures may be anything but NaN.
        borders: ranks at which it matters who stands before whom: a front that none of them cuts goes by row,
            which saves much time. None: every front goes by spread.
        of: the front of each row within the limits, where it is known.
    """
    rows = np.arange(len(violations))
    within = rows[violations == 0]
    beyond = rows[violations > 0]
    beyond = beyond[np.lexsort((beyond, points[beyond, 0], violations[beyond]))]
    of_within = fronts(points[within]) if of is None else of[within]
    within = within[np.lexsort((within, of_within))]
    bounds = np.append(0, np.cumsum(np.bincount(of_within))) if len(within) else np.zeros(1, np.int64)
    for start, stop in zip(bounds.tolist(), bounds[1:].tolist(), strict=False):
        is_cut = borders is None or any(start < border < stop for border in borders)
        if is_cut and points.shape[1] > 1 and stop - start > 1:
            front = within[start:stop]
            within[start:stop] = front[spread(points[front])]
    return np.concatenate([within, beyond])


def chosen(points: Floats, weights: Sequence[float] | None = None) -> int:
    """The row of the point to take where one must be: the least augmented Chebyshev distance to the best.

    The best is the least of each objective among the points, each scaled to [0, 1] (Knowles 2006, ParEGO,
    equation 2). Equal weights give the knee.

    >>> chosen(np.array([[0.0, 1.0], [0.2, 0.3], [1.0, 0.0]]))
    1
    """
    x = scaled(points) * (np.ones(points.shape[1]) if weights is None else np.asarray(weights, np.float64))
    return int(np.argmin(x.max(axis=1) + CHEBYSHEV_SUM * x.sum(axis=1)))


def _fronts_of_pairs(points: Floats) -> list[int]:
    """Of two objectives, sorted: the first front whose least second objective is above that of the point."""
    least: list[float] = []
    found: list[int] = []
    before: list[float] = []
    for point in points.tolist():
        if point == before:
            found.append(found[-1])
            continue
        front = bisect_right(least, point[1])
        if front == len(least):
            least.append(point[1])
        else:
            least[front] = point[1]
        found.append(front)
        before = point
    return found


def _fronts_of_many(points: Floats) -> Ints:
    """Of more objectives, sorted: whatever dominates a point stands before it."""
    found = np.zeros(len(points), np.int64)
    for row in range(1, len(points)):
        above = found[:row][dominators(points[:row], points[row])]
        found[row] = above.max() + 1 if len(above) else 0
    return found
