"""What a search compares: one objective or several, and limits on what its trainings report.

With one objective and no limits a score is a number, lower is better, +inf the worst. Else it is a
`Standing`: such a number, of the leading objective, that carries all objectives and how far each limit is
exceeded. It is a float so that whatever stores or orders scores of one objective takes it; what ranks trials
by all of them reads the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.formatting import number
from raysearch.core.segment import Mode, score, value_at
from raysearch.space.limits import Limit, violation_of
from raysearch.space.names import dotted

Curves = Mapping[str, Sequence[float]]


class Standing(float):
    """A score of several objectives: as a float that of the leading one, lower is better.

    Attributes:
        values: of every objective in the order of the spec, lower is better, all finite.
        excesses: of every limit, as `Limit.excess` gives it; at most 0 within.
    """

    __slots__ = ("excesses", "values")

    values: tuple[float, ...]
    excesses: tuple[float, ...]

    def __new__(cls, values: Sequence[float], excesses: Sequence[float] = ()) -> Standing:
        """The standing of these values, of which the first leads."""
        self = super().__new__(cls, values[0])
        self.values, self.excesses = tuple(values), tuple(excesses)
        return self

    def __reduce__(self) -> tuple[type[Standing], tuple[tuple[float, ...], tuple[float, ...]]]:
        return type(self), (self.values, self.excesses)

    @property
    def violation(self) -> float:
        """The sum of what is beyond the limits; 0 within all of them."""
        return violation_of(self.excesses)


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a search compares.

    Attributes:
        modes: objective -> "min" or "max", the leading one first.
        limits: on reported values; a trial beyond them ranks behind every one within.

    >>> goals = Objectives({"val_loss": "min", "accuracy": "max"}, (Limit("latency_ms <= 20"),))
    >>> goals.leading, goals.is_plain
    ('val_loss', False)
    >>> goals.standing({"val_loss": [0.5], "accuracy": [0.9], "latency_ms": [30.0]}).violation
    0.5
    """

    modes: Mapping[str, Mode]
    limits: tuple[Limit, ...] = field(default=())

    @property
    def leading(self) -> str:
        """The first objective: shown wherever there is room for one, and what panda improves."""
        return next(iter(self.modes))

    @property
    def is_plain(self) -> bool:
        """Whether there is one objective and no limit, so that a score is a number."""
        return len(self.modes) == 1 and not self.limits

    @property
    def several(self) -> bool:
        """Whether there is more than one objective."""
        return len(self.modes) > 1

    @property
    def kind(self) -> str:
        """What is compared, in words: `2 objectives and limits`."""
        count = f"{len(self.modes)} objectives" if self.several else "one objective"
        return f"{count} and limits" if self.limits else count

    @property
    def note(self) -> str:
        """What one shown value of the leading objective leaves out; empty for one metric alone."""
        lead = f"leads {len(self.modes)} objectives" if self.several else ""
        return " and ".join(filter(None, (lead, "bests are within the limits" if self.limits else "")))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that counts: the objectives, then what limits speak of besides."""
        more = sorted({name for limit in self.limits for name in limit.names} - set(self.modes))
        return (*self.modes, *more)

    def unlimited(self) -> list[str]:
        """The objectives after the leading one that no limit speaks of."""
        limited = {name for limit in self.limits for name in limit.names}
        return [name for name in self.modes if name != self.leading and name not in limited]

    def led(self) -> Objectives:
        """The leading objective alone, within the same limits."""
        return Objectives({self.leading: self.modes[self.leading]}, self.limits)

    def turned(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """The objectives of these values, lower is better; +inf where one is missing or not finite."""
        return tuple(score(values.get(name, math.nan), mode) for name, mode in self.modes.items())

    def standing(self, curve: Curves, count: int | None = None) -> float:
        """The score after the first `count` values of the curves, after all if None.

        Returns:
            A number with one objective and no limits; else a Standing. +inf where an objective, or what a
            limit speaks of, has no finite value.
        """
        if not self.is_plain:
            return self.standing_of(self.values_at(curve, count))
        ((name, mode),) = self.modes.items()
        return score(value_at(curve.get(name, ()), count), mode)

    def standing_of(self, values: Mapping[str, float]) -> float:
        """The same of one value a metric."""
        turned = self.turned(values)
        excesses = self.excesses(values)
        if not all(map(math.isfinite, (*turned, *excesses))):
            return math.inf
        return Standing(turned, excesses)

    def values_at(self, curve: Curves, count: int | None = None) -> dict[str, float]:
        """The last finite one of the first `count` values of each metric that counts; NaN if none."""
        return {name: value_at(curve.get(name, ()), count) for name in self.metrics}

    def excesses(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """How far each limit is exceeded by these values; at most 0 within, +inf where unknown."""
        return tuple(limit.excess(values) for limit in self.limits)

    def meets(self, values: Mapping[str, float]) -> bool:
        """Whether these values are within every limit."""
        return all(excess <= 0 for excess in self.excesses(values))

    def beyond(self, values: Mapping[str, float]) -> str:
        """The limits that these values exceed, in words; empty within all of them."""
        broken = [one for one in self.limits if not one.excess(values) <= 0]
        return "; ".join(one.in_words(values) for one in broken)

    def in_words(self, values: Mapping[str, float], digits: int = 4) -> str:
        """The values of the objectives: `val_loss 0.31, latency_ms 18.2`."""
        return ", ".join(f"{dotted(n)} {number(values.get(n, math.nan), digits)}" for n in self.modes)


def objectives_in(spec: Mapping[str, Any], metric: str, mode: Mode) -> Objectives:
    """The objectives and limits in the fields of a run's spec; the metric alone where it is none of them."""
    modes = spec.get("objectives") or {metric: mode}
    modes = modes if metric in modes else {metric: mode}
    return Objectives(modes, tuple(map(Limit, spec.get("limits") or ())))


def violation(standing: float) -> float:
    """How far a score is beyond limits: 0 for one without limits, +inf for a failure."""
    if isinstance(standing, Standing):
        return standing.violation
    return 0.0 if standing < math.inf else math.inf
