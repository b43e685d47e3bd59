"""Numbers between two bounds: uniform or uniform in the logarithm, real or whole, with or without a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from raysearch.core.values import as_integer, as_number, is_number, show
from raysearch.errors import SpecError
from raysearch.space.base import SLACK, Domain, Units, is_multiple, multiple


@dataclass(frozen=True, slots=True)
class Interval(Domain):
    """Numbers from `low` to `high`, both included; with `q`, the multiples of `q` among them.

    Of a stepped interval each step is equally likely (on a log scale: the share of its bin).
    """

    low: float
    high: float
    q: float | None = None
    _steps: tuple[int, int] | None = field(init=False, repr=False, compare=False)
    _ends: tuple[float, float] = field(init=False, repr=False, compare=False)

    log: ClassVar[bool] = False
    integer: ClassVar[bool] = False
    is_numeric: ClassVar[bool] = True
    is_ordered: ClassVar[bool] = True

    def __post_init__(self) -> None:
        number = as_integer if self.integer else as_number
        for bound in ("low", "high"):
            object.__setattr__(self, bound, number(getattr(self, bound), bound))
        if self.q is not None:
            object.__setattr__(self, "q", number(self.q, "q"))
        _check_bounds(self)
        object.__setattr__(self, "_steps", self.steps)
        object.__setattr__(self, "_ends", _ends(self))

    @property
    def step(self) -> float | None:
        """Distance between neighbouring values; None if there is none."""
        return 1 if self.integer and self.q is None else self.q

    @property
    def steps(self) -> tuple[int, int] | None:
        """First and last multiple of the step inside the bounds; None without a step."""
        if (step := self.step) is None:
            return None
        first, last = math.ceil(self.low / step - SLACK), math.floor(self.high / step + SLACK)
        return (max(first, 1) if self.log else first), last  # 0 has no logarithm

    @property
    def cardinality(self) -> int | None:
        """How many values there are; None if they form a continuum."""
        return None if (steps := self.steps) is None else steps[1] - steps[0] + 1

    def value_at(self, u: float) -> float:
        """The value at one `u`."""
        a, b = self._ends
        x = a + min(max(u, 0.0), 1.0) * (b - a)
        if self.log:
            x = float(np.exp(x))  # not math.exp, which may differ from `array` in the last bit
        if self._steps is None:
            return min(max(x, self.low), self.high)
        k = min(max(round(x) if self.log else math.floor(x), self._steps[0]), self._steps[1])
        if self.integer:
            return k * int(self.q or 1)
        assert self.q is not None
        return min(max(float(multiple(k, self.q)), self.low), self.high)

    def array(self, u: Units) -> NDArray[Any]:
        """Values at `u`, shape (n,), int64 for the integer domains."""
        a, b = self._ends
        x = a + np.minimum(np.maximum(u, 0.0), 1.0) * (b - a)
        x = np.exp(x) if self.log else x
        if self._steps is None:
            return np.minimum(np.maximum(x, self.low), self.high)
        k = np.rint(x) if self.log else np.floor(x)
        k = np.minimum(np.maximum(k, self._steps[0]), self._steps[1])
        if self.integer:
            return k.astype(np.int64) * int(self.q or 1)
        assert self.q is not None
        multiples: Units = np.asarray(multiple(k, self.q))
        return np.minimum(np.maximum(multiples, self.low), self.high)

    def to_unit(self, value: Any) -> float:
        """Where `value` lies between the bounds, in [0, 1]; the centre of its bin if stepped."""
        a, b = self._ends
        if (step := self.step) is None:
            x = math.log(value) if self.log else float(value)
            return min(max((x - a) / (b - a), 0.0), 1.0)
        k = round(value / step)
        ends = (math.log(k - 0.5), math.log(k + 0.5)) if self.log else (float(k), k + 1.0)
        return min(max((sum(ends) / 2 - a) / (b - a), 0.0), 1.0)

    def centres(self) -> list[float]:
        """The u of every value, in order. Raises ValueError without a step."""
        step, steps = self.step, self.steps
        if step is None or steps is None:
            raise ValueError(f"{self.describe()} has no countable values")
        return [self.to_unit(k * step) for k in range(steps[0], steps[1] + 1)]

    def why_not(self, value: Any) -> str | None:
        """Why `value` does not belong, or None."""
        if type(value) is float and self.q is None and not self.integer and self.low <= value <= self.high:
            return None
        if not is_number(value):
            return f"is not {'an integer' if self.integer else 'a number'}"
        if not self.low <= value <= self.high:  # NaN too
            return f"is outside [{show(self.low)}, {show(self.high)}]"
        if self.integer and not isinstance(value, (int, np.integer)):
            return "is not an integer"
        if self.q is not None and not is_multiple(value, self.q):
            return f"is not a multiple of {show(self.q)}"
        return None

    def describe(self) -> str:
        """`loguniform [1e-4, 1.0]`, with the step if there is one."""
        step = "" if self.q is None else f" in steps of {show(self.q)}"
        return f"{self.kind} [{show(self.low)}, {show(self.high)}]{step}"

    def form(self) -> dict[str, Any]:
        """The domain as it is written in YAML."""
        q = {} if self.q is None else {"q": self.q}
        return {self.kind: [self.low, self.high], **q}


class Uniform(Interval):
    """Every number from `low` to `high` is equally likely."""

    __slots__ = ()
    kind = "uniform"


class LogUniform(Interval):
    """The logarithm is uniform: as many values in 0.001..0.01 as in 0.1..1. Bounds are the values'."""

    __slots__ = ()
    kind = "loguniform"
    log = True


class RandInt(Interval):
    """Integers from `low` to `high`, both included (unlike Ray Tune's `randint`)."""

    __slots__ = ()
    kind = "randint"
    integer = True


class LogRandInt(Interval):
    """Integers from `low` to `high`, both included, uniform in their logarithm."""

    __slots__ = ()
    kind = "lograndint"
    log = True
    integer = True


def _check_bounds(d: Interval) -> None:
    """Raises SpecError unless the interval holds what a search needs."""
    both = f"[{show(d.low)}, {show(d.high)}]"
    if d.low > d.high:
        raise SpecError(f"low = {show(d.low)} is above high = {show(d.high)}; write the smaller one first")
    if d.low == d.high and not d.integer:
        raise SpecError(f"low and high are both {show(d.low)}; for a constant write the bare value")
    if not math.isfinite(float(d.high) - float(d.low)):
        raise SpecError(f"{both} is too wide for floating point")
    if d.log and d.low <= 0:
        least = "1" if d.integer else "a small positive number, such as 1e-6"
        raise SpecError(f"low = {show(d.low)} has no logarithm; start {d.kind} at {least}")
    if d.q is not None and d.q <= 0:
        raise SpecError(f"q = {show(d.q)} must be above zero: it is the step between values")
    if d.q is not None and max(abs(d.low), abs(d.high)) / d.q > 2**53:
        raise SpecError(f"q = {show(d.q)} is too fine a step for {both}; leave it out")
    count = d.cardinality
    if count is not None and count < 1:
        raise SpecError(f"no multiple of q = {show(d.q)} lies in {both}")
    if count is not None and count > 2**53:
        raise SpecError(f"q = {show(d.q)} is too fine a step for {both}; leave it out")


def _ends(d: Interval) -> tuple[float, float]:
    """Images of u = 0 and u = 1 before rounding: logs where log, and in steps where stepped."""
    steps = d.steps
    if steps is None:
        return (math.log(d.low), math.log(d.high)) if d.log else (d.low, d.high)
    if d.log:
        return math.log(steps[0] - 0.5), math.log(steps[1] + 0.5)
    return float(steps[0]), steps[1] + 1.0
