"""Values that are listed: a choice without an order, steps with one, and a single fixed value."""

from __future__ import annotations

import bisect
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from raysearch.core.values import as_number, fresh, identity, plain, same, show, show_all
from raysearch.errors import SpecError
from raysearch.space.base import Domain, Units


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
        return _objects(self.column(u))

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

    def centres(self) -> list[float]:
        """The u of every value, in order."""
        return [self.to_unit(value) for value in self.values]

    def why_not(self, value: Any) -> str | None:
        """Why `value` does not belong, or None."""
        for known in self.values:
            if value is known:
                return None
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
        return _objects(self.column(u))

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
    if not math.isfinite(sum(numbers)):
        raise SpecError(
            f"weights as large as {show(max(numbers))} add up to more than 1.8e308; make them smaller"
        )
    return numbers


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    """A flat array of them; numpy alone would make more axes of lists that are as long as each other."""
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out
