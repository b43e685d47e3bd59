"""Base schedules: the shape over a training by which what panda learns is multiplied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.errors import SpecError, unknown

NAMES = ("constant", "cosine", "linear")


@dataclass(frozen=True)
class ScheduleShape:
    """A factor of the learning rate over a training.

    Attributes:
        name: "constant" is 1 throughout; "linear" and "cosine" fall from 1 to 0.
        warmup: the share of the training in which the factor rises from 0 to 1 before that.
    """

    name: str = "constant"
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise SpecError(f"base_schedule: {unknown('schedule', self.name, NAMES)}")
        is_number = isinstance(self.warmup, (int, float)) and not isinstance(self.warmup, bool)
        if not is_number or not 0.0 <= self.warmup < 1.0:
            raise SpecError(
                f"base_schedule.warmup = {self.warmup!r} must be a share of the training, from 0 to below 1"
            )

    def at(self, share: float) -> float:
        """The factor after this share of the training."""
        if share < self.warmup:
            return share / self.warmup
        left = (1.0 - share) / (1.0 - self.warmup)
        if self.name == "linear":
            return left
        return 0.5 * (1.0 - math.cos(math.pi * left)) if self.name == "cosine" else 1.0

    def over(self, start: int, stop: int, whole: int) -> float:
        """The factor for the iterations from start to stop: the one in their middle."""
        return self.at((start + stop) / 2 / whole)


def shape_setting(value: Any) -> ScheduleShape:
    """What stands under `base_schedule:`, read: a name, or {name: cosine, warmup: 0.05}.

    Raises:
        SpecError: for anything else.
    """
    if isinstance(value, ScheduleShape):
        return value
    if isinstance(value, Mapping):
        for field in value:
            if field not in ("name", "warmup"):
                raise SpecError(unknown("field of base_schedule", field, ("name", "warmup")))
        return ScheduleShape(**value)
    if isinstance(value, str):
        return ScheduleShape("constant", 0.05) if value == "warmup" else ScheduleShape(value)
    raise SpecError(
        f"base_schedule = {value!r} is none of {', '.join(NAMES)}, and no {{name: cosine, warmup: 0.05}}"
    )
