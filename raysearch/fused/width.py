"""How many models a pack should train at once, found by trying: more until that pays no longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

TRIES = 4  # iterations at a width before it is given up: any one of them may be slow for other reasons
TIMES = 4  # as many in the next try
GAIN = 1.1  # so many must be so much faster in all, or it is not worth their waiting
ALL = 1 << 30  # a step takes all models there are
SAMPLES = 2  # iterations of each way of going that are compared, the better one counts
CLEAR = 2.0  # so much faster together, and other models of the learner need no comparison
LEAST = 4  # models with which together and singly are compared


@dataclass(slots=True)
class Width:
    """How many models a pack is filled up to, and how many of them one vectorised step takes.

    At first it compares steps of all models with single ones, since a model may be so large that
    vectorising it costs more than it saves: then it stays with single steps, or steps of a few. Else it
    becomes four times as wide while that makes the pack faster as a whole, by models per second. The first
    iteration at a width is not counted: it allocates. Where memory runs out it is less for good.

    Attributes:
        limit: how many models to fill up to.
        step: how many of them a step takes at most.
        most: never more than this.
        compared: it is known that steps of all models are faster than single ones.
        pays: so much faster that it need not be compared for other models of the same learner.
        fits: asked before it grows: whether there is memory for so many models.
    """

    limit: int = 16
    step: int = ALL
    most: int = 4096
    settled: bool = False
    compared: bool = False
    pays: bool = False
    fits: Callable[[int], bool] = lambda models: True
    _warm: bool = False
    _samples: dict[int, list[float]] = field(default_factory=dict)
    _rates: dict[int, float] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)

    def note(self, models: int, seconds: float) -> None:
        """An iteration of so many models took so long."""
        if self.settled:
            return
        rate = models / max(seconds, 1e-9)
        if not self.compared:
            self._compare(models, rate)
        elif models >= self.limit:
            self._widen(rate)

    def ran_out(self, fits: int) -> None:
        """Memory was enough for `fits` models at most."""
        self.limit, self.settled = max(1, min(self.limit, fits)), True
        self.step = min(self.step, self.limit)

    def _compare(self, models: int, rate: float) -> None:
        """All together, then singly; where that is as fast, a few at a time as well. The best is kept."""
        if models < LEAST:
            return
        if not self._warm:
            self._warm = True
            return
        rates = self._samples.setdefault(self.step, [])
        rates.append(rate)
        best = {step: max(found) for step, found in self._samples.items()}
        self.pays = self.step == 1 and best[ALL] >= CLEAR * best[1]
        if len(rates) < SAMPLES and not self.pays:
            return
        if self.step == ALL:
            self.step = 1
        elif self.step == 1 and best[1] < best[ALL]:
            self.step, self.compared = ALL, True
        elif self.step == 1:
            self.step = LEAST
        else:
            self.step = self.limit = max((1, LEAST), key=lambda step: best[step])
            self.compared = self.settled = True

    def _widen(self, rate: float) -> None:
        seen = self._seen[self.limit] = self._seen.get(self.limit, 0) + 1
        if seen == 1:
            return
        best = self._rates[self.limit] = max(rate, self._rates.get(self.limit, 0.0))
        if best >= GAIN * self._rates.get(self.limit // TIMES, 0.0):
            wider = min(TIMES * self.limit, self.most)
            self.settled = wider == self.limit or not self.fits(wider)
            self.limit = self.limit if self.settled else wider
        elif seen > TRIES:
            self.limit, self.settled = self.limit // TIMES, True
