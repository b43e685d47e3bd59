"""Domains: the sets that one hyper-parameter's value is drawn from, each mapped to the unit interval.

Every domain maps u in [0, 1] to a value so that a uniform u gives the domain's distribution, and a
value back to its u (for discrete domains: the centre of the value's bin). Samplers and models see
only unit cubes; scales, integers, steps and names are known here and nowhere else.
"""

from __future__ import annotations

import bisect
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from raysearch.errors import SpecError
from raysearch.values import as_integer, as_number, fresh, identity, is_number, plain, same, show, show_all

Units = NDArray[np.float64]
_TINY = 2.0**-53
_SLACK = 1e-9  # in steps: 0.3 / 0.1 is 2.9999999999999996


class Domain(ABC):
    """What a hyper-parameter may be. Subclasses are frozen; their constructors raise SpecError."""

    __slots__ = ()
    kind: ClassVar[str]
    is_numeric: ClassVar[bool] = False
    is_ordered: ClassVar[bool] = False
    is_categorical: ClassVar[bool] = False

    @abstractmethod
    def value_at(self, u: float) -> Any:
        """The value at one `u`, a Python scalar; the same as `array` gives, to the last bit."""

    @abstractmethod
    def array(self, u: Units) -> NDArray[Any]:
        """Values at `u`, shape (n,): float64 or int64, dtype object for named values."""

    @abstractmethod
    def to_unit(self, value: Any) -> float:
        """The u of a value that the domain contains: `from_unit(to_unit(v)) == v` up to rounding."""

    @abstractmethod
    def why_not(self, value: Any) -> str | None:
        """Why `value` does not belong, as the end of a sentence: `is outside [1e-4, 1.0]`."""

    @abstractmethod
    def describe(self) -> str:
        """The domain in a few words for tables and error texts."""

    @property
    @abstractmethod
    def cardinality(self) -> int | None:
        """How many values there are; None if they form a continuum."""

    @abstractmethod
    def form(self) -> dict[str, Any]:
        """The domain as it is written in YAML: `{"uniform": [0.0, 1.0]}`."""

    def column(self, u: Units) -> list[Any]:
        """Values at `u` as Python scalars; lists and dicts among them are copies."""
        return self.array(u).tolist()  # type: ignore[no-any-return]

    def from_unit(self, u: float | Units) -> Any:
        """The value at `u`, clipped to [0, 1]; for an array of u an array of values."""
        return self.array(u) if isinstance(u, np.ndarray) else self.value_at(float(u))

    def contains(self, value: Any) -> bool:
        """Whether `value` could be drawn."""
        return self.why_not(value) is None


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
        return math.ceil(self.low / step - _SLACK), math.floor(self.high / step + _SLACK)

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
        return min(max(float(_multiple(k, self.q)), self.low), self.high)

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
        multiples: Units = np.asarray(_multiple(k, self.q))
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

    def why_not(self, value: Any) -> str | None:
        """Why `value` does not belong, or None."""
        if not is_number(value):
            return f"is not {'an integer' if self.integer else 'a number'}"
        if not self.low <= value <= self.high:  # NaN too
            return f"is outside [{show(self.low)}, {show(self.high)}]"
        if self.integer and not isinstance(value, (int, np.integer)):
            return "is not an integer"
        if self.q is not None and abs(value - round(value / self.q) * self.q) > _SLACK * self.q:
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


def _multiple(k: Any, q: float) -> Any:
    """`k` times `q`, an array or float64, with as many digits as `q` has: 3 * 0.1 is 0.3."""
    decimals = _decimals(q)
    return k * q if decimals is None else np.round(k * q, decimals)


@functools.lru_cache(maxsize=1024)
def _decimals(q: float) -> int | None:
    """Digits behind the point of `q`; None if there are so many that rounding to them is none."""
    decimals = -int(Decimal(repr(q)).normalize().as_tuple().exponent)
    return max(decimals, 0) if decimals <= 15 else None


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
        a, b = self._cut()
        if b - a < 1e-12:
            raise SpecError(f"next to nothing of {self.describe()} lies between its bounds; widen them")

    @property
    def cardinality(self) -> int | None:
        """How many values there are; None unless there are a step and both bounds."""
        if self.q is None or self.low is None or self.high is None:
            return None
        return math.floor(self.high / self.q + _SLACK) - math.ceil(self.low / self.q - _SLACK) + 1

    def value_at(self, u: float) -> float:
        """The value at one `u`; u = 0 and 1 give the bounds, or about 8 standard deviations."""
        a, b = self._cut()
        share = min(max(a + min(max(u, 0.0), 1.0) * (b - a), _TINY), 1 - _TINY)
        x = NormalDist(self.mean, self.sd).inv_cdf(share)
        x = float(np.exp(x)) if self.log else x
        low, high = self._limits()
        if self.q is not None:
            x = float(_multiple(round(x / self.q), self.q))
        return min(max(x, low), high)

    def array(self, u: Units) -> NDArray[Any]:
        """Values at `u`, shape (n,), float64."""
        return np.array([self.value_at(v) for v in u.tolist()], dtype=np.float64)

    def _limits(self) -> tuple[float, float]:
        """The least and greatest value, infinite where there is no bound; multiples of `q` if stepped."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if self.q is None:
            return low, high
        q = self.q
        return (
            low if math.isinf(low) else float(_multiple(math.ceil(low / q - _SLACK), q)),
            high if math.isinf(high) else float(_multiple(math.floor(high / q + _SLACK), q)),
        )

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
        if self.q is not None and abs(value - round(value / self.q) * self.q) > _SLACK * self.q:
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


@dataclass(frozen=True, slots=True)
class Choice(Domain):
    """One of `values`, without an order; drawn in proportion to `weights`, equally without them."""

    values: Sequence[Any]
    weights: Sequence[float] | None = None
    _places: dict[Hashable, int] = field(init=False, repr=False, compare=False)
    _upper: tuple[float, ...] = field(init=False, repr=False, compare=False)  # ends of the bins

    kind: ClassVar[str] = "choice"
    is_categorical: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _distinct(self.values, self.kind))
        object.__setattr__(self, "_places", {identity(v): i for i, v in enumerate(self.values)})
        weights = None if self.weights is None else _weights(self.weights, len(self.values))
        object.__setattr__(self, "weights", weights)
        shares = np.cumsum(np.ones(len(self.values)) if weights is None else np.array(weights))
        object.__setattr__(self, "_upper", tuple((shares / shares[-1]).tolist()))

    @property
    def cardinality(self) -> int | None:
        """How many values there are."""
        return len(self.values)

    def array(self, u: Units) -> NDArray[Any]:
        """Values at `u`, dtype object."""
        out = np.empty(len(u), dtype=object)
        for i, value in enumerate(self.column(u)):
            out[i] = value
        return out

    def column(self, u: Units) -> list[Any]:
        """Values at `u`; lists and dicts among them are copies."""
        values = self.values
        if any(isinstance(v, (list, dict)) for v in values):
            return [fresh(values[k]) for k in self._index(u)]
        return [values[k] for k in self._index(u)]

    def value_at(self, u: float) -> Any:
        """The value at one `u`."""
        n = len(self.values)
        k = math.floor(u * n) if self.weights is None else bisect.bisect_right(self._upper[:-1], u)
        return fresh(self.values[min(max(k, 0), n - 1)])

    def _index(self, u: Units) -> list[int]:
        n = len(self.values)
        if self.weights is None:
            k = np.floor(u * n)
        else:
            k = np.searchsorted(self._upper[:-1], u, side="right").astype(np.float64)
        return np.minimum(np.maximum(k, 0), n - 1).astype(np.int64).tolist()  # type: ignore[no-any-return]

    def index(self, value: Any) -> int | None:
        """Position of `value` among the values; None if it is not one of them."""
        try:
            return self._places.get(identity(value))
        except TypeError:  # not hashable: no plain value
            return None

    def to_unit(self, value: Any) -> float:
        """The centre of the value's bin."""
        k = self.index(value)
        if k is None:
            raise SpecError(f"{show(value)} {self.why_not(value)}")
        if self.weights is None:
            return (k + 0.5) / len(self.values)
        return ((self._upper[k - 1] if k else 0.0) + self._upper[k]) / 2

    def why_not(self, value: Any) -> str | None:
        """Why `value` does not belong, or None."""
        return f"is not one of {show_all(self.values)}" if self.index(value) is None else None

    def describe(self) -> str:
        """`choice of 'sgd', 'adamw'`."""
        return f"{self.kind} of {show_all(self.values)}"

    def form(self) -> dict[str, Any]:
        """The domain as it is written in YAML."""
        weights = {} if self.weights is None else {"weights": list(self.weights)}
        return {self.kind: [fresh(v) for v in self.values], **weights}


@dataclass(frozen=True, slots=True)
class Ordinal(Choice):
    """One of `values`, whose order means something: neighbours are alike."""

    kind: ClassVar[str] = "ordinal"
    is_categorical: ClassVar[bool] = False
    is_ordered: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Fixed(Domain):
    """Always `value`: no axis of the search, but in every configuration."""

    value: Any
    kind: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", plain(self.value))

    @property
    def cardinality(self) -> int | None:
        """One."""
        return 1

    def value_at(self, u: float) -> Any:
        """The value."""
        return fresh(self.value)

    def array(self, u: Units) -> NDArray[Any]:
        """The value, as often as there are u."""
        out = np.empty(len(u), dtype=object)
        for i, value in enumerate(self.column(u)):
            out[i] = value
        return out

    def column(self, u: Units) -> list[Any]:
        """The value, as often as there are u; each a copy if it is a list or dict."""
        return [fresh(self.value) for _ in range(len(u))]

    def to_unit(self, value: Any) -> float:
        """One half: the value has no axis."""
        return 0.5

    def why_not(self, value: Any) -> str | None:
        """Why `value` does not belong, or None."""
        return None if same(value, self.value) else f"is not the fixed value {show(self.value)}"

    def describe(self) -> str:
        """`fixed 'sgd'`."""
        return f"fixed {show(self.value)}"

    def form(self) -> dict[str, Any]:
        """The domain as it is written in YAML."""
        return {self.kind: fresh(self.value)}


def _distinct(values: Any, kind: str) -> tuple[Any, ...]:
    """`values` as a tuple of plain values; raises SpecError if empty, repeated or not a list."""
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)):
        raise SpecError(f"{kind} needs a list of values, not {values!r}")
    listed = tuple(plain(v) for v in values)
    if not listed:
        raise SpecError(f"{kind} needs at least one value, got an empty list")
    seen: set[Hashable] = set()
    for value in listed:
        if identity(value) in seen:
            hint = "; to draw it more often give weights" if kind == "choice" else ""
            raise SpecError(f"{kind} lists {show(value)} twice{hint}")
        seen.add(identity(value))
    return listed


def _weights(weights: Any, n: int) -> tuple[float, ...]:
    """`weights` as floats; raises SpecError unless there are `n`, all above zero."""
    if isinstance(weights, str) or not isinstance(weights, (Sequence, np.ndarray)) or len(weights) != n:
        raise SpecError(f"weights must be a list of {n} numbers, one for each value, not {weights!r}")
    numbers = tuple(as_number(w, "a weight") for w in weights)
    if min(numbers) <= 0:
        raise SpecError(f"weight {show(min(numbers))} must be above zero; leave out values never to be drawn")
    return numbers


KINDS: dict[str, type[Domain]] = {
    cls.kind: cls
    for cls in (Uniform, LogUniform, RandInt, LogRandInt, Normal, LogNormal, Choice, Ordinal, Fixed)
}
