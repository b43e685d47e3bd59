"""Suggestions of other libraries' samplers, rounded onto the space: 64.0 for an integer, a step, a tuple."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.core.values import is_number, plain
from raysearch.errors import SpecError
from raysearch.space.domains import Choice, Domain, Fixed, Interval, Normal
from raysearch.space.names import dotted
from raysearch.space.space import Space

EXACT = 1e-6  # of an interval's width: less than so much outside is rounding


@dataclass(frozen=True, slots=True)
class Fitted:
    """A suggestion as a configuration of the space.

    Attributes:
        config: values rounded to the nearest of their domains, inactive names taken out.
        why_not: why it is no configuration of the space all the same; empty if it is one.
        moved: the names whose values lay outside their bounds, and were moved to them.
    """

    config: dict[str, Any]
    why_not: str
    moved: tuple[str, ...]


def fitted(space: Space, suggested: Mapping[str, Any]) -> Fitted:
    """What a sampler of another library suggests, as the nearest configuration of the space."""
    values = space.flatten(suggested)
    found: dict[str, Any] = {}
    moved = []
    for name, value in values.items():
        domain = space.domains.get(name)
        found[name] = value if domain is None else nearest(domain, value)
        if domain is not None and _is_far(domain, value):
            moved.append(dotted(name))
    fixed = {n: d.value_at(0.5) for n, d in space.domains.items() if isinstance(d, Fixed)}
    config = space.prune(space.nest({**found, **fixed}))
    return Fitted(config, space.why_not(config) or "", tuple(moved))


def nearest(domain: Domain, value: Any) -> Any:
    """The domain's value nearest to `value`; `value` itself, as a plain one, where nothing is near."""
    try:
        value = plain(value)
    except SpecError:
        return value
    if isinstance(domain, Choice):
        place = domain.index(value)
        return value if place is None else domain.value_at(domain.to_unit(value))
    if not is_number(value) or domain.contains(value):
        return value
    if isinstance(domain, Normal):
        return domain.value_at(domain.to_unit(value))
    return _on_grid(domain, value) if isinstance(domain, Interval) else value


def _on_grid(domain: Interval, value: float) -> Any:
    inside = min(max(value, domain.low), domain.high)
    step, steps = domain.step, domain.steps
    if step is None or steps is None:
        return float(inside)
    k = min(max(round(inside / step), steps[0]), steps[1])
    return domain.value_at(domain.to_unit(k * step))


def _is_far(domain: Domain, value: Any) -> bool:
    """Whether a number lies outside its domain's bounds by more than rounding."""
    low, high = getattr(domain, "low", None), getattr(domain, "high", None)
    if not is_number(value) or not isinstance(domain, (Interval, Normal)):
        return False
    slack = EXACT * (high - low) if low is not None and high is not None else 0.0
    return (low is not None and value < low - slack) or (high is not None and value > high + slack)
