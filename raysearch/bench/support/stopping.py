"""A simulated search and what `stop_when` makes of it: where it stops, what that saves and loses, and whether
its forecasts hold.

Until it stops, a search with the rule is the one without: one simulation gives both. What is in training at
the stop ends, and is paid for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raysearch.core.budget import Budget
from raysearch.core.segment import Outcome, Status, score
from raysearch.core.stop_when import CostRate, CostUnit, StopWhen
from raysearch.executors.simulated import Floats, Simulator, Table
from raysearch.space.objectives import Objectives
from raysearch.strategies.base import Strategy
from raysearch.strategies.gain_forecast.record import SearchRecord
from raysearch.strategies.gain_forecast.stopping import EVERY, GainWatch

ETA = 3
AHEADS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the rule's cost: forecasts that are compared with what came
LEVELS = (0.25, 0.5, 0.75, 0.9, 0.95)  # quantiles of the pinball loss


@dataclass(frozen=True)
class Whole:
    """A search without the rule.

    Attributes:
        outcomes: in the order of the journal.
        spent: seconds of workers after each of them.
        best: score of the best trial at full length after each, lower is better; inf before the first.
        span: of the table: the median configuration's best score less the best one's.
    """

    table: Table
    outcomes: tuple[Outcome, ...]
    spent: Floats
    best: Floats
    span: float

    @property
    def cost(self) -> float:
        """Seconds of workers on the whole search."""
        return float(self.spent[-1])

    def index_at(self, spent: float) -> int:
        """The last outcome by which no more was spent."""
        return int(np.searchsorted(self.spent, spent, side="right")) - 1

    def gain(self, start: int, stop: int) -> float:
        """By how much the best improved from one outcome to another; infinite where it was the first."""
        before, after = float(self.best[start]), float(self.best[stop])
        return before - after if after < before else 0.0

    def regret(self, best: float) -> float:
        """Of a score, as in `Table.regret`."""
        value = best if self.table.mode == "min" else -best
        return float(self.table.regret(np.array([value]))[0]) if math.isfinite(best) else 1.0


class _Log:
    def __init__(self) -> None:
        self.kept: list[Outcome] = []

    def append(self, outcomes: Sequence[Outcome]) -> None:
        self.kept += outcomes

    def outcomes(self) -> Iterable[Outcome]:
        return self.kept


def whole_search(table: Table, strategy: Strategy, workers: int, trainings: float) -> Whole:
    """A search of so many mean full trainings for each worker, or until nothing is left to try."""
    simulator = Simulator(table, strategy, workers, trainings * table.full_seconds)
    log = _Log()
    simulator.search.journal = log
    simulator.run()
    outcomes = tuple(log.kept)
    scores = [_full_score(one, table) for one in outcomes]
    turned = table.values if table.mode == "min" else -table.values
    each = np.where(np.isfinite(turned), turned, np.inf).min(axis=1)
    span = float(np.median(each) - each.min())
    spent = np.cumsum([one.seconds for one in outcomes])
    return Whole(table, outcomes, spent, np.minimum.accumulate(scores), span)


def _full_score(outcome: Outcome, table: Table) -> float:
    values = outcome.curve.get(table.metric, ())
    is_full = outcome.status is Status.COMPLETED and outcome.reached >= table.epochs and len(values) > 0
    return score(values[-1], table.mode) if is_full else math.inf


@dataclass(frozen=True)
class Stop:
    """What the rule makes of a search.

    Attributes:
        at: share of the cost at which it stops; 1 where it does not.
        saved: share of the cost, less what was in training.
        lost: regret of its best less that of the whole search's; 0 where it does not stop.
        is_false: whether the rule's cost would have gained what the rule asks, or more; None without a stop.
    """

    at: float
    saved: float
    lost: float
    is_false: bool | None


def stop_of(whole: Whole, gain_below: float, cost: float) -> Stop:
    """Where the rule stops it.

    Args:
        gain_below: in units of `Whole.span`.
        cost: share of the whole search's.
    """
    ahead = cost * whole.cost
    rule = StopWhen(gain_below * whole.span, ahead / 3600, CostUnit.DEVICE_HOURS)
    watch = GainWatch(_record(whole.table), CostRate(1.0, 0.0, Budget()), rule)
    for index, outcome in enumerate(whole.outcomes):
        if watch.tell(outcome):
            return stopped_at(whole, index, gain_below, ahead)
    return Stop(1.0, 0.0, 0.0, None)


def stopped_at(whole: Whole, index: int, gain_below: float, ahead: float) -> Stop:
    """The search that stops after this outcome."""
    now = whole.outcomes[index].finished_at
    training = [one for one in whole.outcomes[index + 1 :] if one.finished_at - one.seconds < now]
    best = min([whole.best[index], *(_full_score(one, whole.table) for one in training)])
    gained = whole.gain(index, whole.index_at(whole.spent[index] + ahead)) / whole.span
    spent = float(whole.spent[index])
    saved = 1 - (spent + sum(one.seconds for one in training)) / whole.cost
    lost = whole.regret(best) - whole.regret(whole.best[-1])
    return Stop(spent / whole.cost, max(0.0, saved), lost, bool(gained >= gain_below))


@dataclass(frozen=True)
class Checked:
    """A forecast and what came, all in units of `Whole.span`.

    Attributes:
        quantiles: at LEVELS.
        guesses: of the rivals, by name.
    """

    low: float
    high: float
    quantiles: tuple[float, ...]
    gained: float
    guesses: Mapping[str, float]

    @property
    def holds(self) -> bool:
        """Whether the interval holds what came."""
        return self.low - 1e-12 <= self.gained <= self.high + 1e-12

    @property
    def loss(self) -> float:
        """The mean pinball loss at LEVELS, lower is better (Koenker & Bassett 1978, Econometrica 46)."""
        return pinball(self.quantiles, self.gained)


def pinball(quantiles: Sequence[float], gained: float) -> float:
    """The mean pinball loss of quantiles at LEVELS."""
    errors = [(level, gained - q) for level, q in zip(LEVELS, quantiles, strict=True)]
    return sum(max(level * e, (level - 1) * e) for level, e in errors) / len(LEVELS)


def checked(whole: Whole, cost: float) -> list[Checked]:
    """Every forecast of a search, at the outcomes at which a search makes one, beside what came."""
    record, found, following = _record(whole.table), [], 1
    for index, outcome in enumerate(whole.outcomes):
        if not record.tell(outcome) or record.outcomes < following:
            continue
        following = record.outcomes + max(1, record.outcomes // EVERY)
        for times in AHEADS:
            ahead = times * cost * whole.cost
            gain = record.forecast(ahead)
            if gain is None or whole.spent[index] + ahead > whole.cost:
                continue
            then = whole.index_at(whole.spent[index] + ahead)
            low, high = (one / whole.span for one in gain.interval())
            quantiles = tuple(gain.quantile(level) / whole.span for level in LEVELS)
            gained = whole.gain(index, then) / whole.span
            guesses = {name: guess(whole, index, ahead) / whole.span for name, guess in RIVALS.items()}
            found.append(Checked(low, high, quantiles, gained, guesses))
    return found


# ---- rivals: a guess of the gain, whose quantiles are those of gain over guess on the tuning tasks


def past_gain(whole: Whole, index: int, ahead: float) -> float:
    """What the last as many times longer search gained: from c / (1 + r) to c, for c to c (1 + r)."""
    spent = float(whole.spent[index])
    return _gap(whole, spent * spent / (spent + ahead), spent)


def power_law(whole: Whole, index: int, ahead: float) -> float:
    """What a power law of the best so far gains that goes through c/4, c/2 and c."""
    spent = float(whole.spent[index])
    first, second = _gap(whole, spent / 4, spent / 2), _gap(whole, spent / 2, spent)
    if second <= 0:
        return 0.0
    power = math.log2(first / second) if first > second else 0.0
    part = 1 + ahead / spent
    if power < 1e-6:
        return second * math.log2(part)
    return float(second * 2**-power * (1 - part**-power) / (1 - 2**-power))


def _gap(whole: Whole, start: float, stop: float) -> float:
    """By how much the best improved from one cost to another; at most the span."""
    before = whole.index_at(start)
    gap = whole.gain(before, whole.index_at(stop)) if before >= 0 else math.inf
    return min(gap, whole.span)


RIVALS = {"past gains": past_gain, "power law": power_law}


def _record(table: Table) -> SearchRecord:
    return SearchRecord(Objectives({table.metric: table.mode}), table.epochs, ETA)
