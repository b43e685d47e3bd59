"""The number of models that a pack trains at once, found by measuring steps of several sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

FEW = 4  # models in a pack at first
TIMES = 4  # factor by which a pack grows
MIN_SPEEDUP = 1.1  # keep a wider pack only if it is at least 10% faster than the narrower steps
MIN_PROMISE = 1.5  # try a wider pack, where a try is costly, only if it promises to be 50% faster
CHEAP_MODELS = 16  # up to so many models a try is cheap: steps of more need long until they are fast
CHEAP_STEP_S = 0.004  # a try is costly where a step takes longer
CLEAR_SPEEDUP = 2.0  # where FEW models gain so much, packs of other structures begin with CHEAP_MODELS
ALL = 1 << 30  # a step takes every model of the pack
STRETCH = 40  # calls after which a step of a new size runs at its full speed
MEASURED = 3  # steps measured from then on, of which the fastest counts


@dataclass(slots=True)
class Width:
    """How many models a pack is filled up to, and how many of them one vectorised step takes.

    FEW models train first, all in one step and then one at a time: a large model may be slower vectorised
    than alone. Where one step for all is faster, and a wider pack promises to be, the pack grows by TIMES,
    and steps of all its models are compared with steps of as many as before: at some width the models no
    longer fit into the processor's cache. Where memory runs out, the width stays below that for good.

    Attributes:
        limit: the pack is filled up to so many models.
        step: most models in one vectorised step.
        most: largest limit.
        settled: the width is found, and nothing is compared any more.
        trusted: the pack begins with CHEAP_MODELS, and grows once without a comparison when it is full.
        pays: one step for all was CLEAR_SPEEDUP times as fast, so packs of the same learner can be trusted.
        fits: True if there is memory for so many models; called before the pack grows.
    """

    limit: int = FEW
    step: int = ALL
    most: int = 4096
    settled: bool = False
    trusted: bool = False
    pays: bool = False
    fits: Callable[[int], bool] = lambda models: True
    _calls: int = 0  # of the step size under comparison
    _measured: int = 0  # its steps since STRETCH calls
    _found: dict[int, float] = field(default_factory=dict)  # models a second, by step size

    def __post_init__(self) -> None:
        if self.trusted:
            self.limit = CHEAP_MODELS

    def stretch(self, models: int) -> int:
        """Steps to take until the next call of `took`; 0 where nothing is compared."""
        if self.trusted and models >= self.limit:
            self.trusted = False
            self._widen(True)
        if self.settled or models < self.limit:
            return 0
        return max(1, MEASURED - self._measured, math.ceil((STRETCH - self._calls) / self._at_a_step(models)))

    def took(self, models: int, steps: int, seconds: float) -> None:
        """Notes that the fastest of `steps` steps of the size `step` took `seconds` for all models."""
        self._measured += steps if self._calls >= STRETCH else 0
        self._calls += steps * self._at_a_step(models)
        rate = models / max(seconds, 1e-9)
        self._found[self.step] = max(rate, self._found.get(self.step, 0.0))
        if self._measured >= MEASURED:
            self._calls = self._measured = 0
            self._compare()

    def ran_out(self, fits: int) -> None:
        """Notes that memory ran out: it is enough for `fits` models at most."""
        self.limit, self.settled = max(1, min(self.limit, fits)), True
        self.step = min(self.step, self.limit)

    def _at_a_step(self, models: int) -> int:
        """Calls that a step of all models takes."""
        return math.ceil(models / self.step)

    def _compare(self) -> None:
        """Goes from one step for all to steps of the width before; then grows if the former was faster."""
        if self.step == ALL:
            self.step = self.limit // TIMES
            return
        before, together = self._found[self.step], self._found[ALL]
        if together < MIN_SPEEDUP * before:
            self.limit, self.settled = self.step, True
            return
        if self.limit == FEW:
            self.pays = together >= CLEAR_SPEEDUP * before and self.limit / together < CHEAP_STEP_S
        self._widen(self._is_worth(before, together))
        self._found.clear()

    def _widen(self, is_worth: bool) -> None:
        wider = min(TIMES * self.limit, self.most)
        self.settled = wider == self.limit or not is_worth or not self.fits(wider)
        self.limit, self.step = self.limit if self.settled else wider, ALL

    def _is_worth(self, before: float, together: float) -> bool:
        """True if a try is cheap, or promises much when each further model costs what the last ones did."""
        seconds, wider = self.limit / together, TIMES * self.limit
        if self.limit <= CHEAP_MODELS and seconds < CHEAP_STEP_S:
            return True
        each = (seconds - self.step / before) / (self.limit - self.step)
        return wider / (seconds + each * (wider - self.limit)) >= MIN_PROMISE * together
