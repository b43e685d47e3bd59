"""What a search costs, before it runs.

A `RungCost` is of strategies with rungs, as caviar has: of the n trials at a rung n/eta go on. A search
that learns sends some more on, since later trials are better than earlier ones. A `PopulationCost` is of
strategies that train a number of models with a budget of iterations, as panda does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

ENDED = ("completed", "diverged", "failed")


class RungProgress(Protocol):
    """How many segments ended at a rung, by how they ended."""

    @property
    def iteration(self) -> int: ...

    @property
    def counts(self) -> Mapping[str, int]: ...


class Progress(Protocol):
    """What a search has done so far; a snapshot of the engine is one."""

    @property
    def rungs(self) -> Sequence[RungProgress]: ...

    @property
    def finals(self) -> int: ...

    @property
    def iterations(self) -> int: ...


@dataclass(frozen=True, slots=True)
class RungWork:
    """A rung: how many trials are trained to `iteration`, and for how many iterations all together."""

    iteration: int
    trials: int
    iterations: int


@dataclass(frozen=True, slots=True)
class RungCost:
    """The trainings of a search, rung by rung.

    Attributes:
        steps: from the lowest rung up.
        finals: trainings from scratch in the finish, each of `horizon` iterations.
        brackets: how many halvings run side by side.
    """

    samples: int
    horizon: int
    eta: int
    steps: tuple[RungWork, ...]
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

    def done(self, progress: Progress) -> int:
        """Iterations that were trained so far."""
        below, total = 0, 0
        for rung in progress.rungs:
            total += _ended(rung) * (rung.iteration - below)
            below = rung.iteration
        return total + progress.finals * self.horizon

    def left(self, progress: Progress) -> int | None:
        """Iterations still to be trained; None with brackets, whose rungs mix."""
        if self.brackets > 1:
            return None
        ended = {rung.iteration: _ended(rung) for rung in progress.rungs}
        coming, below, total = self.samples, 0, 0
        for step in self.steps:
            trials = max(coming, ended.get(step.iteration, 0))
            total += (trials - ended.get(step.iteration, 0)) * (step.iteration - below)
            coming, below = trials // self.eta, step.iteration
        return total + max(0, self.finals - progress.finals) * self.horizon


@dataclass(frozen=True, slots=True)
class PopulationCost:
    """The training of one model, or a few.

    Attributes:
        horizon: iterations of a model.
        iterations: the most that all trainings together take, probes and losing arms included.
        members: models that are trained.
    """

    horizon: int
    iterations: int
    members: int = 1

    @property
    def full_trainings(self) -> float:
        """How many trainings of one model would take as many iterations."""
        return self.iterations / self.horizon

    def done(self, progress: Progress) -> int:
        """Iterations that were trained so far."""
        return progress.iterations

    def left(self, progress: Progress) -> int | None:
        """Iterations still to be trained, at most."""
        return max(0, self.iterations - self.done(progress))


def rung_steps(levels: tuple[int, ...], samples: int, eta: int, shares: list[float]) -> tuple[RungWork, ...]:
    """The trainings of halvings that run side by side.

    Args:
        levels: the rungs, in iterations.
        shares: where, on [0, 1), one bracket's share of the samples ends and the next one's begins.
    """
    ends = [*shares, 1.0]
    trials = dict.fromkeys(levels, 0)
    iterations = dict.fromkeys(levels, 0)
    for bracket, (start, end) in enumerate(zip([0.0, *ends], ends, strict=False)):
        count, below = round(samples * end) - round(samples * start), 0
        for level in levels[bracket:]:
            trials[level] += count
            iterations[level] += count * (level - below)
            count, below = count // eta, level
    return tuple(RungWork(level, trials[level], iterations[level]) for level in levels)


def _ended(rung: RungProgress) -> int:
    return sum(rung.counts.get(status, 0) for status in ENDED)
