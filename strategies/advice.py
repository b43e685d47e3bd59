"""Panda or caviar, by compute: which strategy fits a situation, how large, and what would change that.

With B whole trainings in all and D behind one another (`Situation.trainings`, `.depth`):

    D < 1                             nothing comes to its end: shrink the training
    B < PROBES                        one training of the settings at hand, under panda's guard, without
    probes the trainable has a schedule      caviar, from B = LEAST_CAVIAR on
    B >= BOTH and D >= TWICE          caviar, then panda on its winner
    else                              panda: one model, or a few

The numbers are calibrated on
simulated situations (`raysearch bench plan`).
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

FEW = 18  # configurations, below which caviar is not worth it where most cannot be nudged
PROBES = 1.25  # whole trainings that a panda with probes takes
BOTH = 11.25  # whole trainings, from which on caviar and then panda is best
LEAST_CAVIAR = 2.5  # whole trainings, from which on caviar is best where the trainable has a schedule
TWICE = 2.4  # depth that caviar and then panda need
FINISH_SHARE = 0.25  # of all, at most, for the finish
SAMPLES_UNLIMITED = 300
MOST = 20_000
MISLEADING = 0.5  # Spearman, below which early ranks mislead
PACKED = 0.9  # of the workers' time before the second stage: rungs wait for one another
USED_BY_LINE = 1.3  # whole trainings that the second stage takes, behind one another
PROBES_A_CYCLE, SEGMENTS_A_CYCLE = 5, 3  # of a panda: a probe and a stretch of four; two arms and a stretch
COMMIT_S = 0.01  # to write a checkpoint that is to survive a power cut, and to journal it
LEARNS = 1.2
USED = 0.95  # of the time: what is planned to be used


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Attributes:
        strategy: "caviar", "panda", "two_stage" or "none": nothing fits before the deadline.
        settings: of the strategy, but for max_iterations.
        trainings: whole trainings that it takes.
        trials: configurations or models that it begins.
        hours: of wall time on the workers there are.
        gpu_hours: of all workers together; 0 without GPUs.
        reasons: in words.
        flips: what would change the advice.
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
        """The recipe; of a panda without probes where nothing fits."""
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
    """Whole trainings that caviar takes for so many samples, its finish apart.

    Of n trials at a rung n/eta go on (Li et al. 2020), and about LEARNS sqrt(n) more, since decisions are not
    waited for and trials become better while the sampler learns; measured on recorded curves, 2 to 3 times
    as much in all for 20 to 80 samples.
    """
    levels = rung_levels(max(1.0, horizon / eta**4), horizon, eta)
    total, count, below = 0.0, float(samples), 0
    for level in levels:
        total += max(count, 1.0) * (level - below)
        count, below = min(count, count / eta + LEARNS * math.sqrt(count)), level
    return total / horizon


def _taken(s: Situation, samples: int, eta: int) -> float:
    """Whole trainings that so many samples take, with what their trials cost besides."""
    return caviar_trainings(s.horizon, samples, eta) + samples * s.per_trial


def _samples(s: Situation, trainings: float, eta: int) -> int:
    """How many samples so many whole trainings are enough for."""
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
    """The largest finish that takes its share at most and can still be trained after the search."""
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
