"""Fronts, spread, ranking and hypervolume, against slow oracles over seeded cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raysearch.core.hypervolume import hypervolume
from raysearch.core.pareto import (
    NET,
    chosen,
    crowding,
    dominators,
    fronts,
    fronts_beside,
    non_dominated,
    ranking,
    spread,
)


def peeled(points: np.ndarray) -> list[int]:
    """The fronts by their definition: take away what nothing dominates, again and again."""
    found = [-1] * len(points)
    left, front = set(range(len(points))), 0
    while left:
        rows = sorted(left)
        best = [r for r in rows if not dominators(points[rows], points[r]).any()]
        for row in best:
            found[row] = front
        left -= set(best)
        front += 1
    return found


def drawn(seed: int, n: int, m: int) -> np.ndarray:
    """Points, every second set of them with many ties."""
    points = np.random.default_rng(seed).normal(size=(n, m))
    return np.round(points * 2) if seed % 2 else points


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(12))
def test_fronts_are_those_that_peeling_gives(seed: int, m: int) -> None:
    points = drawn(seed, 40, m)
    assert fronts(points).tolist() == peeled(points)
    assert non_dominated(points).tolist() == [front == 0 for front in peeled(points)]


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_a_points_front_beside_others_is_that_among_them(seed: int, m: int) -> None:
    points, others = drawn(seed, 60, m), drawn(seed + 100, 20, m)
    found = fronts_beside(points, fronts(points), others)
    assert found.tolist() == [peeled(np.vstack([points, one]))[-1] for one in others]


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(6))
def test_the_hypervolume_is_the_share_of_a_box_that_is_dominated(seed: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    points, reference = np.round(rng.random((8, m)), 1), np.full(m, 0.9)
    edges = np.round(np.arange(0.05, 0.9, 0.1), 2)  # the middles of cells of 0.1
    cells = np.stack(np.meshgrid(*[edges] * m), axis=-1).reshape(-1, m)
    dominated = [
        bool(((points <= cell).all(axis=1) & (points < reference).all(axis=1)).any()) for cell in cells
    ]
    assert hypervolume(points, reference) == pytest.approx(sum(dominated) * 0.1**m)


def test_points_that_do_not_reach_the_reference_or_are_not_finite_add_nothing() -> None:
    reference = np.array([1.0, 1.0])
    assert hypervolume(np.array([[1.0, 0.0], [2.0, -3.0]]), reference) == 0.0
    points = np.array([[0.5, 0.5], [math.nan, 0.0], [-math.inf, 0.0]])
    assert hypervolume(points, reference) == pytest.approx(0.25)
    assert hypervolume(np.zeros((0, 2)), reference) == 0.0


def test_a_front_is_covered_from_its_ends_inwards() -> None:
    points = np.array([[x, 1.0 - x] for x in (0.0, 0.05, 0.1, 0.5, 1.0)])
    assert spread(points).tolist() == [0, 4, 3, 2, 1]


def test_a_front_of_very_many_points_goes_by_crowding_distance() -> None:
    x = np.sort(np.random.default_rng(1).random(NET + 10))
    points = np.column_stack([x, -x])
    order = spread(points)
    assert {0, len(x) - 1} == set(order[:2].tolist())
    distance = crowding(points)[order]
    assert (np.diff(distance[2:]) <= 0).all()


def test_the_ranking_is_limits_then_fronts_then_spread() -> None:
    points = np.array([[0.0, 0.0], [2.0, 2.0], [1.0, 3.0], [3.0, 1.0], [0.0, 9.0], [4.0, 4.0]])
    violations = np.array([0.5, 0.0, 0.0, 0.0, math.inf, 0.0])
    assert ranking(violations, points).tolist() == [2, 3, 1, 5, 0, 4]
    assert ranking(np.ones(0), np.ones((0, 2))).tolist() == []


def test_a_front_that_no_border_cuts_goes_by_row() -> None:
    points = np.array([[x, 1.0 - x] for x in (0.5, 0.05, 0.1, 0.0, 1.0)])
    assert ranking(np.zeros(5), points, borders=[5]).tolist() == [0, 1, 2, 3, 4]
    assert ranking(np.zeros(5), points, borders=[2]).tolist()[:2] == [3, 4]


def test_with_one_objective_the_ranking_is_that_of_the_value() -> None:
    values, violations = np.array([3.0, 1.0, 2.0, 1.0]), np.array([0.0, 0.2, 0.0, 0.1])
    assert ranking(violations, values[:, None]).tolist() == [2, 0, 3, 1]


def test_weights_move_the_choice_along_the_front() -> None:
    points = np.array([[0.0, 1.0], [0.3, 0.4], [1.0, 0.0]])
    assert chosen(points) == 1
    assert chosen(points, [9.0, 1.0]) == 0
    assert chosen(points, [1.0, 9.0]) == 2
