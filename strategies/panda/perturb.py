"""Nudges: one hyper-parameter moved a little, on its own scale, inside its domain.

Logarithmic domains move by a factor. Linear ones move by the share of their width that the factor
would move a logarithmic domain of WIDTH doublings. Whole numbers move by one at least, ordered values
to a neighbour, values without an order to another of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from raysearch.core.segment import Config
from raysearch.core.values import show
from raysearch.errors import LocatedError, SpecError, unknown
from raysearch.space.categorical import Choice
from raysearch.space.domains import Domain
from raysearch.space.names import flat_name
from raysearch.space.numeric import Interval
from raysearch.space.space import Space

WIDTH = 10.0  # doublings that a linear domain's width is worth
RATE_NAMES = ("lr", "learning_rate", "eta", "step_size")
BATCH_NAMES = ("batch_size", "batch")
EDGE = 1e-9


def nudged_names(space: Space, names: Sequence[str] | None) -> tuple[str, ...]:
    """The names to nudge, as the space spells them; all real-valued ones if None.

    Raises:
        SpecError: a name is not in the space, or is fixed; or nothing is left to nudge.
    """
    if names is None:
        found = tuple(n for n in space.free if _is_real(space.domains[n]))
        if not found:
            raise SpecError(
                "there is no real-valued hyper-parameter in the space to nudge; name others in `nudge`, "
                f"those that may change in the middle of a training: {', '.join(space.free) or 'none'}"
            )
        return found
    spelt = [flat_name(str(name), space.names) for name in names]
    for name in spelt:
        if name not in space.domains:
            raise LocatedError("nudge", unknown("hyper-parameter", name, space.free))
        if name not in space.free or space.domains[name].cardinality == 1:
            raise LocatedError(
                "nudge", f"{name} is fixed in the space; give it a domain, or leave it out of `nudge`"
            )
    if not spelt:
        raise LocatedError(
            "nudge", "it names nothing; leave it out to nudge every real-valued hyper-parameter"
        )
    return tuple(dict.fromkeys(spelt))


def rate_name(names: Sequence[str]) -> str | None:
    """The learning rate among the names; None if none is called so."""
    return next((n for n in names if n.rpartition("/")[2] in RATE_NAMES), None)


def lowers_noise(name: str, direction: int) -> bool:
    """Whether such a nudge makes the steps less noisy: a lower learning rate, a larger batch."""
    last = name.rpartition("/")[2]
    return (last in RATE_NAMES and direction < 0) or (last in BATCH_NAMES and direction > 0)


def moved(space: Space, config: Config, name: str, direction: int, factor: float) -> dict[str, Any] | None:
    """`config` with one hyper-parameter moved; None if it is inactive, at its bound or constrained.

    Args:
        direction: +1 or -1.
        factor: above 1, how far.
    """
    values = space.flatten(config)
    if name not in values:
        return None
    value = _moved(space.domains[name], values[name], direction, factor)
    if value == values[name]:
        return None
    return with_value(space, config, name, value)


def multiplied(
    space: Space, config: Config, name: str, factor: float, direction: int
) -> dict[str, Any] | None:
    """`config` with one hyper-parameter multiplied; None if it is inactive, at its bound or constrained.

    Args:
        factor: above 0.
        direction: +1 or -1, to which neighbour a listed value moves.
    """
    values = space.flatten(config)
    if name not in values:
        return None
    value, domain = values[name], space.domains[name]
    if isinstance(domain, Choice):
        changed = _neighbour(domain, value, direction)
    else:
        target = value * factor
        changed = _inside(domain, value, target, (target > value) - (target < value))
    return None if changed == value else with_value(space, config, name, changed)


def with_value(space: Space, config: Config, name: str, value: Any) -> dict[str, Any] | None:
    """`config` with this value; None if that is not in the space."""
    changed = space.nest({**space.flatten(config), name: value})
    return changed if space.allows(changed) else None


def scaled(space: Space, config: Config, name: str, share: float) -> dict[str, Any]:
    """`config` with a hyper-parameter at this share of its value, or its domain's nearest from below.

    Not below the lowest value of the domain.
    """
    values = space.flatten(config)
    domain = space.domains[name]
    if share == 1.0 or name not in values or domain.is_categorical:
        return dict(config)
    changed = with_value(space, config, name, _at_most(domain, values[name] * share))
    return dict(config) if changed is None else changed


def in_words(space: Space, old: Config, new: Config) -> str:
    """`lr 0.001 -> 0.002`: what changed."""
    before, after = space.flatten(old), space.flatten(new)
    changes = [
        f"{name} {_short(before.get(name))} -> {_short(value)}"
        for name, value in after.items()
        if before.get(name) != value
    ]
    return ", ".join(changes) or "nothing changed"


def _is_real(domain: Domain) -> bool:
    return domain.is_numeric and domain.cardinality is None


def _moved(domain: Domain, value: Any, direction: int, factor: float) -> Any:
    if isinstance(domain, Choice):
        return _neighbour(domain, value, direction)
    if isinstance(domain, Interval) and domain.log:
        target = value * factor**direction
    else:
        low, high = domain.value_at(0.0), domain.value_at(1.0)
        target = value + direction * (high - low) * math.log2(factor) / WIDTH
    return _inside(domain, value, target, direction)


def _inside(domain: Domain, value: Any, target: float, direction: int) -> Any:
    """The domain's value nearest to `target`; another one than `value` if there is one on that side."""
    low, high = domain.value_at(0.0), domain.value_at(1.0)
    step = getattr(domain, "step", None)
    if step is None:
        found = min(max(target, low), high)
        return value if abs(found - value) <= EDGE * abs(value) else found
    k = round(target / step)
    if k == round(value / step):
        k += direction
    return type(value)(min(max(k * step, low), high))


def _at_most(domain: Domain, target: float) -> Any:
    """The domain's greatest value that is at most `target`; its lowest if there is none."""
    if isinstance(domain, Choice):
        below = [v for v in domain.values if v <= target]
        return max(below) if below else min(domain.values)
    low, high = domain.value_at(0.0), domain.value_at(1.0)
    step = getattr(domain, "step", None)
    value = target if step is None else math.floor(target / step + EDGE) * step
    return type(low)(min(max(value, low), high))


def _neighbour(domain: Choice, value: Any, direction: int) -> Any:
    """The next value in this direction; without an order, the next one round the circle."""
    place = domain.index(value)
    assert place is not None
    to = place + direction
    if domain.is_categorical:
        return domain.values[to % len(domain.values)]
    return domain.values[min(max(to, 0), len(domain.values) - 1)]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else show(value)
