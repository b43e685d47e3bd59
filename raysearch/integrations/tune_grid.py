"""`tune.grid_search`: the points of a grid in turn, other hyper-parameters drawn beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

Names = tuple[str, ...]  # the groups around a hyper-parameter, and its own name


def grid_of(space: Mapping[str, Any], samples: int) -> tuple[int, list[dict[Names, Any]] | None]:
    """(number of trials, the points of a grid in order; None without a grid)."""
    grids = dict(_grids(space))
    if not grids:
        return samples, None
    rows = [dict(zip(grids, row, strict=True)) for row in itertools.product(*grids.values())]
    return samples * len(rows), rows


def _grids(space: Mapping[str, Any], within: Names = ()) -> Iterator[tuple[Names, list[Any]]]:
    """The names that lead to each grid, and its values."""
    for name, value in space.items():
        if is_grid(value):
            yield (*within, name), value["grid_search"]
        elif isinstance(value, Mapping):
            yield from _grids(value, (*within, name))


class GridPoints:
    """A source of configurations: the points of a grid in turn, other hyper-parameters drawn."""

    def __init__(self, rows: list[dict[Names, Any]]) -> None:
        self._rows = rows

    def bind(self, space: Any, seed: int, iterations: int) -> _Enumerated:
        """The sampler for a search of this space."""
        return _Enumerated(self._rows, space, seed)


class _Enumerated:
    """The sampler of `GridPoints`."""

    def __init__(self, rows: list[dict[Names, Any]], space: Any, seed: int) -> None:
        self._rows, self._space, self._seed = rows, space, seed

    def propose(self, trial: int) -> dict[str, Any]:
        """The point of that number, from the first again after the last."""
        point: dict[str, Any] = self._space.sample(self._seed, trial)
        for (*groups, name), value in self._rows[trial % len(self._rows)].items():
            group = point
            for one in groups:
                group = group[one]
            group[name] = value
        return point

    def observe(self, trial: int, config: Any, iteration: int, score: float) -> None:
        """Learns nothing."""


def is_grid(value: Any) -> bool:
    """Whether an entry of a param_space is a `tune.grid_search`."""
    return isinstance(value, Mapping) and set(value) == {"grid_search"}
