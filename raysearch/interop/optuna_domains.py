"""Our domains for Optuna's distributions, given by the name of their class and their attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from raysearch.core.values import show
from raysearch.errors import SpecError
from raysearch.space.domains import Choice, Domain, Fixed, LogRandInt, LogUniform, Ordinal, RandInt, Uniform


def optuna_domain(kind: str, given: Mapping[str, Any]) -> Domain:
    """Our domain for an Optuna distribution, given the name of its class and its attributes.

    Raises:
        SpecError: the steps of a number do not begin at a multiple of the step, and are many.
    """
    if kind == "CategoricalDistribution":
        return Choice(tuple(given["choices"]))
    low, high, log, step = given["low"], given["high"], given.get("log", False), given.get("step")
    if low == high:
        return Fixed(low)
    if kind == "IntDistribution":
        q = None if step in (None, 1) else step
        cls: Callable[..., Domain] = LogRandInt if log else RandInt
    else:
        q, cls = step, LogUniform if log else Uniform
    if q is None or abs(low / q - round(low / q)) < 1e-9:
        return cls(low, high, q)
    values = [low + k * q for k in range(int((high - low) / q + 1e-9) + 1)]
    if len(values) > 1000:
        raise SpecError(
            f"steps of {show(q)} from {show(low)}: the lower bound must be a multiple of the step"
        )
    return Ordinal(tuple(values))
