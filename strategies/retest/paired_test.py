"""Paired sequential tests of a few challengers against one incumbent.

Incumbent and challenger train on the same seeds, so what is compared is the mean of paired gains. At
each look every challenger is found better, dropped, or left open:

- better: the lower bound of its gain is above `eps`. Student's t with the arm's own standard deviation, at
  level `alpha/K` shared out over the looks (Bonferroni), most of it to the late ones: with three pairs no t
  bound says anything. So a truly best incumbent is replaced with probability at most `alpha`, whatever
  the dependence between arms and looks, as far as gains are normal.
- dropped: the upper bound of its gain is below max(eps, margin * sd). The standard deviation is pooled
  over the arms, which makes a drop after four pairs possible; it bears on power, not on false replacement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

LOOKS = ((3, 0.0), (4, 0.05), (5, 0.1), (6, 0.2), (8, 0.3), (10, 0.35))  # pairs, share of alpha
DROP_LEVEL = 0.05
Fate = Literal["open", "better", "dropped"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as better, and as not better enough.

    Attributes:
        alpha: probability of replacing an incumbent that is truly best, at most.
        eps: smallest gain that matters, in units of the metric.
        margin: the same in standard deviations of a paired difference; the larger of both counts.
        pairs: the most pairs that are trained.
    """

    alpha: float = 0.05
    eps: float = 0.0
    margin: float = 1.0
    pairs: int = 10

    @property
    def looks(self) -> tuple[tuple[int, float], ...]:
        """(pairs, share of alpha) of each look; the shares add up to 1."""
        before = [look for look in LOOKS if look[0] < self.pairs]
        rest = 1.0 - sum(share for _, share in before)
        return (*before, (self.pairs, rest))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a challenger stands.

    Attributes:
        mean: of its paired gains; positive is better than the incumbent.
        sd: of a gain, the arm's own; NaN with fewer than two.
        lower, upper: bounds of the mean gain, at the levels of this look.
    """

    n: int
    mean: float
    sd: float
    lower: float
    upper: float
    fate: Fate = "open"


def look(
    gains: Mapping[int, Sequence[float]], share: float, rules: Rules, challengers: int
) -> dict[int, Standing]:
    """How each arm stands at a look; `gains` are finite, by arm, of those still open.

    Args:
        share: of alpha, that this look may spend.
        challengers: how many there were at the beginning, K.
    """
    pooled, freedom = pooled_sd(list(gains.values()))
    bar = max(rules.eps, rules.margin * pooled)
    return {
        arm: _standing(values, share * rules.alpha / challengers, rules.eps, pooled, freedom, bar)
        for arm, values in gains.items()
    }


def pooled_sd(arms: Sequence[Sequence[float]]) -> tuple[float, int]:
    """(standard deviation of a gain over all arms, its degrees of freedom); (NaN, 0) if unknown."""
    many = [values for values in arms if len(values) > 1]
    freedom = sum(len(values) - 1 for values in many)
    if not freedom:
        return math.nan, 0
    return math.sqrt(sum(_sd(v) ** 2 * (len(v) - 1) for v in many) / freedom), freedom


def pairs_needed(standing: Standing, rules: Rules, pooled: float) -> int | None:
    """About how many pairs would decide on an open arm, if its mean gain and noise are as they look now.

    None if no number would: its mean gain lies where neither bound leads.
    """
    bar, mean = max(rules.eps, rules.margin * pooled), standing.mean
    needed = []
    if mean < bar:
        needed.append((_quantile(1 - DROP_LEVEL, 60) * pooled / (bar - mean)) ** 2)
    if mean > rules.eps:
        needed.append((_quantile(1 - rules.alpha / 8, 60) * pooled / (mean - rules.eps)) ** 2)
    return max(standing.n + 1, math.ceil(min(needed))) if needed else None


def _standing(
    gains: Sequence[float], level: float, eps: float, pooled: float, freedom: int, bar: float
) -> Standing:
    n = len(gains)
    if n < 2:
        return Standing(n, gains[0] if n else math.nan, math.nan, -math.inf, math.inf)
    mean, sd = math.fsum(gains) / n, _sd(gains)
    lower = mean - _quantile(1 - level, n - 1) * sd / math.sqrt(n) if level > 0 else -math.inf
    upper = mean + _quantile(1 - DROP_LEVEL, freedom) * pooled / math.sqrt(n)
    if not any(gains):  # it trains to the very same values
        return Standing(n, 0.0, 0.0, 0.0, 0.0, "dropped")
    fate: Fate = "better" if lower > eps else "dropped" if upper < bar else "open"
    return Standing(n, mean, sd, lower, upper, fate)


def _sd(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _quantile(level: float, freedom: int) -> float:
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(freedom, level))
