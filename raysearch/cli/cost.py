"""What a search will cost, before it runs and while it does.

A `Plan` is for strategies with rungs (`levels`, `samples`, `eta`), as caviar has: of the n trials at a
rung n/eta go on. A search that learns sends some more on, since later trials are better than earlier
ones. A `Course` is for strategies that raise models with a budget of `iterations`, as panda does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from raysearch.engine.snapshot import Rung, Snapshot
from raysearch.strategies.base import Recipe


@dataclass(frozen=True, slots=True)
class Step:
    """A rung: how many trials are trained to `iteration`, and for how many iterations all together."""

    iteration: int
    trials: int
    iterations: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The trainings of a search, rung by rung.

    Attributes:
        steps: from the lowest rung up.
        finals: trainings from scratch in the finish, each of `horizon` iterations.
        brackets: how many halvings run side by side.
    """

    samples: int
    horizon: int
    eta: int
    steps: tuple[Step, ...]
    finals: int = 0
    brackets: int = 1

    @property
    def iterations(self) -> int:
        """Of all trainings together."""
        return sum(step.iterations for step in self.steps) + self.finals * self.horizon

    @property
    def full_trainings(self) -> float:
        """How many trainings to the end would take as many iterations."""
        return self.iterations / self.horizon

    @property
    def share(self) -> float:
        """Of what it takes to train every sample to the end."""
        return self.full_trainings / self.samples

    def done(self, status: Snapshot) -> int:
        """Iterations behind a snapshot."""
        below, total = 0, 0
        for rung in status.rungs:
            total += _ended(rung) * (rung.iteration - below)
            below = rung.iteration
        return total + status.finals * self.horizon

    def left(self, status: Snapshot) -> int | None:
        """Iterations still to be trained after a snapshot; None with brackets, whose rungs mix."""
        if self.brackets > 1:
            return None
        ended = {rung.iteration: _ended(rung) for rung in status.rungs}
        coming, below, total = self.samples, 0, 0
        for step in self.steps:
            trials = max(coming, ended.get(step.iteration, 0))
            total += (trials - ended.get(step.iteration, 0)) * (step.iteration - below)
            coming, below = trials // self.eta, step.iteration
        return total + max(0, self.finals - status.finals) * self.horizon


@dataclass(frozen=True, slots=True)
class Course:
    """The raising of one model, or a few.

    Attributes:
        horizon: iterations of a model.
        iterations: the most that all trainings together take, probes and losing arms included.
        members: models that are raised at a time.
    """

    horizon: int
    iterations: int
    members: int = 1

    @property
    def full_trainings(self) -> float:
        """How many trainings of one model would take as many iterations."""
        return self.iterations / self.horizon

    def done(self, status: Snapshot) -> int:
        """Iterations behind a snapshot."""
        return status.iterations

    def left(self, status: Snapshot) -> int | None:
        """Iterations still to be trained after a snapshot, at most."""
        return max(0, self.iterations - self.done(status))


def plan_of(recipe: Recipe, has_baseline: bool) -> Plan | Course | None:
    """The plan of a search; None for a strategy that says neither its rungs nor its iterations."""
    if all(hasattr(recipe, name) for name in ("iterations", "max_iterations", "population")):
        raised: Any = recipe
        return Course(raised.max_iterations, raised.iterations, raised.population)
    if not all(hasattr(recipe, name) for name in ("levels", "samples", "eta", "max_iterations")):
        return None
    settings: Any = recipe
    finish = getattr(settings, "finish", None)
    brackets = int(getattr(settings, "brackets", 1))
    return Plan(
        samples=settings.samples,
        horizon=settings.max_iterations,
        eta=settings.eta,
        steps=_steps(tuple(settings.levels), settings.samples, settings.eta, brackets),
        finals=(min(finish.top, settings.samples) + has_baseline) * finish.seeds if finish else 0,
        brackets=brackets,
    )


def _steps(levels: tuple[int, ...], samples: int, eta: int, brackets: int) -> tuple[Step, ...]:
    from raysearch.strategies.caviar.brackets import bracket_shares

    ends = [*bracket_shares(len(levels), brackets, eta), 1.0]
    trials = dict.fromkeys(levels, 0)
    iterations = dict.fromkeys(levels, 0)
    for bracket, (start, end) in enumerate(zip([0.0, *ends], ends, strict=False)):
        count, below = round(samples * end) - round(samples * start), 0
        for level in levels[bracket:]:
            trials[level] += count
            iterations[level] += count * (level - below)
            count, below = count // eta, level
    return tuple(Step(level, trials[level], iterations[level]) for level in levels)


def _ended(rung: Rung) -> int:
    return sum(rung.counts.get(status, 0) for status in ("completed", "diverged", "failed"))
