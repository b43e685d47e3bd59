"""Points of the unit cube to values by flat name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from raysearch.space.conditions import Condition
    from raysearch.space.domains import Domain, Units


@dataclass(frozen=True, slots=True)
class Decoding:
    """How points become values.

    Attributes:
        domains: what each name may be.
        free: names of the axes of the unit cube.
        conditions: when a name is active.
        order: conditional names, each after those that its condition depends on.
    """

    domains: Mapping[str, Domain]
    free: tuple[str, ...]
    conditions: Mapping[str, Condition]
    order: tuple[str, ...]

    def one(self, unit: Units | Sequence[float]) -> dict[str, Any]:
        """Values by flat name at a point, active names only."""
        point = unit.tolist() if isinstance(unit, np.ndarray) else unit
        axis = dict(zip(self.free, point, strict=True))
        values = {name: d.value_at(axis.get(name, 0.5)) for name, d in self.domains.items()}
        if self.conditions:
            self.prune(values)
        return values

    def many(self, points: Units) -> list[dict[str, Any]]:
        """Values by flat name at points of shape (n, dimension).

        Raises:
            ValueError: the points have another shape.
        """
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != len(self.free):
            raise ValueError(f"points have shape {points.shape}, not (n, {len(self.free)})")
        axis = {name: points[:, j] for j, name in enumerate(self.free)}
        empty = np.empty(len(points))
        columns = [d.column(axis.get(name, empty)) for name, d in self.domains.items()]
        rows = [dict(zip(self.domains, row, strict=True)) for row in zip(*columns, strict=True)]
        rows = rows if self.domains else [{} for _ in range(len(points))]
        if self.conditions:
            for row in rows:
                self.prune(row)
        return rows

    def prune(self, values: dict[str, Any]) -> None:
        """Takes the inactive names out of `values`, conditions of conditions in their order."""
        for name in self.order:
            if not self.conditions[name].holds(values, self.domains):
                values.pop(name, None)
