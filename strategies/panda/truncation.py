"""The settings of population-based training as published: who copies whom, and how copies explore."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from raysearch.core.checks import check_number, check_whole
from raysearch.errors import LocatedError, SpecError, located, unknown

NAME = "truncation"


@dataclass(frozen=True)
class Truncation:
    """How population-based training selects and explores.

    Attributes:
        quantile: this share of the members copies members of the same share at the top; rounded up, and half
            of the members at most.
        resample: probability that a copied value is drawn anew from its domain.
        factors: by one of them each other copied value is multiplied (1.2 and 0.8 were published). None: it
            moves up or down by 1.25 on the scale of its domain.
        burn_in: iterations before the first comparison, where that is later than an interval's end.
        drawn: every member begins with a configuration of its own, the first one too where there is no
            baseline; False: with its own values of nudged hyper-parameters, the first one as it is.
    """

    quantile: float = 0.25
    resample: float = 0.25
    factors: Sequence[float] | None = None
    burn_in: int = 0
    drawn: bool = False

    def __post_init__(self) -> None:
        with located("exploit"):
            check_number("quantile", self.quantile, 0.0, 0.5)
            check_number("resample", self.resample, 0.0, 1.0)
            check_whole("burn_in", self.burn_in, 0)
            if not isinstance(self.drawn, bool):
                raise SpecError(f"drawn = {self.drawn!r} must be true or false")
            if self.factors is None:
                return
            if not isinstance(self.factors, (list, tuple)) or not self.factors:
                raise SpecError(f"factors = {self.factors!r} must be a list of numbers, such as [1.2, 0.8]")
            for factor in self.factors:
                check_number("factors", factor, 0.001, 1000.0)
            object.__setattr__(self, "factors", tuple(self.factors))

    def copied(self, members: int) -> int:
        """How many of the members copy others at a comparison.

        >>> [Truncation(0.25).copied(members) for members in (2, 4, 6, 8)]
        [1, 1, 2, 2]
        """
        return min(math.ceil(self.quantile * members - 1e-9), members // 2)


def truncation_setting(exploit: Any) -> Truncation | None:
    """What stands under `exploit:`, where it is truncation: its name, or {name: truncation, quantile: 0.2}.

    Returns:
        None where it is a name of something else.

    Raises:
        SpecError: an unknown field, or a wrong value.
    """
    if isinstance(exploit, Truncation):
        return exploit
    if not isinstance(exploit, Mapping):
        return Truncation() if exploit == NAME else None
    given, known = dict(exploit), ("name", *(field.name for field in fields(Truncation)))
    if (name := given.pop("name", NAME)) != NAME:
        raise LocatedError("exploit", f"{name!r} has no settings; write exploit: {name}")
    for field in given:
        if field not in known:
            raise LocatedError("exploit", unknown("field", str(field), known))
    return Truncation(**given)
