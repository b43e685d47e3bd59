"""What past tasks have in common: a portfolio of their best, a box around them, and their neighbours' say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from raysearch.space.space import Space
from raysearch.strategies.samplers.importance import normal_ranks

BOX_TASKS = 3  # past tasks, below which there is no box


def portfolio(
    points: Sequence[np.ndarray[Any, Any]],
    scores: Sequence[np.ndarray[Any, Any]],
    weights: Sequence[float],
    is_categorical: np.ndarray[Any, Any],
    size: int,
    each: int = 15,
) -> list[tuple[int, int]]:
    """(task, row) of up to `size` configurations that together do well on every task, greedily.

    argmin_c sum_t w_t min(m_t, z_tc), m the best so far (Salinas et al. 2020; Wistuba et al. 2015). z are
    normal scores of ranks; where a task never tried a configuration, its neighbours' say what it would have
    given.
    """
    z = [normal_ranks(s) for s in scores]
    rows = [(t, int(r)) for t, zs in enumerate(z) for r in np.argsort(zs, kind="stable")[:each]]
    if not rows:
        return []
    x = np.array([points[t][r] for t, r in rows])
    table = np.array([neighbours(p, zs, x, is_categorical) for p, zs in zip(points, z, strict=True)])
    for column, (t, r) in enumerate(rows):
        table[t, column] = z[t][r]
    best = np.full(len(points), np.inf)
    weight = np.asarray(weights, float)[:, None]
    chosen: list[int] = []
    for _ in range(min(size, len(rows))):
        worst = np.where(np.isfinite(best), best, table.max(axis=1))
        costs = (weight * np.minimum(worst[:, None], table)).sum(axis=0)
        costs[chosen] = np.inf
        found = int(np.argmin(costs))
        if chosen and costs[found] >= (weight[:, 0] * worst).sum() - 1e-12:
            break
        chosen.append(found)
        best = np.minimum(worst, table[:, found])
    return [rows[c] for c in chosen]


def box(
    points: Sequence[np.ndarray[Any, Any]],
    scores: Sequence[np.ndarray[Any, Any]],
    space: Space,
    top: int = 3,
    margin: float = 0.2,
) -> dict[str, list[Any]]:
    """The range of each hyper-parameter over every task's best `top`, wider by a share on each side."""
    if len(points) < BOX_TASKS:
        return {}
    best = np.concatenate(
        [p[np.argsort(normal_ranks(s), kind="stable")[:top]] for p, s in zip(points, scores, strict=True)]
    )
    found: dict[str, list[Any]] = {}
    for axis, name in enumerate(space.free):
        domain = space.domains[name]
        if domain.is_categorical:
            found[name] = list(dict.fromkeys(domain.value_at(u) for u in best[:, axis].tolist()))
            continue
        low, high = float(best[:, axis].min()), float(best[:, axis].max())
        wider = margin * (high - low)
        found[name] = [round(max(0.0, low - wider), 4), round(min(1.0, high + wider), 4)]
    return found


def neighbours(points: Any, z: Any, x: Any, is_categorical: Any, k: int = 5) -> Any:
    """What a task's trials say of other points: the mean of the k nearest, weighted by 1/distance^2."""
    apart = np.abs(x[:, None, :] - points[None])
    apart[:, :, is_categorical] = apart[:, :, is_categorical] > 1e-9
    square = (apart**2).sum(axis=2)
    nearest = np.argsort(square, axis=1, kind="stable")[:, :k]
    weight = 1.0 / (np.take_along_axis(square, nearest, axis=1) + 1e-6)
    return (weight * z[nearest]).sum(axis=1) / weight.sum(axis=1)
