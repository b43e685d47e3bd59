"""The gain that going on would bring, as a distribution: random continuation by order statistics.

Let n configurations have been tried and m more be coming. If any order of the n + m is as likely as any
other, the best of them all is among the coming ones with probability m / (n + m), whatever the distribution
of their scores (records; Arnold, Balakrishnan, Nagaraja 1998, Records, section 2.5). How far a new best lies
beyond the old one is a matter of the tail. With an exponential one the gaps i (x_(i+1) - x_(i)) between the
best are independent with the tail's scale as their mean (Renyi 1953; Weissman 1978, JASA 73:812). The chance
that one configuration beats the best is then Beta(1, n), nearly exponential with mean 1/n; integrated out,

    P(gain > g) = r / (r + exp(g / scale)),    r = m / n.        (1)

A search whose sampler learns and whose rungs choose is no random order. What of that matters is measured:
`raysearch bench stopping` compares intervals and gains on recorded curves, and `SCALE` is chosen there.
Other rules for the same question, for comparison: Makarova et al. 2022 (AutoML Conference, "Automatic
termination for hyperparameter optimization") bound the regret of a Gaussian process; Ishibashi et al. 2023
(AISTATS, "A stopping criterion for Bayesian optimization by the gap of expected minimum simple regrets").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

SCALE = 0.7  # of the mean gap: the tail of a metric ends, an exponential one does not
LEVEL = 0.9  # of the interval


@dataclass(frozen=True, slots=True)
class GainForecast:
    """The distribution of a gain: how much better the best value will be, in the metric's units, from 0.

    Attributes:
        scale: of the tail; 0 where the best trials are all alike, and nothing is to be gained.
        ratio: configurations that are coming over those that were tried, above 0.

    >>> from raysearch.strategies.gain_forecast.forecast import GainForecast
    >>> coming = GainForecast(scale=0.01, ratio=0.5)
    >>> round(coming.chance(0.0), 3), round(coming.chance(0.02), 3)  # of any gain, of one above 0.02
    (0.333, 0.063)
    >>> coming.interval()[0], round(coming.interval()[1], 4)
    (0.0, 0.015)
    """

    scale: float
    ratio: float

    def chance(self, gain: float) -> float:
        """The probability of more than so much: equation (1)."""
        if self.scale <= 0:
            return 0.0
        exponent = gain / self.scale
        return self.ratio / (self.ratio + math.exp(exponent)) if exponent < 700 else 0.0

    def quantile(self, part: float) -> float:
        """The gain that is not exceeded with this probability, which lies between 0 and 1."""
        odds = self.ratio * part / (1 - part)
        return self.scale * math.log(odds) if odds > 1 + 1e-9 else 0.0

    @property
    def mean(self) -> float:
        """The expected gain: the integral of equation (1)."""
        return self.scale * math.log1p(self.ratio)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The lowest and highest gain of an interval that holds the true one with this probability.

        Where no gain at all is likely enough it begins at 0 and leaves nothing out below.
        """
        below = (1 - level) / 2
        if 1 - self.chance(0.0) >= below:
            return 0.0, self.quantile(level)
        return self.quantile(below), self.quantile(1 - below)


def tail_scale(best: Sequence[float]) -> float:
    """The scale of the tail beyond the best of these scores, which are in order, the lowest first.

    Of the gaps i (x_(i+1) - x_(i)) the median over ln 2, which is the mean of exponential ones and heeds no
    outlier; their mean where most scores are tied. Times SCALE. 0 where all are alike; two are needed.
    """
    gaps = [i * (high - low) for i, (low, high) in enumerate(pairwise(best), 1)]
    return SCALE * (median(gaps) / math.log(2) or fmean(gaps))
