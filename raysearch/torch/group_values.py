"""The values of an optimizer's parameter groups: where they lie, and what they were at the steps taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import torch

from raysearch.core.used_values import Held
from raysearch.torch.bindings import Levels

RATE_KEYS = ("initial_lr", "max_lr", "lr")
BETAS = {"beta1": 0, "beta2": 1}  # where the slot lies in Adam's `betas`


class Series(NamedTuple):
    """Names a value of an optimizer: the hyper-parameter or `held:` slot, the optimizer, and the group."""

    name: str
    optimizer: int
    group: int


@dataclass(slots=True)
class Watched:
    """A value of a parameter group that is noted at each step.

    Attributes:
        key, part: where it lies: `group[key]`, or `group[key][part]`.
        factor: what it is multiplied by during a step.
        most: a multiplied momentum is at most this (or what it was before).
        base, multiplied: the object that was last multiplied, and what came of it.
        seen: the object that was last noted in this iteration; the same object is the same value.
    """

    series: Series
    slot: str
    key: str
    part: int | None
    factor: float = 1.0
    most: float = math.inf
    base: Any = None
    multiplied: Any = None
    seen: Any = None
    version: int = 0
    first: Any = None
    last: Any = None
    least: Any = None
    greatest: Any = None

    def times_factor(self, value: Any) -> Any:
        """The value of the group with the number at `part` multiplied; betas stay a tuple or list."""
        number = value if self.part is None else value[self.part]
        new = number * self.factor
        if new > self.most:
            new = max(number, self.most)
        if self.part is None:
            return new
        return type(value)((*value[: self.part], new, *value[self.part + 1 :]))

    def note(self, value: Any) -> None:
        """Takes in another object than the last one; a tensor only if it was written to. No device waits."""
        if isinstance(value, torch.Tensor):
            version = value._version
            if value is self.seen and version == self.version:
                return
            self.seen, self.version, value = value, version, value.detach().clone()
        elif value is None:
            return
        else:
            self.seen = value
            value = value if self.part is None else value[self.part]
        self.last = value
        if self.first is None:
            self.first = self.least = self.greatest = value
        elif isinstance(value, torch.Tensor):
            self.least, self.greatest = torch.minimum(self.least, value), torch.maximum(self.greatest, value)
        elif value < self.least:
            self.least = value
        elif value > self.greatest:
            self.greatest = value

    def taken(self) -> Held:
        """What was noted since the last time."""
        held = Held(float(self.first), float(self.last), float(self.least), float(self.greatest))
        self.seen = self.first = self.last = self.least = self.greatest = None
        return held


def joined(one: Held, other: Held) -> Held:
    """Both after one another."""
    return Held(one.first, other.last, min(one.least, other.least), max(one.greatest, other.greatest))


def place_of(group: Mapping[str, Any], slot: str) -> tuple[str, int | None] | None:
    """(key, part) of a slot in a parameter group; None where the group has no such number."""
    if slot in BETAS and slot not in group:
        betas = group.get("betas")
        return ("betas", BETAS[slot]) if isinstance(betas, (tuple, list)) and len(betas) == 2 else None
    value = group.get(slot)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    is_scalar = isinstance(value, torch.Tensor) and value.numel() == 1
    return (slot, None) if is_number or is_scalar else None


def levels_of(group: Mapping[str, Any], slots: Set[str]) -> Levels:
    """slot -> the values of a group that may be the configured one."""
    found: dict[str, tuple[float, ...]] = {}
    for slot in slots:
        place = place_of(group, slot)
        if place is None:
            continue
        keys = [key for key in (RATE_KEYS if slot == "lr" else (place[0],)) if key in group]
        found[slot] = tuple(float(group[k] if place[1] is None else group[k][place[1]]) for k in keys)
    return found
