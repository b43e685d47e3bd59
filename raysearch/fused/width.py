"""How many models a pack should train at once, found by trying: more until that pays no longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

TRIES = 4  # iterations at a width before it is given up: any one of them may be slow for other reasons
GAIN = 1.05  # twice as many must be so much faster in all, or it is not worth their waiting


@dataclass(slots=True)
class Width:
    """The number of models that a pack is filled up to.

    It doubles while that makes the pack faster as a whole, by models per second, and is halved for good
    when memory runs out. The first iteration at a width is not counted: it allocates.

    Attributes:
        limit: how many models to fill up to.
        most: never more than this.
        fits: asked before it grows: whether there is memory for so many models.
    """

    limit: int = 16
    most: int = 4096
    settled: bool = False
    fits: Callable[[int], bool] = lambda models: True
    _rates: dict[int, float] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)

    def note(self, models: int, seconds: float) -> None:
        """An iteration of so many models took so long."""
        if self.settled or models < self.limit:
            return
        seen = self._seen[self.limit] = self._seen.get(self.limit, 0) + 1
        if seen == 1:
            return
        rate = self._rates[self.limit] = max(models / max(seconds, 1e-9), self._rates.get(self.limit, 0.0))
        if rate >= GAIN * self._rates.get(self.limit // 2, 0.0):
            self._grow()
        elif seen > TRIES:
            self.limit, self.settled = self.limit // 2, True

    def _grow(self) -> None:
        wider = min(2 * self.limit, self.most)
        if wider == self.limit or not self.fits(wider):
            self.settled = True
        else:
            self.limit = wider

    def ran_out(self, fits: int) -> None:
        """Memory was enough for `fits` models at most."""
        self.limit, self.settled = max(1, min(self.limit, fits)), True
