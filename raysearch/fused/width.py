"""How many models a pack should train at once, found by trying: more until that pays no longer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

TRIES = 4  # iterations at a width before it is given up: any one of them may be slow for other reasons
TIMES = 4  # as many in the next try
GAIN = 1.1  # so many must be so much faster in all, or it is not worth their waiting
ALL = 1 << 30  # a step takes all models there are
STRETCH = 40  # calls of a step after which a way of going is as fast as it will be
MEASURED = 3  # steps of all models from then on; the quickest of all counts
WORTH = 1.5  # so much faster a wider pack must promise to be: steps of new sizes take a while to get fast
LEAST = 4  # models with which together and singly are compared
CLEAR = LEAST  # so much faster together than singly, and no step of a few can be as fast


@dataclass(slots=True)
class Width:
    """How many models a pack is filled up to, and how many of them one vectorised step takes.

    At first it compares steps of all models with single ones, and with steps of a few, since a model may be
    so large that vectorising it costs more than it saves, or that many of them leave the processor's cache.
    Where all together are best, it becomes four times as wide while that makes the pack faster as a whole,
    by models per second, and what a step and a model in it have cost so far promises as much. The first
    iteration at a width is not counted: it allocates. Where memory runs out it is less for good.

    Attributes:
        limit: how many models to fill up to.
        step: how many of them a step takes at most.
        most: never more than this.
        compared: it is known how many models a step should take.
        pays: so much faster together that it need not be compared for other models of the same learner.
        fits: asked before it grows: whether there is memory for so many models.
    """

    limit: int = 16
    step: int = ALL
    most: int = 4096
    settled: bool = False
    compared: bool = False
    pays: bool = False
    fits: Callable[[int], bool] = lambda models: True
    _calls: int = 0  # of the way under comparison
    _measured: int = 0  # its steps since it is fast
    _found: dict[int, float] = field(default_factory=dict)  # models a second, by way of going
    _rates: dict[int, float] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)

    def stretch(self, models: int) -> int:
        """How many steps to take before `took` is told; 0 where there is nothing to compare."""
        if self.compared or self.settled or models < LEAST:
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

    def _at_a_step(self, models: int) -> int:
        """How many calls a step of all models takes."""
        return math.ceil(models / self.step)

    def note(self, models: int, seconds: float) -> None:
        """An iteration of so many models took so long."""
        if self.compared and not self.settled and models >= self.limit:
            self._widen(models / max(seconds, 1e-9))

    def ran_out(self, fits: int) -> None:
        """Memory was enough for `fits` models at most."""
        self.limit, self.settled = max(1, min(self.limit, fits)), True
        self.step = min(self.step, self.limit)

    def _compare(self) -> None:
        """All together, then singly, and a few at a time unless those cannot be best."""
        found = self._found
        self.pays = self.step == 1 and found[ALL] >= CLEAR * found[1]
        if self.step == ALL:
            self.step = 1
        elif self.step == 1 and not self.pays:
            self.step = LEAST
        else:
            best = max(found.values())
            self.step = min(step for step, rate in found.items() if GAIN * rate >= best)
            self.compared, self.settled = True, self.step != ALL
            self.limit = self.step if self.settled else self.limit

    def _widen(self, rate: float) -> None:
        seen = self._seen[self.limit] = self._seen.get(self.limit, 0) + 1
        if seen == 1:
            return
        best = self._rates[self.limit] = max(rate, self._rates.get(self.limit, 0.0))
        if best >= GAIN * self._rates.get(self.limit // TIMES, 0.0):
            wider = min(TIMES * self.limit, self.most)
            self.settled = wider == self.limit or not self._promises(wider) or not self.fits(wider)
            self.limit = self.limit if self.settled else wider
        elif seen > TRIES:
            self.limit, self.settled = self.limit // TIMES, True

    def _promises(self, wider: int) -> bool:
        """Whether it would be much faster, if a step and each model in it go on to cost what they do."""
        before, now = self._rates.get(self.limit // TIMES), self._rates[self.limit]
        if before is None:
            return True
        seconds = self.limit / now
        each = (seconds - self.limit / TIMES / before) / (self.limit - self.limit / TIMES)
        return wider / (seconds + each * (wider - self.limit)) >= WORTH * now
