"""What hyper-parameters of a small model become in a larger one: rules from the literature, or a fitted law.

A rule is an exponent for each kind of dimension: the value is multiplied by growth ** exponent. Which rule a
hyper-parameter follows is known from the kind of its name, or told by the user.

Sources: Tensor Programs V is Yang et al. 2022, tables 3 and 8; CompleteP is Dey et al. 2025, table 1. Malladi
et al. 2022, "On the SDEs and scaling rules for adaptive gradient algorithms", the square-root rule; Goyal et
al. 2017, section 2.1. Bjorck et al. 2024, "Scaling optimal LR across token horizons". Wang and Aitchison
2024, "How to set AdamW's weight decay as you scale model and dataset size".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from raysearch.core.used_values import is_exponent, slot_of

Z = 1.96  # standard errors to each end of a 95% interval
FEWEST_TRIALS = 4  # at a scale, to say where its best value lies
BEST_SHARE = 0.25  # of the trials at a scale count as good
WIDE = 10.0  # a law whose interval at the target spans more than this factor does not transfer


class Kind(str, Enum):
    """What a hyper-parameter does, as far as scale is concerned."""

    RATE = "rate"
    WEIGHT_DECAY = "weight_decay"
    INIT = "init"
    BATCH = "batch"
    DURATION = "duration"
    OTHER = "other"


class Along(str, Enum):
    """What a dimension of scale is."""

    WIDTH = "width"
    DEPTH = "depth"
    BATCH = "batch"
    DURATION = "duration"


_DIMENSIONS = {
    Along.WIDTH: ("width", "hidden", "dim", "model", "units", "channels", "embedding", "embd", "embed", "ff"),
    Along.DEPTH: ("depth", "layers", "layer", "blocks"),
    Along.BATCH: ("batch", "bs"),
    Along.DURATION: ("steps", "epochs", "tokens", "iterations", "examples", "data", "samples", "duration"),
}
_KINDS = {
    Kind.INIT: ("init", "std", "initialization", "initialisation"),
    Kind.BATCH: _DIMENSIONS[Along.BATCH],
    Kind.DURATION: (*_DIMENSIONS[Along.DURATION], "warmup"),
}
PARAMETRIZATIONS = ("standard", "mup")
TP5 = "Tensor Programs V"
COMPLETEP = "CompleteP"
SDE = "Malladi et al. 2022"
LINEAR = "Goyal et al. 2017"
HORIZON = "Bjorck et al. 2024"
TIMESCALE = "Wang and Aitchison 2024"


@dataclass(frozen=True, slots=True)
class Power:
    """An exponent, where it is from, and what is to be doubted about it."""

    exponent: float
    source: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Ruled:
    """What a rule makes of a hyper-parameter at the target.

    Attributes:
        factor: the value is multiplied by it.
        sources: of the exponents that count.
        doubts: in words; empty where nothing is known against it.
        transfers: False where no rule is known: the value is carried as it is, and must be searched.
    """

    factor: float
    sources: tuple[str, ...]
    doubts: tuple[str, ...]
    transfers: bool = True


STANDARD_WIDTH = (
    "in models as torch makes them no one rate suits all layers in two widths; raysearch.torch.scaling gives "
    "each layer its own"
)
_BATCH = {
    Kind.RATE: {"adam": Power(0.5, SDE), "sgd": Power(1.0, LINEAR)},
    Kind.WEIGHT_DECAY: {"adam": Power(0.5, TIMESCALE), "sgd": Power(0.0, LINEAR)},
}
_DURATION = {
    Kind.RATE: Power(
        -0.32, HORIZON, "measured on language models of 50 M to 7 B parameters; elsewhere a guess"
    ),
    Kind.WEIGHT_DECAY: Power(
        -0.68, TIMESCALE, "rests on the rate's law: their product goes with 1 / duration"
    ),
}
_SHAPES: Mapping[tuple[str, Along], Mapping[Kind, Power]] = {
    ("mup", Along.WIDTH): {kind: Power(0.0, TP5) for kind in (Kind.RATE, Kind.WEIGHT_DECAY, Kind.INIT)},
    ("mup", Along.DEPTH): {kind: Power(0.0, COMPLETEP) for kind in (Kind.RATE, Kind.WEIGHT_DECAY, Kind.INIT)},
    ("standard", Along.WIDTH): {
        Kind.RATE: Power(-1.0, TP5, STANDARD_WIDTH),
        Kind.WEIGHT_DECAY: Power(1.0, COMPLETEP, STANDARD_WIDTH),
        Kind.INIT: Power(-0.5, TP5, "right for hidden weights alone"),
    },
}


def kind_of(name: str) -> Kind:
    """The kind of a hyper-parameter, by its name: `optim/head_lr` is a rate.

    >>> kind_of("optim/head_lr"), kind_of("dropout")
    (<Kind.RATE: 'rate'>, <Kind.OTHER: 'other'>)
    """
    slot = slot_of(name)
    if slot == "lr":
        return Kind.RATE
    if slot == "weight_decay":
        return Kind.WEIGHT_DECAY
    words = set(_words(name))
    return next((kind for kind, known in _KINDS.items() if words & set(known)), Kind.OTHER)


def along(name: str) -> Along | None:
    """What a dimension of this name is; None where the name does not say.

    >>> along("d_model"), along("n_layers"), along("k")
    (<Along.WIDTH: 'width'>, <Along.DEPTH: 'depth'>, None)
    """
    words = set(_words(name))
    order = (Along.BATCH, Along.DEPTH, Along.DURATION, Along.WIDTH)
    return next((one for one in order if words & set(_DIMENSIONS[one])), None)


def ruled(name: str, growth: Mapping[Along, float], parametrization: str, optimizer: str = "adam") -> Ruled:
    """What the rules of the literature make of a hyper-parameter.

    Args:
        growth: how many times as large the target is, in each kind of dimension.
        parametrization: "mup" if the trainable uses `raysearch.torch.scaling`, else "standard".
        optimizer: "sgd", or anything else for Adam and its like.
    """
    kind = kind_of(name)
    if kind is Kind.OTHER:
        return Ruled(1.0, (), ("no rule is known for it: carried as it is",), transfers=False)
    if kind in (Kind.BATCH, Kind.DURATION):
        return Ruled(1.0, (), ("carried as it is: say `scale` if it is to grow with the target",))
    powers = {
        one: _power(kind, one, parametrization, "sgd" if optimizer.lower() == "sgd" else "adam")
        for one, times in growth.items()
        if times != 1.0
    }
    doubts = [f"no rule for it along {one.value}: carried as it is" for one, p in powers.items() if p is None]
    known = {one: power for one, power in powers.items() if power is not None}
    factor = math.prod(growth[one] ** power.exponent for one, power in known.items())
    if is_exponent(name) and factor != 1.0:
        return Ruled(
            1.0, (), ("a logarithm, for which no rule is applied: carried as it is",), transfers=False
        )
    doubts += [power.doubt for power in known.values() if power.doubt]
    sources = dict.fromkeys(power.source for power in known.values())
    return Ruled(factor, tuple(sources), tuple(dict.fromkeys(doubts)), None not in powers.values())


def _power(kind: Kind, dimension: Along, parametrization: str, optimizer: str) -> Power | None:
    if dimension is Along.BATCH:
        return _BATCH[kind][optimizer] if kind in _BATCH else Power(0.0, SDE)
    if dimension is Along.DURATION:
        return _DURATION.get(kind, Power(0.0, HORIZON))
    return _SHAPES.get((parametrization, dimension), {}).get(kind)


def _words(name: str) -> list[str]:
    return re.split(r"[_\-./\d]+", name.lower())


# ---- a law fitted over a few scales


@dataclass(frozen=True, slots=True)
class BestValue:
    """Where the best value of a hyper-parameter lies at one scale, as far as trials tell.

    Attributes:
        log: mean of the logarithm of good values.
        error: its standard error.
    """

    scale: float
    log: float
    error: float


@dataclass(frozen=True, slots=True)
class Law:
    """The best value goes with scale ** exponent.

    Attributes:
        half_width: of the exponent's 95% interval.
        covariance: of the log at scale 1 and the exponent, 2 x 2.
    """

    exponent: float
    half_width: float
    log_at_1: float
    covariance: tuple[tuple[float, float], tuple[float, float]]

    def at(self, scale: float) -> tuple[float, float, float]:
        """(value, lower and upper end of its 95% interval) at a scale."""
        x = math.log(scale)
        (a, b), (_, c) = self.covariance
        middle, spread = self.log_at_1 + self.exponent * x, Z * math.sqrt(max(a + 2 * b * x + c * x * x, 0.0))
        return math.exp(middle), math.exp(middle - spread), math.exp(min(middle + spread, 700.0))

    def transfers(self, scale: float) -> bool:
        """Whether its interval at a scale is narrow enough to begin from: a factor of at most 10."""
        _, low, high = self.at(scale)
        return high <= WIDE * low


def best_value(values: Sequence[float], losses: Sequence[float], scale: float) -> BestValue:
    """Where the best value lies: mean log over the best quarter of the trials, at least three.

    Where a hyper-parameter does not matter, good values lie anywhere and the error says so. A best value at
    an edge of the space is drawn to its middle.

    Args:
        losses: lower is better; those that are not finite count as the worst.

    Raises:
        ValueError: fewer than four trials, or a value is not above zero.
    """
    if len(values) < FEWEST_TRIALS:
        raise ValueError(
            f"{len(values)} trials: at least {FEWEST_TRIALS} are needed to see where good values lie"
        )
    if any(not value > 0 for value in values):
        raise ValueError("a power law is for values above zero")
    order = sorted(range(len(values)), key=lambda i: losses[i] if math.isfinite(losses[i]) else math.inf)
    best = [math.log(values[i]) for i in order[: max(3, math.ceil(BEST_SHARE * len(values)))]]
    mean = math.fsum(best) / len(best)
    variance = math.fsum((x - mean) ** 2 for x in best) / (len(best) - 1)
    spread = math.log(max(values)) - math.log(min(values))
    least = (spread / len(values)) ** 2  # no nearer than the trials lie to one another
    return BestValue(scale, mean, math.sqrt(max(variance, least) / len(best)))


def fit_law(seen: Sequence[BestValue]) -> Law:
    """The power law through the best values at two or more scales, each weighted by its error.

    Weighted least squares in logarithms; with three scales or more the errors grow where the law misses.

    Raises:
        ValueError: fewer than two different scales.
    """
    if len({one.scale for one in seen}) < 2:
        raise ValueError("a law needs two different scales or more")
    weights = [1.0 / one.error**2 for one in seen]
    xs = [math.log(one.scale) for one in seen]
    total = math.fsum(weights)
    centre = math.fsum(w * x for w, x in zip(weights, xs, strict=True)) / total
    mean = math.fsum(w * one.log for w, one in zip(weights, seen, strict=True)) / total
    spread = math.fsum(w * (x - centre) ** 2 for w, x in zip(weights, xs, strict=True))
    slope = (
        math.fsum(w * (x - centre) * one.log for w, x, one in zip(weights, xs, seen, strict=True)) / spread
    )
    misses = math.fsum(
        w * (one.log - mean - slope * (x - centre)) ** 2 for w, x, one in zip(weights, xs, seen, strict=True)
    )
    wider = max(1.0, misses / (len(seen) - 2)) if len(seen) > 2 else 1.0
    c = wider / spread
    a, b = wider / total + c * centre**2, -c * centre
    return Law(slope, Z * math.sqrt(c), mean - slope * centre, ((a, b), (b, c)))
