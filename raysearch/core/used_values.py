"""What optimizers really held while a segment was trained, as a table beside its curves.

A hyper-parameter of the space that an optimizer holds is recorded under its own name; a value of an optimizer
that no hyper-parameter stands for, under `held:` and the optimizer's name for it. Each has a first, last,
least and greatest value an iteration; a column that says nothing new is left out (see `columns_of`).
Where a hyper-parameter was changed and no optimizer held such a value, the column under `held:` is all NaN.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

HELD = "held:"
FIRST, LAST, LEAST, GREATEST = ":first", ":last", ":least", ":greatest"
SLOTS = {
    "learning_rate": "lr",
    "step_size": "lr",
    "eta": "lr",
    "wd": "weight_decay",
    "l2": "weight_decay",
    "beta_1": "beta1",
    "beta_2": "beta2",
}
KNOWN = ("lr", "weight_decay", "momentum", "beta1", "beta2")
_NO_RATE = frozenset(
    ("decay", "gamma", "factor", "mult", "multiplier", "ratio", "min", "final", "end", "warmup", "steps")
)
_EXPONENTS = frozenset(("log", "log2", "log10", "ln", "neg", "exp", "exponent"))
_BETAS = {"betas/0": "beta1", "betas/1": "beta2"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A hyper-parameter that an optimizer may hold.

    Attributes:
        name: in the configuration, nested ones as `outer/inner`.
        slot: "lr", "weight_decay", "momentum", "beta1", "beta2", or a name that groups know.
        given: its value in the configuration that the trainable was given.
        asked: the value to train with.
        saved: its value in the state that is restored; None for a fresh model.
    """

    name: str
    slot: str
    given: float
    asked: float
    saved: float | None = None

    @property
    def factor(self) -> float:
        """What the optimizer's value is multiplied by at its step."""
        return self.asked / self.given if self.given else 1.0


class Held(NamedTuple):
    """What an optimizer held at its steps of one iteration; NaN where it took none."""

    first: float
    last: float
    least: float
    greatest: float


NOTHING = Held(math.nan, math.nan, math.nan, math.nan)


@functools.cache
def slot_of(name: str) -> str:
    """The value of an optimizer for which a hyper-parameter of this name stands, if it stands for one.

    `lr` for `model/learning_rate`, `lr_g` or `optim.head_lr`; else its own last part.
    """
    parts = re.split(r"[/.]", name.lower())
    if "/".join(parts[-2:]) in _BETAS:
        return _BETAS["/".join(parts[-2:])]
    last = parts[-1]
    if last in SLOTS:
        return SLOTS[last]
    words = _words(last)
    if "wd" in words or "weight_decay" in last:
        return "weight_decay"
    is_rate = "lr" in words or "learning_rate" in last
    return "lr" if is_rate and not _NO_RATE.intersection(words) else last


@functools.cache
def is_exponent(name: str) -> bool:
    """Whether a hyper-parameter of this name is the logarithm of the value that it stands for."""
    return not _EXPONENTS.isdisjoint(_words(name.lower()))


def _words(name: str) -> list[str]:
    return re.split(r"[_\-./]", name)


def is_known(name: str) -> bool:
    """Whether a hyper-parameter of this name is meant for an optimizer."""
    return slot_of(name) in KNOWN


def apart(wanted: Sequence[Wanted]) -> list[Wanted]:
    """The same with values that differ in the last bit where two of a slot are equal, to tell them apart."""
    taken: set[tuple[str, float]] = set()
    result = []
    for w in wanted:
        given = w.given
        if w.slot not in KNOWN or not isinstance(given, float):
            result.append(w)
            continue
        while (w.slot, given) in taken:
            given = math.nextafter(given, math.inf)
        taken.add((w.slot, given))
        result.append(replace(w, given=given, asked=given if w.given == w.asked else w.asked))
    return result


def columns_of(name: str, series: Sequence[Held]) -> dict[str, list[float]]:
    """The columns of one value: one where it never moves in an iteration, else first, last and extremes."""
    if all(_is_still(held) for held in series):
        return {name: [held.first for held in series]}
    columns = {
        name + FIRST: [held.first for held in series],
        name + LAST: [held.last for held in series],
    }
    if not all(_is_between(held) for held in series):
        columns[name + LEAST] = [held.least for held in series]
        columns[name + GREATEST] = [held.greatest for held in series]
    return columns


def series_of(used: Mapping[str, Sequence[float]], name: str) -> list[Held]:
    """What `columns_of` was given; empty where the table has nothing of this name."""
    if name in used:
        return [Held(value, value, value, value) for value in used[name]]
    if name + FIRST not in used:
        return []
    first, last = used[name + FIRST], used[name + LAST]
    least = used.get(name + LEAST) or [min(pair) for pair in zip(first, last, strict=True)]
    greatest = used.get(name + GREATEST) or [max(pair) for pair in zip(first, last, strict=True)]
    return [Held(*values) for values in zip(first, last, least, greatest, strict=True)]


def ends_of(used: Mapping[str, Sequence[float]], name: str) -> tuple[float, float] | None:
    """(first, last) value over a segment; None where it is not known."""
    known = [held for held in series_of(used, name) if not math.isnan(held.first)]
    return (known[0].first, known[-1].last) if known else None


def _is_still(held: Held) -> bool:
    return math.isnan(held.first) or held.least == held.greatest


def _is_between(held: Held) -> bool:
    return math.isnan(held.first) or {held.least, held.greatest} <= {held.first, held.last}
