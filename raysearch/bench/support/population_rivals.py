"""Populations that panda is compared with: PBT, PB2, iterated PBT, and cosines side by side.

Each trains `members` models for the same iterations; the best by the metric is handed over. Learning rates
stay within the task's 1000x of starts, ten times wider on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raysearch.bench.support.raised_models import Floats, Model
from raysearch.bench.support.schedule_rivals import cosine

QUANTILE, RESAMPLE, FACTORS = 0.25, 0.25, (0.8, 1.2)  # Ray Tune's own
INTERVAL = 0.04  # of the training
PATIENCE = 4  # intervals in which the best does not improve, after which iterated PBT starts again
KEPT, NOISE = 0.8, 0.1  # shrink and perturb


@dataclass
class Member:
    """A model of a population, and the rate that it trains with."""

    model: Model
    log_rate: float
    value: float = math.inf  # lower is better
    before: float = math.inf


@dataclass
class Population:
    """What a rule decides on.

    Attributes:
        bounds: of log rates.
        history: (time, log rate, gain of the value in an interval), for PB2.
    """

    members: list[Member]
    bounds: tuple[float, float]
    rng: np.random.Generator
    iterations: int
    history: list[tuple[float, float, float]] = field(default_factory=list)

    def drawn(self) -> float:
        """A log rate within the bounds."""
        return float(self.rng.uniform(*self.bounds))

    def ranked(self) -> list[Member]:
        """The best first."""
        return sorted(self.members, key=lambda m: m.value if math.isfinite(m.value) else math.inf)


Explore = Callable[
    [Population, float, float], float
]  # (population, time, the donor's log rate) -> a log rate


def perturbed(all_: Population, time: float, donor: float) -> float:
    """PBT's exploration (Jaderberg et al. 2017, section 4.1.1): 0.8 or 1.2 times, or drawn anew."""
    if all_.rng.random() < RESAMPLE:
        return all_.drawn()
    return float(np.clip(donor + math.log(all_.rng.choice(FACTORS)), *all_.bounds))


def by_bandit(all_: Population, time: float, donor: float) -> float:
    """PB2's (Parker-Holder et al. 2020, eq. 7): the rate of the highest UCB of gain, by a time-varying GP."""
    if len(all_.history) < 4:
        return all_.drawn()
    seen = np.array(all_.history[-60:])
    low, high = all_.bounds
    grid = np.linspace(low, high, 60)
    gains = (seen[:, 2] - seen[:, 2].mean()) / max(float(seen[:, 2].std()), 1e-12)
    scaled = (seen[:, 1] - low) / (high - low)
    inner = _kernel(scaled, scaled, seen[:, 0], seen[:, 0]) + 0.1 * np.eye(len(seen))
    cross = _kernel((grid - low) / (high - low), scaled, np.full(60, time), seen[:, 0])
    solved = np.linalg.solve(inner, cross.T)
    spread = np.sqrt(np.maximum(1.0 - np.sum(cross.T * solved, axis=0), 0.0))
    return float(grid[np.argmax(solved.T @ gains + 1.5 * spread)])


def _kernel(a: Floats, b: Floats, at: Floats, bt: Floats) -> Floats:
    near = np.exp(-0.5 * ((a[:, None] - b[None, :]) / 0.2) ** 2)
    return np.asarray(near * 0.9 ** (20 * np.abs(at[:, None] - bt[None, :]) / 2))


def population(explore: Explore, is_iterated: bool = False) -> Callable[..., Model]:
    """A rule: after each interval the worst quarter copies the best quarter and explores from its rate.

    Iterated (Chebykin et al. 2025): where the best did not improve in PATIENCE intervals, weights are shrunk
    and perturbed, rates are proposed anew and the interval doubles.
    """

    def train(members: list[Model], rates: list[float], bounds: tuple[float, float], **given: Any) -> Model:
        iterations, sign = given["iterations"], given["sign"]
        rng = np.random.default_rng(given["seed"])
        all_ = Population(
            [Member(m, math.log(r)) for m, r in zip(members, rates, strict=True)], bounds, rng, iterations
        )
        length, done, best, stale = max(1, round(INTERVAL * iterations)), 0, math.inf, 0
        while done < iterations:
            count = min(length, iterations - done)
            _trained(all_, count, sign, done / iterations)
            done += count
            if done >= iterations:
                break
            leader = all_.ranked()[0].value
            best, stale = (leader, 0) if leader < best else (best, stale + 1)
            if is_iterated and stale >= PATIENCE and iterations - done > 4 * length:
                length, stale, best = 2 * length, 0, math.inf
                _restart(all_, explore, done / iterations)
            else:
                _exploit(all_, explore, done / iterations)
        return all_.ranked()[0].model

    return train


def _trained(all_: Population, count: int, sign: float, time: float) -> None:
    for member in all_.members:
        for _ in range(count):
            member.model.learn(math.exp(member.log_rate))
        value = sign * member.model.validate()[0]
        member.before, member.value = member.value, value if math.isfinite(value) else math.inf
        if math.isfinite(member.before) and math.isfinite(member.value):
            all_.history.append((time, member.log_rate, member.before - member.value))


def _exploit(all_: Population, explore: Explore, time: float) -> None:
    ranked = all_.ranked()
    count = max(1, round(QUANTILE * len(ranked)))
    for poor in ranked[-count:]:
        donor = ranked[int(all_.rng.integers(count))]
        poor.model.load(donor.model.state())
        poor.model.reseed(int(all_.rng.integers(2**31)))
        poor.value, poor.log_rate = donor.value, explore(all_, time, donor.log_rate)


def _restart(all_: Population, explore: Explore, time: float) -> None:
    best = all_.ranked()[0]
    state = best.model.state()
    for member in all_.members:
        if member is not best:
            member.model.load(state)
            weights = member.model.weights()
            spread = NOISE * float(weights.std())
            member.model.put(KEPT * weights + spread * all_.rng.standard_normal(len(weights)))
            member.model.reseed(int(all_.rng.integers(2**31)))
        member.log_rate = by_bandit(all_, time, best.log_rate)
        member.value = member.before = math.inf


def cosines(members: list[Model], rates: list[float], bounds: tuple[float, float], **given: Any) -> Model:
    """As many cosine schedules as members, from rates spread over the bounds' middle 1000x."""
    middle = sum(bounds) / 2
    peaks = np.linspace(middle - 1.5 * math.log(10), middle + 1.5 * math.log(10), len(members))
    for model, peak in zip(members, peaks, strict=True):
        for done in range(given["iterations"]):
            model.learn(math.exp(peak) * cosine(done / given["iterations"]))
    values = [given["sign"] * model.validate()[0] for model in members]
    return members[int(np.argmin([v if math.isfinite(v) else math.inf for v in values]))]


RULES: dict[str, Callable[..., Model]] = {
    "pbt": population(perturbed),
    "pb2": population(by_bandit),
    "ipbt": population(perturbed, is_iterated=True),
    "cosines": cosines,
}
