"""What going on with a search would gain, as outcomes come in; closes it where that is not worth its cost.

The decision is a function of the outcomes in the order of the journal. So a resumed search comes to the same
one at the same outcome, and `stop_when: off` in a changed spec takes it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.core.stop_when import CostRate
from raysearch.engine.wind_down import Ended, Ending
from raysearch.strategies.base import Closing
from raysearch.strategies.gain_forecast.record import SearchRecord
from raysearch.strategies.gain_forecast.stopping import GainWatch, Outlook

if TYPE_CHECKING:
    from raysearch.core.segment import Outcome
    from raysearch.engine.ending import Lifetime
    from raysearch.engine.limits import Limits
    from raysearch.space.objectives import Objectives
    from raysearch.strategies.base import Strategy


class Forecasts:
    """The forecasts of a search; none where its strategy cannot be closed, or it has several objectives."""

    def __init__(self, strategy: Strategy, goals: Objectives, limits: Limits, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self._closing: Closing | None = None
        self._watch: GainWatch | None = None
        if isinstance(strategy, Closing) and not goals.several:
            self._closing = strategy
            rate = CostRate(*limits.held[0], limits.budget)
            record = SearchRecord(goals, strategy.horizon, strategy.eta)
            self._watch = GainWatch(record, rate, limits.stop_when)

    def tell(self, outcome: Outcome) -> None:
        """Takes in an outcome that is durable and that the strategy knows."""
        if self._watch is None or self._closing is None or not self._watch.tell(outcome):
            return
        self._closing.close()
        if self._watch.stopped is not None:
            self._lifetime.closed = Ended(Ending.GAIN, self._watch.stopped.stops)

    @property
    def latest(self) -> Outlook | None:
        """The last forecast, which is the one that closed the search where one did; None before the first."""
        return self._watch.latest if self._watch is not None else None

    @property
    def words(self) -> str:
        """The same in words; empty before the first, and once the search is over."""
        latest = self.latest
        return latest.words if latest is not None and self._lifetime.ended is None else ""
