"""How often a line's metric is measured anew, where its reports repeat the last value in between.

The metric has to be in every report, so a trainable that validates every tenth iteration reports nine times
what it knows already. Arms that end before the next evaluation cannot differ in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from raysearch.strategies.rounds import End

LATEST = 8  # evaluations, from whose distance the next is expected


class Evaluations:
    """When the metric of one line changed.

    Attributes:
        every: iterations from one evaluation to the next; 1 until two distances are known.
    """

    def __init__(self) -> None:
        self.every = 1
        self._value = math.nan
        self._changes: list[int] = []

    def heard(self, start: int, losses: Sequence[float]) -> None:
        """The line went on from iteration `start` by these reports, one an iteration."""
        for at, loss in enumerate(losses, start + 1):
            if math.isfinite(loss) and loss != self._value:
                self._value = loss
                self._changes = [*self._changes, at][-LATEST:]
        gaps = [b - a for a, b in zip(self._changes, self._changes[1:], strict=False) if b > a]
        if len(gaps) >= 2:  # two distances
            self.every = min(gaps)

    def cut(self, at: int, loss: float) -> None:
        """The line went back to iteration `at`, where it reported `loss`."""
        self._value = loss
        self._changes = [one for one in self._changes if one <= at]

    def next(self, at: int) -> int:
        """The first iteration, `at` or later, at which an evaluation is expected."""
        if self.every == 1 or not self._changes:
            return at
        return at + (self._changes[-1] - at) % self.every

    def are_silent(self, *arms: End) -> bool:
        """Whether arms that grew on the line all ended well and report nothing but its last value."""
        reports = [loss for end in arms for loss in end.losses]
        return all(end.is_sound for end in arms) and all(
            loss == self._value or math.isnan(loss) for loss in reports
        )

    def fresh(self, losses: Sequence[float]) -> tuple[float, ...]:
        """The reports, NaN where they repeat the value before; all of them where each is an evaluation."""
        if self.every == 1:
            return tuple(losses)
        before = [self._value, *losses]
        return tuple(b if b != a else math.nan for a, b in zip(before, losses, strict=False))
