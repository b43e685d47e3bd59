"""When a search ends because going on is not worth its cost: a fold over outcomes, as strategies are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from raysearch.core.formatting import number, setting
from raysearch.core.segment import Outcome
from raysearch.core.stop_when import CostRate, CostUnit, StopWhen
from raysearch.strategies.gain_forecast.forecast import GainForecast
from raysearch.strategies.gain_forecast.record import SearchRecord

SURE = 0.95  # that the gain stays below what the rule asks for
FORECAST = "forecast"  # kind of the journal's events that hold one
EVERY = 16  # a forecast after each sixteenth more outcomes, so that a search has few of them


@dataclass(frozen=True, slots=True)
class Outlook:
    """A forecast at a moment of a search.

    Attributes:
        outcomes: of the search so far, whose order is that of the journal.
        gain: in the metric's units, improvement above 0.
        ahead: how far is looked ahead, in words: `the next hour`, `the next 5 GPU-hours`.
        costs: what that takes, in every unit.
        words: the same, for people.
        stops: why the search ends with it, for people; empty where it does not.
    """

    outcomes: int
    gain: GainForecast
    ahead: str
    costs: Mapping[CostUnit, float]
    words: str
    stops: str = ""

    def as_detail(self) -> dict[str, Any]:
        """For the journal, under `FORECAST`; people and trackers read it, no decision does."""
        low, high = self.gain.interval()
        return {
            "outcomes": self.outcomes,
            "low": low,
            "high": high,
            "mean": self.gain.mean,
            "none": 1 - self.gain.chance(0.0),
            "ahead": self.ahead,
            "cost": {unit.value: amount for unit, amount in self.costs.items() if amount > 0},
            "words": self.words,
            "stops": self.stops,
        }


class GainWatch:
    """Forecasts as outcomes come in, and decides once that going on is not worth its cost.

    Attributes:
        latest: the last forecast; None while it is too early for one.
        stopped: the one that ended the search; None while none did.
    """

    def __init__(self, record: SearchRecord, rate: CostRate, rule: StopWhen | None = None) -> None:
        self.latest: Outlook | None = None
        self.stopped: Outlook | None = None
        self._record, self._rate, self._rule = record, rate, rule
        self._next = 1

    def tell(self, outcome: Outcome) -> bool:
        """Takes an outcome in; True for the one after which the search ends, and for no other."""
        if not self._record.tell(outcome) or self.stopped is not None:
            return False
        if self._record.outcomes < self._next:
            return False
        self._next = self._record.outcomes + max(1, self._record.outcomes // EVERY)
        self.latest = self._look()
        if self.latest is not None and self.latest.stops:
            self.stopped = self.latest
        return self.stopped is not None

    def _look(self) -> Outlook | None:
        record, width = self._record, self._record.width
        ahead_s, asked = 3600.0 * width, None
        if self._rule is not None:
            ahead_s, asked = self._asked(self._rule, width)
        gain = record.forecast(ahead_s) if math.isfinite(ahead_s) else None
        if gain is None:
            return None
        ahead = "the next hour" if asked is None else f"the next {asked.cost_words}"
        words = forecast_words(gain, ahead_s, width, self._rate, asked)
        stops = ""
        if asked is not None and gain.chance(asked.threshold(record.best)) <= 1 - SURE:
            stops = f"{words}, below {asked.gain_words} with at least {SURE:.0%} (stop_when)"
        return Outlook(record.outcomes, gain, ahead, self._rate.of(ahead_s, width), words, stops)

    def _asked(self, rule: StopWhen, width: float) -> tuple[float, StopWhen]:
        """The seconds of workers that are looked ahead, and the rule for so much.

        At least what a trial at full length has taken so far, with those given up on the way to it: in less
        hardly anything can be gained, whatever the search is worth. The rule asks as much more then.
        """
        cost_s = self._rate.worker_seconds(rule.cost, rule.unit, width)
        full_s = self._record.worker_s / max(1, self._record.full)
        if full_s <= cost_s:
            return cost_s, rule
        times = full_s / cost_s
        return full_s, replace(rule, gain_below=rule.gain_below * times, cost=rule.cost * times)


def forecast_words(
    gain: GainForecast, ahead_s: float, width: float, rate: CostRate, rule: StopWhen | None
) -> str:
    """`the next hour is forecast to gain 0.0004 to 0.003 at 2.1 device hours`, or that nothing is to come.

    `rule`: its cost is what is looked ahead; None for an hour.
    """
    low, high = gain.interval()
    if rule is None:
        what, costs = "the next hour is", rate.in_words(ahead_s, width)
    else:
        what, costs = f"the next {rule.cost_words} are", rate.in_words(ahead_s, width, but=rule.unit)
        if rule.unit is not CostUnit.HOURS:
            costs = " · ".join(filter(None, (f"{number(ahead_s / width / 3600, 2)} hours", costs)))
    how = f"{setting(low, 2)} to {setting(high, 2)}" if high > 0 else "nothing"
    return f"{what} forecast to gain {how} at {costs}"
