"""Numbers around a mean: normal, or normal in the logarithm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from raysearch.core.values import as_number, is_number, show
from raysearch.errors import SpecError
from raysearch.space.base import SLACK, Domain, Units, is_multiple, multiple

TINY = 2.0**-53  # the least share drawn: 8 standard deviations from the mean
REACH = 8.5  # standard deviations, beyond which nothing is drawn


@dataclass(frozen=True, slots=True)
class Normal(Domain):
    """Bell-shaped around `mean`; cut at `low` and `high` where given; rounded to multiples of `q`.

    Cut means conditioned on, not clipped: no value piles up at a bound.
    """

    mean: float
    sd: float
    low: float | None = None
    high: float | None = None
    q: float | None = None

    kind: ClassVar[str] = "normal"
    log: ClassVar[bool] = False
    is_numeric: ClassVar[bool] = True
    is_ordered: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("mean", "sd", "low", "high", "q"):
            if getattr(self, name) is not None or name in ("mean", "sd"):
                object.__setattr__(self, name, as_number(getattr(self, name), name))
        for name in ("sd", "q"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise SpecError(f"{name} = {show(getattr(self, name))} must be above zero")
        if self.log and self.low is not None and self.low <= 0:
            raise SpecError(f"low = {show(self.low)}: a {self.kind} value is always above zero")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise SpecError(f"low = {show(self.low)} is not below high = {show(self.high)}")
        self._check_reach()
        a, b = self._cut()
        if b - a < 1e-12:
            raise SpecError(f"next to nothing of {self.describe()} lies between its bounds; widen them")

    @property
    def cardinality(self) -> int | None:
        """How many values there are; None unless there are a step and both bounds."""
        if self.q is None or self.low is None or self.high is None:
            return None
        first, last = self._multiples()
        return int(last - first) + 1

    @property
    def is_continuous(self) -> bool:
        """Whether neighbouring u give different values: there is no step."""
        return self.q is None

    def centres(self) -> list[float]:
        """The u of every value, in order. Raises ValueError without a step and both bounds."""
        if (n := self.cardinality) is None or self.q is None:
            raise ValueError(f"{self.describe()} has no countable values")
        first = int(self._multiples()[0])
        return [self.to_unit(float(multiple(k, self.q))) for k in range(first, first + n)]

    def value_at(self, u: float) -> float:
        """The value at one `u`; u = 0 and 1 give the bounds, or about 8 standard deviations."""
        a, b = self._cut()
        share = min(max(a + min(max(u, 0.0), 1.0) * (b - a), TINY), 1 - TINY)
        x = NormalDist(self.mean, self.sd).inv_cdf(share)
        x = float(np.exp(x)) if self.log else x
        low, high = self._limits()
        if self.q is not None:
            x = float(multiple(round(x / self.q), self.q))
        return min(max(x, low), high)

    def array(self, u: Units) -> NDArray[Any]:
        """Values at `u`, shape (n,), float64."""
        return np.array([self.value_at(v) for v in u.tolist()], dtype=np.float64)

    def _check_reach(self) -> None:
        """Raises SpecError where floats cannot hold what is drawn, or the step leaves nothing to draw."""
        ends = [self.mean - REACH * self.sd, self.mean + REACH * self.sd]
        if self.log:
            ends = [math.exp(end) if abs(end) < 708 else math.inf for end in ends]
        low, high = ends[0] if self.low is None else self.low, ends[1] if self.high is None else self.high
        if not (math.isfinite(low) and math.isfinite(high)):
            raise SpecError(
                f"{self.describe()} reaches beyond floating point; give low and high, or a lower sd"
            )
        if self.q is None:
            return
        if max(abs(low), abs(high)) / self.q > 2**53:
            raise SpecError(f"q = {show(self.q)} is too fine a step for {self.describe()}; leave it out")
        first, last = self._multiples()
        if first > last:
            both = f"[{_bound(self.low)}, {_bound(self.high)}]"
            raise SpecError(f"no multiple of q = {show(self.q)} lies in {both}")

    def _multiples(self) -> tuple[float, float]:
        """The least and greatest multiple of the step within the bounds; infinite where there is none."""
        assert self.q is not None
        first = -math.inf if self.low is None else math.ceil(self.low / self.q - SLACK)
        first = max(first, 1) if self.log and self.low is not None else first  # 0 is below any low
        last = math.inf if self.high is None else math.floor(self.high / self.q + SLACK)
        return first, last

    def _limits(self) -> tuple[float, float]:
        """The least and greatest value, infinite where there is no bound; multiples of `q` if stepped."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if self.q is None:
            return low, high
        least, most = (k if math.isinf(k) else float(multiple(k, self.q)) for k in self._multiples())
        return min(max(least, low), high), max(min(most, high), low)

    def to_unit(self, value: Any) -> float:
        """The share of the distribution below `value`."""
        half = (self.q or 0.0) / 2
        a, b = self._cut()
        inside = [min(max(self._below(value + h), a), b) for h in (-half, half)]
        return (sum(inside) / 2 - a) / (b - a)

    def _below(self, value: float) -> float:
        if self.log:
            if value <= 0:
                return 0.0
            value = math.log(value)
        return NormalDist(self.mean, self.sd).cdf(value)

    def _cut(self) -> tuple[float, float]:
        """Shares of the uncut distribution below `low` and `high`."""
        return (
            0.0 if self.low is None else self._below(self.low),
            1.0 if self.high is None else self._below(self.high),
        )

    def why_not(self, value: Any) -> str | None:
        """Why `value` does not belong, or None."""
        if not is_number(value) or not math.isfinite(value):
            return "is not a finite number"
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            return f"is outside [{_bound(self.low)}, {_bound(self.high)}]"
        if self.log and (value < 0 or (value == 0 and self.q is None)):
            return "is not above zero"
        if self.q is not None and not is_multiple(value, self.q):
            return f"is not a multiple of {show(self.q)}"
        return None

    def describe(self) -> str:
        """`normal mean 0.0 sd 1.0`, with its bounds and step."""
        cut = "" if self.low is self.high is None else f" in [{_bound(self.low)}, {_bound(self.high)}]"
        step = "" if self.q is None else f" in steps of {show(self.q)}"
        return f"{self.kind} mean {show(self.mean)} sd {show(self.sd)}{cut}{step}"

    def form(self) -> dict[str, Any]:
        """The domain as it is written in YAML."""
        more = {name: getattr(self, name) for name in ("low", "high", "q")}
        return {self.kind: [self.mean, self.sd], **{k: v for k, v in more.items() if v is not None}}


class LogNormal(Normal):
    """The logarithm is normal; `mean` and `sd` are the logarithm's, `low` and `high` the value's."""

    __slots__ = ()
    kind = "lognormal"
    log = True


def _bound(value: float | None) -> str:
    return "..." if value is None else show(value)
