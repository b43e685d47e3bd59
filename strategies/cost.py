"""What a search costs, before it runs.

A `RungCost` is of strategies with rungs, as caviar has: of the n trials at a rung n/eta go on. A search
that learns sends some more on, since later trials are better than earlier ones. A `PopulationCost` is of
strategies that train a number of models with a budget of iterations, as panda does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

SETTLED = (
    3  # times eta trials at a rung, from which on the part that went on is taken for the coming ones too
)
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
    def trials(self) -> int: ...

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

    def left(self, progress: Progress, training: Sequence[int] = ()) -> float | None:
        """Iterations still to be trained; None with brackets, whose rungs mix.

        Of the trials that are still to come to a rung one in eta goes on, and more where more did so far; of
        all together at least one in eta.

        Args:
            training: how far each trial is that is in training.
        """
        if self.brackets > 1:
            return None
        ended = {rung.iteration: _ended(rung) for rung in progress.rungs}
        levels = [step.iteration for step in self.steps]
        inside = [
            [at for at in training if below <= at < level]
            for below, level in zip([0, *levels], levels, strict=False)
        ]
        begun = max(progress.trials, ended.get(levels[0], 0))
        coming: float = max(0, self.samples - begun)
        below, total = 0, 0.0
        for k, level in enumerate(levels):
            total += coming * (level - below) + sum(level - at for at in inside[k])
            if level == levels[-1]:
                break
            here, arriving = ended.get(level, 0), coming + len(inside[k])
            above = ended.get(levels[k + 1], 0) + len(inside[k + 1])
            share = 1 / self.eta
            if here >= SETTLED * self.eta and above / here > share:
                share = (share + above / here) / 2  # early ones go on more often than late ones
            expected = arriving * share
            expected = math.floor(expected) if expected >= 1 else expected  # of less than one trial a part
            coming, below = max(expected, (here + arriving) // self.eta - above), level
        return total + max(0, self.finals - progress.finals) * self.horizon

    def ahead(self, at: int) -> float:
        """Iterations that a trial at iteration `at` has before it: to its rung, and at one in eta beyond."""
        levels, part, total = [step.iteration for step in self.steps if step.iteration > at], 1.0, 0.0
        for below, level in zip([at, *levels], levels, strict=False):
            total += part * (level - below)
            part /= self.eta
        return total


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

    def left(self, progress: Progress, training: Sequence[int] = ()) -> int | None:
        """Iterations still to be trained, at most."""
        return max(0, self.iterations - self.done(progress))

    def ahead(self, at: int) -> float:
        """0: how far a segment goes is not known here."""
        return 0.0


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
