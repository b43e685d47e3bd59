"""What every domain is: a set that one hyper-parameter's value is drawn from, mapped to the unit interval.

A domain maps u in [0, 1] to a value so that a uniform u gives the domain's distribution, and a value
back to its u (for discrete domains: the centre of the value's bin). Samplers and models see only unit
cubes; scales, integers, steps and names are known to the domains and nowhere else.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Units = NDArray[np.float64]
SLACK = 1e-9  # in steps: 0.3 / 0.1 is 2.9999999999999996


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

    @property
    def is_continuous(self) -> bool:
        """Whether neighbouring u give different values; False where values are stepped or listed."""
        return self.cardinality is None

    def snap(self, u: Units) -> Units:
        """`to_unit(from_unit(u))`, shape (n,): the centre of each u's bin; `u` itself in a continuum."""
        if self.is_continuous:
            return u
        return np.array([self.to_unit(value) for value in self.column(u)], dtype=np.float64)

    def centres(self) -> list[float]:
        """The u of every value, in order. Raises ValueError unless their number is known."""
        raise ValueError(f"{self.describe()} has no countable values")

    def from_unit(self, u: float | Units) -> Any:
        """The value at `u`, clipped to [0, 1]; for an array of u an array of values."""
        return self.array(u) if isinstance(u, np.ndarray) else self.value_at(float(u))

    def contains(self, value: Any) -> bool:
        """Whether `value` could be drawn."""
        return self.why_not(value) is None


def multiple(k: Any, q: float) -> Any:
    """`k` times `q`, an array or float64, with as many digits as `q` has: 3 * 0.1 is 0.3."""
    decimals = _decimals(q)
    return k * q if decimals is None else np.round(k * q, decimals)


def is_multiple(value: float, q: float) -> bool:
    """Whether `value` is a multiple of `q`, as far as floats can say."""
    return abs(value - round(value / q) * q) <= SLACK * q + 1e-15 * abs(value)


@functools.lru_cache(maxsize=1024)
def _decimals(q: float) -> int | None:
    """Digits behind the point of `q`; None if there are so many that rounding to them is none."""
    decimals = -int(Decimal(repr(q)).normalize().as_tuple().exponent)
    return max(decimals, 0) if decimals <= 15 else None
