"""Panda or caviar, by compute: which strategy fits a situation, how large, and what would change that.

The compute pays for B trainings of full length (`Situation.trainings`), of which D can follow one another
before the deadline (`.depth`). The first line that holds is the advice:

    D < 1                           no training ends before the deadline: shorten the training
    B < PROBES                      panda without probes: one training of the given settings, guarded
    the trainable has a schedule    panda below B = LEAST_CAVIAR, caviar from there on
    B >= BOTH and D >= TWICE        caviar, then panda on its winner
    else                            panda: one model, or a few

Where hyper-parameters cannot be nudged, or the trainable cannot be paused, it is caviar. Where the best
settings change during a training, or early ranks mislead, it is panda. `raysearch bench plan` calibrated the
numbers on simulated situations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.strategies.base import Recipe
from raysearch.strategies.caviar.rungs import rung_levels
from raysearch.strategies.finish import Finish
from raysearch.strategies.situation import Situation

# Compute is counted in trainings of full length (B), depth in trainings that follow one another (D).
FEW = 18  # least configurations for caviar where most hyper-parameters cannot be nudged
PROBES = 1.25  # least B for a panda that probes
BOTH = 11.25  # least B for caviar and then panda
LEAST_CAVIAR = 2.5  # least B for caviar where the trainable has a schedule
TWICE = 2.4  # least D for caviar and then panda
FINISH_SHARE = 0.25  # largest part of B that the finish takes
SAMPLES_UNLIMITED = 300  # configurations where compute sets no limit
MOST = 20_000  # most configurations that are advised
MISLEADING = 0.5  # below this Spearman correlation of early and final ranks, early ranks mislead
PACKED = 0.9  # share of the workers' time that the first stage fills: trials wait at rungs
USED_BY_LINE = 1.3  # D of the second stage
PROBES_A_CYCLE, SEGMENTS_A_CYCLE = 5, 3  # a panda's cycle: a probe and four times its length
COMMIT_S = 0.01  # seconds to write one checkpoint durably and to journal it
LEARNS = 1.2  # factor of the extra promotions of asynchronous halving, see `caviar_trainings`
USED = 0.95  # part of the time that the advice plans to use


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Attributes:
        strategy: "caviar", "panda", "two_stage" or "none": nothing fits before the deadline.
        settings: fields of the strategy, without max_iterations.
        trainings: its compute, in trainings of full length.
        trials: configurations or models that it starts.
        hours: wall time on the workers at hand.
        gpu_hours: GPU-hours of all workers together; 0 without GPUs.
        reasons: why, in sentences.
        flips: changes of the situation that would change the advice.
    """

    strategy: str
    settings: Mapping[str, Any]
    trainings: float
    trials: int
    hours: float
    gpu_hours: float
    reasons: tuple[str, ...]
    flips: tuple[str, ...]

    def recipe(self, max_iterations: int) -> Recipe:
        """The strategy with its settings; where nothing fits before the deadline, a panda without probes."""
        from raysearch.strategies import registry

        name = "panda" if self.strategy == "none" else self.strategy
        return registry.recipe(name, {"max_iterations": max_iterations, **self.settings})


def advise(s: Situation, eta: int = 3) -> Advice:
    """The strategy for a situation."""
    facts = _facts(s)
    nudges = s.can_pause and s.can_nudge
    if s.depth < 1:
        return _nothing_fits(s, facts)
    if nudges and (s.moves or (s.ranks is not None and s.ranks < MISLEADING)):
        why = (
            "the best settings change while a model trains"
            if s.moves
            else (f"early ranks mislead here (Spearman {s.ranks:.2f} with the end)")
        )
        return _panda(s, (*facts, why), ("ranks that agree early and late: caviar",))
    if nudges and s.trainings < PROBES:
        return _guarded(s, facts)
    if not nudges:
        return _caviar(
            s, (*facts, "there is nothing to nudge while a model trains, or it cannot be paused"), eta
        )
    if s.has_schedule:
        why = "the trainable has a schedule of its own, so what counts is which settings it begins with"
        few = s.trainings < LEAST_CAVIAR
        return _panda(s, (*facts, why), _flips(s)) if few else _caviar(s, (*facts, why), eta)
    if s.trainings >= BOTH and s.depth >= TWICE:
        return _both(s, facts, eta)
    if s.is_structural and s.trainings >= caviar_trainings(s.horizon, FEW, eta):
        return _caviar(s, (*facts, "most hyper-parameters cannot change in the middle of a training"), eta)
    return _panda(s, (*facts, _why_panda(s)), _flips(s))


def caviar_trainings(horizon: int, samples: int, eta: int) -> float:
    """Compute of caviar for this many samples, in trainings of `horizon` iterations, without its finish.

    Of n trials at a rung, asynchronous halving promotes n/eta (Li et al. 2020) and about LEARNS sqrt(n) more:
    it promotes before all results are in, and later trials are better because the sampler learns. On recorded
    learning curves that came to 2 to 3 times the synchronous compute for 20 to 80 samples.
    """
    levels = rung_levels(max(1.0, horizon / eta**4), horizon, eta)
    total, count, below = 0.0, float(samples), 0
    for level in levels:
        total += max(count, 1.0) * (level - below)
        count, below = min(count, count / eta + LEARNS * math.sqrt(count)), level
    return total / horizon


def _taken(s: Situation, samples: int, eta: int) -> float:
    """Compute of this many samples, in trainings of full length, with the overhead of each trial."""
    return caviar_trainings(s.horizon, samples, eta) + samples * s.per_trial


def _samples(s: Situation, trainings: float, eta: int) -> int:
    """The most samples whose compute is at most `trainings`."""
    low, high = 1, MOST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _taken(s, middle, eta) <= trainings else (low, middle - 1)
    return low


def _caviar(s: Situation, facts: tuple[str, ...], eta: int) -> Advice:
    budget = USED * s.trainings
    finish = _finish(budget, s)
    spent = finish.top * finish.seeds + finish.seeds if finish else 0
    samples = SAMPLES_UNLIMITED if math.isinf(budget) else max(eta, _samples(s, budget - spent, eta))
    trainings = _taken(s, samples, eta) + spent
    settings = {
        "samples": samples,
        "eta": eta,
        "finish": {"top": finish.top, "seeds": finish.seeds} if finish else "off",
    }
    reason = f"{samples:,} configurations go through the rungs in that: enough to find good ones among"
    why = (*facts, f"{reason} {s.dimension} hyper-parameters")
    flips = (f"fewer than {LEAST_CAVIAR:g} whole trainings in all: panda",)
    if not s.has_schedule and s.can_nudge and s.can_pause:
        flips = (f"{BOTH:g} whole trainings and {TWICE:g} behind one another: panda after it",)
    return _advice(s, "caviar", settings, trainings, samples, why, flips)


def _both(s: Situation, facts: tuple[str, ...], eta: int) -> Advice:
    if math.isinf(s.trainings):
        return _both_at_leisure(s, facts, eta)
    first = USED * s.trainings - PROBES
    if s.hours is not None:  # while one model is raised, the other workers idle
        first = min(first, PACKED * (s.depth - USED_BY_LINE) * s.workers)
    samples = max(eta, _samples(s, first, eta))
    trainings = _taken(s, samples, eta) + PROBES
    why = (*facts, f"time for {samples:,} configurations, and then to raise the best of them with care")
    flips = (f"a deadline before {TWICE:g} whole trainings: caviar alone",)
    hours = s.full_hours * (max(1.0, (trainings - PROBES) / s.workers) + PROBES)
    return _advice(s, "two_stage", {"samples": samples, "eta": eta}, trainings, samples, why, flips, hours)


def _both_at_leisure(s: Situation, facts: tuple[str, ...], eta: int) -> Advice:
    trainings = _taken(s, SAMPLES_UNLIMITED, eta) + PROBES
    hours = s.full_hours * (max(1.0, (trainings - PROBES) / s.workers) + PROBES)
    settings = {"samples": SAMPLES_UNLIMITED, "eta": eta}
    flips = ("a deadline: say it with --deadline",)
    return _advice(s, "two_stage", settings, trainings, SAMPLES_UNLIMITED, facts, flips, hours)


def hours_of(s: Situation, recipe: Any) -> float:
    """Predicted hours of a caviar or panda search."""
    if recipe.name == "panda":
        cycles = s.horizon / (PROBES_A_CYCLE * recipe.probe_iterations)
        between = SEGMENTS_A_CYCLE * cycles * (s.switch_s + COMMIT_S) / 3600
        return float(s.full_hours * (recipe.budget if recipe.population == 1 else 1.2) + between)
    finish = recipe.finish
    finals = (finish.top + s.knows) * finish.seeds if finish else 0
    return s.full_hours * max((_taken(s, recipe.samples, recipe.eta) + finals) / s.workers, 1.0)


def _panda(s: Situation, why: tuple[str, ...], flips: tuple[str, ...]) -> Advice:
    population = int(min(4, s.workers, max(1, s.trainings // PROBES if not math.isinf(s.trainings) else 4)))
    trainings = PROBES if population == 1 else float(population)
    budget = max(1.0, min(PROBES, s.depth * USED, s.trainings)) if population == 1 else PROBES
    settings = {"population": population} | ({"budget": round(budget, 3)} if budget != PROBES else {})
    hours = s.full_hours * (budget if population == 1 else 1.2)
    return _advice(s, "panda", settings, trainings, population, why, flips, hours)


def _guarded(s: Situation, facts: tuple[str, ...]) -> Advice:
    why = (*facts, "only one training fits: the settings at hand, watched, and put back where they spike")
    settings = {"population": 1, "budget": 1.0}
    flips = (f"{PROBES:g} whole trainings or more: panda with probes",)
    return _advice(s, "panda", settings, 1.0, 1, why, flips, s.full_hours)


def _nothing_fits(s: Situation, facts: tuple[str, ...]) -> Advice:
    fit = math.floor(s.horizon * s.depth)
    why = (*facts, "not one training comes to its end before the deadline")
    flips = (f"max_iterations of at most {fit}, a later deadline, or a faster training",)
    return _advice(s, "none", {"population": 1, "budget": 1.0}, 1.0, 1, why, flips, s.full_hours)


def _advice(
    s: Situation,
    name: str,
    settings: Mapping[str, Any],
    trainings: float,
    trials: int,
    why: tuple[str, ...],
    flips: tuple[str, ...],
    hours: float | None = None,
) -> Advice:
    wall = hours if hours is not None else s.full_hours * max(trainings / s.workers, 1.0)
    return Advice(name, settings, trainings, trials, wall, trainings * s.full_hours * s.gpus, why, flips)


def _finish(budget: float, s: Situation) -> Finish | None:
    """The largest finish within FINISH_SHARE of the budget; None without room or time for one."""
    if s.depth < TWICE:
        return None
    for top, seeds in ((3, 3), (2, 3), (2, 2), (1, 2)):
        if (top + 1) * seeds <= FINISH_SHARE * budget:
            return Finish(top, seeds)
    return None


def _facts(s: Situation) -> tuple[str, ...]:
    said = [f"a whole training takes {_words(s.full_hours)} on one of {s.workers} workers"]
    if not math.isinf(s.trainings):
        said.append(
            f"there is room for {s.trainings:.1f} of them, {min(s.depth, s.trainings):.1f} behind one another"
        )
    else:
        said.append("no deadline and no limit was given")
    return tuple(said)


def _why_panda(s: Situation) -> str:
    if s.trainings >= BOTH:
        return "a search first, and then a model raised from its best, do not fit behind one another"
    return f"fewer than {BOTH:g} whole trainings: a few models are better raised with care than many compared"


def _flips(s: Situation) -> tuple[str, ...]:
    less = f"fewer than {PROBES:g} whole trainings: one guarded training"
    if s.has_schedule:
        return (f"{LEAST_CAVIAR:g} whole trainings or more: caviar", less)
    both = f"{BOTH:g} whole trainings or more, {TWICE:g} of them behind one another: caviar, then panda"
    return (both, "a schedule in the trainable itself: caviar", less)


def _words(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.1f} s"
    return f"{hours * 60:.1f} min" if hours < 1 else f"{hours:.1f} h"
