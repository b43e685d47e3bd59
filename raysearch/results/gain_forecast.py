"""The last forecast of what going on would gain, as a run's journal holds it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysearch.strategies.gain_forecast.stopping import FORECAST

if TYPE_CHECKING:
    from raysearch.storage.journal.schema import JournalEvent


@dataclass(frozen=True, slots=True)
class LastForecast:
    """A forecast that was noted while a run went on.

    Attributes:
        outcomes: of the search before it.
        low, high: of its interval of 90%: improvement in the metric's units, from 0.
        ahead: how far it looks: `the next 5 GPU-hours`.
        words: the same, and what it costs.
        stops: why the search ended with it; empty where it did not.
    """

    outcomes: int
    low: float
    high: float
    ahead: str
    words: str
    stops: str

    @property
    def sentence(self) -> str:
        """As a report has it."""
        if self.stops:
            return f"Nothing more was tried after {self.outcomes:,} outcomes: {self.stops}."
        return f"After {self.outcomes:,} outcomes, {self.words}."


def last_forecast(events: Iterable[JournalEvent]) -> LastForecast | None:
    """The last one among a journal's events, in their order; None where there is none."""
    last = None
    for event in events:
        last = event.detail if event.kind == FORECAST else last
    if last is None:
        return None
    low, high = float(last.get("low", 0.0)), float(last.get("high", 0.0))
    ahead, words, stops = (str(last.get(key, "")) for key in ("ahead", "words", "stops"))
    return LastForecast(int(last.get("outcomes", 0)), low, high, ahead, words, stops)
