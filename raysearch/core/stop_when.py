"""When a search is no longer worth its cost: what going on must gain, and at what cost.

    stop_when: {gain_below: 0.002, cost: {gpu_hours: 5}}
    stop_when: {gain_below: 1%, cost: 5}   # of the best value; hours of a device

The first reads: end the search once five more GPU-hours are forecast to gain less than 0.002.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

from raysearch.core.budget import Budget, Spent
from raysearch.core.formatting import number, setting
from raysearch.errors import LocatedError


class CostUnit(enum.Enum):
    """In what a cost is given; the values are the keys of `cost`."""

    DEVICE_HOURS = "device_hours"  # GPU-hours where workers hold GPUs, else hours of workers
    HOURS = "hours"  # of wall time
    GPU_HOURS = "gpu_hours"
    CPU_HOURS = "cpu_hours"
    MONEY = "money"
    KWH = "kwh"

    @property
    def words(self) -> str:
        """As it stands behind a number."""
        return _WORDS[self]


_WORDS = {
    CostUnit.DEVICE_HOURS: "device hours",
    CostUnit.HOURS: "hours",
    CostUnit.GPU_HOURS: "GPU-hours",
    CostUnit.CPU_HOURS: "CPU-hours",
    CostUnit.MONEY: "in money",
    CostUnit.KWH: "kWh",
}


@dataclass(frozen=True, slots=True)
class StopWhen:
    """Ends a search whose next `cost` is forecast to gain less than `gain_below`.

    Attributes:
        gain_below: improvement of the best value so far, above 0, whichever direction is better: in the
            metric's units, or a share of the best value's size where `relative`.
        cost: how much more is looked ahead, in `unit`; where a trial at full length takes more than that,
            with those given up on the way to it, so much, and as much more gain is asked for.
        relative: `gain_below: 1%` is 0.01 with this.

    >>> from raysearch.core.stop_when import CostUnit, StopWhen
    >>> StopWhen(0.01, 5.0, CostUnit.GPU_HOURS, relative=True).threshold(best=-0.8)
    0.008
    """

    gain_below: float
    cost: float
    unit: CostUnit = CostUnit.DEVICE_HOURS
    relative: bool = False

    def threshold(self, best: float) -> float:
        """The gain in the metric's units, where the best value so far is `best`."""
        return self.gain_below * abs(best) if self.relative else self.gain_below

    @property
    def gain_words(self) -> str:
        """`0.002`, or `1%`."""
        return f"{setting(self.gain_below * 100, 3)}%" if self.relative else setting(self.gain_below, 3)

    @property
    def cost_words(self) -> str:
        """`5 GPU-hours`."""
        return f"{setting(self.cost, 3)} {self.unit.words}"

    def to_dict(self) -> dict[str, object]:
        """As a spec holds it."""
        gain = f"{self.gain_below * 100:.15g}%" if self.relative else self.gain_below
        return {"gain_below": gain, "cost": {self.unit.value: self.cost}}

    def check(self, budget: Budget, cpus: float, gpus: float) -> None:
        """Raises LocatedError for a cost that workers which hold so much would never reach."""
        place = f"stop_when.cost.{self.unit.value}"
        one_hour = CostRate(cpus, gpus, budget).of(3600.0, 1.0)[self.unit]
        if one_hour > 0:
            return
        if self.unit is CostUnit.MONEY:
            given = ", ".join(budget.prices) or "none"
            why = f"nothing that workers hold has a price (budget.prices: {given})"
            raise LocatedError(place, f"{why}; give some, such as {{gpu_hour: 2.5}}, or another unit")
        if self.unit is CostUnit.KWH:
            given = ", ".join(budget.power) or "none"
            why = f"nothing that workers hold has a power (budget.power: {given})"
            raise LocatedError(place, f"{why}; give watts, such as {{gpu: 350, cpu: 8}}, or another unit")
        kind = "GPU" if self.unit is CostUnit.GPU_HOURS else "CPU"
        raise LocatedError(place, f"no worker holds a {kind} (workers.{kind.lower()} is 0)")


@dataclass(frozen=True, slots=True)
class CostRate:
    """What the training of workers costs in every unit.

    Attributes:
        cpus, gpus: that a worker holds.
        budget: has the prices and the power.
    """

    cpus: float
    gpus: float
    budget: Budget

    def of(self, worker_s: float, width: float) -> dict[CostUnit, float]:
        """What so many seconds of workers cost, of whom `width` train at a time."""
        spent = Spent(worker_s / width, worker_s, worker_s * self.cpus, worker_s * self.gpus)
        gpu_hours = spent.gpu_s / 3600
        return {
            CostUnit.DEVICE_HOURS: gpu_hours or worker_s / 3600,
            CostUnit.HOURS: spent.seconds / 3600,
            CostUnit.GPU_HOURS: gpu_hours,
            CostUnit.CPU_HOURS: spent.cpu_s / 3600,
            CostUnit.MONEY: spent.money(self.budget.prices),
            CostUnit.KWH: spent.kwh(self.budget.power),
        }

    def worker_seconds(self, amount: float, unit: CostUnit, width: float) -> float:
        """The seconds of workers that cost so much; infinity where they cost nothing in that unit."""
        each = self.of(3600.0, width)[unit]
        return 3600.0 * amount / each if each > 0 else math.inf

    def in_words(self, worker_s: float, width: float, but: CostUnit | None = None) -> str:
        """`2.1 device hours · 5.25 in money · 0.7 kWh`: what such work costs, without what is nothing."""
        shown = (CostUnit.DEVICE_HOURS, CostUnit.MONEY, CostUnit.KWH)
        costs: Mapping[CostUnit, float] = self.of(worker_s, width)
        return " · ".join(
            f"{number(costs[unit], 3)} {unit.words}" for unit in shown if costs[unit] > 0 and unit is not but
        )
