"""Which hyper-parameter of a configuration stands for which value of an optimizer's parameter groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from raysearch.core.used_values import Wanted, is_exponent

SAME = 1e-6  # relative: a learning rate may be a float32 tensor
ROUND_DIGITS = 2
PARTS = 1024  # a multiple of 1 / PARTS is taken for a batch size over a reference: lr * 96 / 256
EXACT = 1e-12  # relative: two ways of computing one value

Levels = Mapping[str, Sequence[float]]  # slot -> the values of a group that may be the configured one


def bind(groups: Sequence[Levels], wanted: Sequence[Wanted]) -> dict[tuple[int, str], str]:
    """(group, slot) -> name of the hyper-parameter that the value there is, or is derived from.

    A group belongs to the hyper-parameter whose value it holds. The other groups of an optimizer keep their
    ratios to it, so they belong to it too, where it is the only one. Where no group holds it, a learning
    rate is still recognised as the single one of the configuration if it is a round multiple of it (not
    where that has just changed: then the old value may be such a multiple). Zeros belong to none.
    """
    found: dict[tuple[int, str], str] = {}
    for slot in {w.slot for w in wanted}:
        able = [w for w in wanted if w.slot == slot and w.given]
        exact = {g: name for g, levels in enumerate(groups) if (name := _holder(levels.get(slot, ()), able))}
        names = set(exact.values())
        if not names and slot == "lr" and len(able) == 1:
            names = {w.name for w in able if _is_round_multiple(groups, w)}
        if len(names) == 1:
            (name,) = names
            exact = {g: name for g, levels in enumerate(groups) if any(levels.get(slot, ()))}
        found.update({(g, slot): name for g, name in exact.items()})
    return found


def _holder(levels: Sequence[float], able: Sequence[Wanted]) -> str | None:
    """The only hyper-parameter that has one of these values: to the last bit, else but for rounding."""
    for tolerance in (0.0, SAME):
        names = {
            w.name for w in able for v in levels if math.isclose(v, w.given, rel_tol=tolerance, abs_tol=0.0)
        }
        if names:
            return names.pop() if len(names) == 1 else None
    return None


def _is_round_multiple(groups: Sequence[Levels], wanted: Wanted) -> bool:
    if is_exponent(wanted.name) or (wanted.saved is not None and wanted.saved != wanted.given):
        return False
    ratios = [value / wanted.given for levels in groups for value in levels.get(wanted.slot, ())]
    return any(
        math.isclose(ratio, float(f"{ratio:.{ROUND_DIGITS}g}"), rel_tol=SAME)
        or _is_fraction(ratio)
        or _is_fraction(ratio * ratio)
        for ratio in ratios
        if ratio > 0 and math.isfinite(ratio)
    )


def _is_fraction(ratio: float) -> bool:
    """Whether rates that grow with the batch size (or, squared, with its root) may have such a ratio."""
    parts = round(ratio * PARTS)
    return 0 < parts <= PARTS * PARTS and math.isclose(ratio * PARTS, parts, rel_tol=EXACT)


_MADE_OF: Sequence[Callable[[float], float]] = (
    lambda x: x,
    lambda x: 1.0 - x,
    lambda x: 10.0**x,
    lambda x: 10.0**-x,
    math.exp,
    lambda x: math.exp(-x),
    lambda x: 2.0**x,
    lambda x: 2.0**-x,
)


def is_made_of(level: float, value: float) -> bool:
    """Whether an optimizer's value is a hyper-parameter's, or 1 - it, or a power with it as the exponent."""
    for made in _MADE_OF:
        try:
            if level and math.isclose(level, made(value), rel_tol=EXACT):
                return True
        except OverflowError:
            continue
    return False
