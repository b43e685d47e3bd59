"""Which hyper-parameter of a configuration stands for which value of an optimizer's parameter groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from raysearch.core.used_values import Wanted

SAME = 1e-6  # relative: a learning rate may be a float32 tensor
ROUND_DIGITS = 2

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
    if wanted.saved is not None and wanted.saved != wanted.given:
        return False
    for levels in groups:
        for value in levels.get(wanted.slot, ()):
            ratio = value / wanted.given
            if ratio and math.isclose(ratio, float(f"{ratio:.{ROUND_DIGITS}g}"), rel_tol=SAME):
                return True
    return False
