"""How many models a pack should train at once, found by trying: more until that pays no longer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

FEW = 4  # models to begin with, the first of which end soon however large they are
TIMES = 4  # as many in the next try
GAIN = 1.1  # so much faster together they must be, or it is not worth their waiting for each other
WORTH = 1.5  # so much faster more of them must promise to be, where it costs something to try:
MODEST = 16  # from so many on, as steps of new sizes take a while to get fast,
DEAR_S = 0.004  # or where a step takes so long
CLEAR = 2.0  # so much faster in short steps of a few than singly, and other models begin with more
ALL = 1 << 30  # a step takes all models there are
STRETCH = 40  # calls of a step after which a way of going is as fast as it will be
MEASURED = 3  # steps of all models from then on; the quickest of all counts


@dataclass(slots=True)
class Width:
    """How many models a pack is filled up to, and how many of them one vectorised step takes.

    A few models train first, in steps of all and in single ones: a model may be so large that vectorising it
    costs more than it saves. Where all together are faster, and more promise to be, four times as many come,
    and steps of all are compared with steps of as many as before: from some number on models leave the
    processor's cache. Where memory runs out it is less for good.

    Attributes:
        limit: how many models to fill up to.
        step: how many of them a step takes at most.
        most: never more than this.
        settled: nothing is compared any more.
        trusted: it begins with MODEST models, and with more without comparing those, once it is full.
        pays: so much faster together that others of the same learner can be trusted.
        fits: asked before it grows: whether there is memory for so many models.
    """

    limit: int = FEW
    step: int = ALL
    most: int = 4096
    settled: bool = False
    trusted: bool = False
    pays: bool = False
    fits: Callable[[int], bool] = lambda models: True
    _calls: int = 0  # of the way under comparison
    _measured: int = 0  # its steps since it is fast
    _found: dict[int, float] = field(default_factory=dict)  # models a second, by way of going

    def __post_init__(self) -> None:
        if self.trusted:
            self.limit = MODEST

    def stretch(self, models: int) -> int:
        """How many steps to take before `took` is told; 0 where there is nothing to compare."""
        if self.trusted and models >= self.limit:
            self.trusted = False
            self._widen(True)
        if self.settled or models < self.limit:
            return 0
        return max(1, MEASURED - self._measured, math.ceil((STRETCH - self._calls) / self._at_a_step(models)))

    def took(self, models: int, steps: int, seconds: float) -> None:
        """So many steps were taken as `step` says, the quickest of them in so many seconds for all models."""
        self._measured += steps if self._calls >= STRETCH else 0
        self._calls += steps * self._at_a_step(models)
        rate = models / max(seconds, 1e-9)
        self._found[self.step] = max(rate, self._found.get(self.step, 0.0))
        if self._measured >= MEASURED:
            self._calls = self._measured = 0
            self._compare()

    def ran_out(self, fits: int) -> None:
        """Memory was enough for `fits` models at most."""
        self.limit, self.settled = max(1, min(self.limit, fits)), True
        self.step = min(self.step, self.limit)

    def _at_a_step(self, models: int) -> int:
        """How many calls a step of all models takes."""
        return math.ceil(models / self.step)

    def _compare(self) -> None:
        """All together, and then as many as before; more, if the former is faster."""
        if self.step == ALL:
            self.step = self.limit // TIMES
            return
        before, together = self._found[self.step], self._found[ALL]
        if together < GAIN * before:
            self.limit, self.settled = self.step, True
            return
        if self.limit == FEW:
            self.pays = together >= CLEAR * before and self.limit / together < DEAR_S
        self._widen(self._is_worth(before, together))
        self._found.clear()

    def _widen(self, is_worth: bool) -> None:
        wider = min(TIMES * self.limit, self.most)
        self.settled = wider == self.limit or not is_worth or not self.fits(wider)
        self.limit, self.step = self.limit if self.settled else wider, ALL

    def _is_worth(self, before: float, together: float) -> bool:
        """Whether it costs little to try, or promises much if each model more costs what those did."""
        seconds, wider = self.limit / together, TIMES * self.limit
        if self.limit <= MODEST and seconds < DEAR_S:
            return True
        each = (seconds - self.step / before) / (self.limit - self.step)
        return wider / (seconds + each * (wider - self.limit)) >= WORTH * together
