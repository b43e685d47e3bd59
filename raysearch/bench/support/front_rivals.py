"""Who searches several objectives in `raysearch bench objectives`; all draw from the same space and rows."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from raysearch.bench.support.front_tasks import Task
from raysearch.bench.support.rivals import EpochByEpoch, FakeTrial, FullTrainings, Points, segment
from raysearch.core.segment import Config, Outcome, Segment, Status
from raysearch.core.version import install
from raysearch.errors import SpecError
from raysearch.executors.simulated import RowsOf, UnusedRows
from raysearch.interop.write_space import optuna_to_config, to_optuna
from raysearch.space.objectives import Standing
from raysearch.strategies.base import Strategy, started
from raysearch.strategies.caviar.settings import Caviar
from raysearch.strategies.samplers.base import Sampler
from raysearch.strategies.samplers.factory import make_sampler

Contender = Callable[[Task, int, int], Strategy]  # (task, seed, most trials) -> the search at its beginning
ETA = 3


def caviar(recipe: Caviar) -> Contender:
    """The recipe, without its finish."""

    def start(task: Task, seed: int, most: int) -> Strategy:
        sampler = _drawn(task, make_sampler(recipe.sampler, task.space, seed, task.epochs, task.goals))
        source = _Bound(sampler)
        mine = replace(recipe, samples=most, max_iterations=task.epochs, sampler=source, finish=None)
        return started(mine, task.space, task.goals, seed, None)

    return start


def random_search(task: Task, seed: int, most: int) -> Strategy:
    """Full trainings of random points."""
    return FullTrainings(_drawn(task, make_sampler("random", task.space, seed, task.epochs)), task.epochs)


def optuna_tpe(task: Task, seed: int, most: int) -> Strategy:
    """Optuna's TPE with a direction for each objective, and the limits as constraints.

    Each training is a full one: Optuna prunes no study of several objectives.
    """
    return OptunaFront(task, seed)


def syne_moasha(task: Task, seed: int, most: int) -> Strategy:
    """Syne Tune's MOASHA over random points, asked after every epoch."""
    points = _drawn(task, make_sampler("random", task.space, seed, task.epochs))
    return EpochsOfSeveral(points, task)


def check_installed(names: Iterable[str]) -> list[str]:
    """What is said of contenders that cannot take part. Raises SpecError where Optuna is not installed."""
    if "optuna-tpe" in names and find_spec("optuna") is None:
        raise SpecError(f"optuna-tpe: Optuna is not installed: {install('bench-tables')}; or leave it out")
    if "syne-moasha" in names and find_spec("syne_tune") is None:
        return ["syne-moasha did not take part: the package syne-tune is not installed"]
    return []


class _Bound:
    """A source of one sampler that is bound already."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def bind(self, space: Any, seed: int, iterations: int) -> Any:
        """The sampler."""
        return self.sampler

    def bind_several(self, space: Any, seed: int, iterations: int, objectives: Any) -> Any:
        """The sampler."""
        return self.sampler


def _drawn(task: Task, sampler: Sampler) -> Any:
    """The sampler, its proposals moved to unused rows where the task has rows."""
    return sampler if task.table is None else RowsOf(task.table, sampler)


class OptunaFront:
    """A study of several directions, asked for full trainings."""

    def __init__(self, task: Task, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._task = task
        self._distributions = to_optuna(task.space)
        settings: dict[str, Any] = {"seed": seed, "constant_liar": True}
        if task.goals.limits and not hasattr(optuna.Trial, "set_constraint"):  # before Optuna 5
            settings["constraints_func"] = lambda trial: trial.user_attrs["excesses"]
        sampler = optuna.samplers.TPESampler(**settings)
        self._rows = None if task.table is None else UnusedRows(task.table)
        if self._rows is not None and task.table is not None:
            from raysearch.bench.support.optuna_rival import RowsOfStudy

            sampler = RowsOfStudy(sampler, task.table, self._rows.take)
        self._study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(task.goals.modes))
        self._trials: dict[int, Any] = {}
        self._next = 0

    def ask(self, free: int) -> list[Segment]:
        """As many new trials as are wanted."""
        segments: list[Segment] = []
        while len(segments) < free and not (self._rows is not None and self._rows.is_empty):
            asked = self._study.ask(self._distributions)
            config: Config = optuna_to_config(self._task.space, asked.params)
            self._trials[self._next] = asked
            segments.append(segment(self._next, config, 0, self._task.epochs))
            self._next += 1
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Tells the study every objective, and how far the limits are exceeded."""
        import optuna

        asked = self._trials.pop(outcome.segment.trial)
        standing = self._task.goals.standing(outcome.curve)
        if outcome.status is not Status.COMPLETED or not math.isfinite(standing):
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
            return
        several = standing if isinstance(standing, Standing) else Standing((standing,))
        asked.set_user_attr("excesses", [*several.excesses])
        for number, excess in enumerate(several.excesses):
            if hasattr(asked, "set_constraint"):
                asked.set_constraint(str(number), excess)
        self._study.tell(asked, [*several.values])

    @property
    def finished(self) -> bool:
        """Never, while there are rows."""
        return self._rows is not None and self._rows.is_empty and not self._trials

    def kept(self) -> Set[int]:
        """Nothing."""
        return set()


class EpochsOfSeveral(EpochByEpoch):
    """Trials an epoch at a time; Syne Tune's MOASHA says whether they go on."""

    def __init__(self, points: Points, task: Task) -> None:
        theirs: Any = importlib.import_module("syne_tune.optimizer.schedulers.multiobjective.moasha")
        self._theirs: Any = theirs.MOASHA(
            {}, [*task.goals.modes], max_t=task.epochs, grace_period=1, reduction_factor=ETA, random_seed=0
        )
        super().__init__(points, task.epochs, task.goals.leading, _Begins(self._theirs))
        self._task = task

    def tell(self, outcome: Outcome) -> None:
        """Passes the epoch's objectives on, turned so that lower is better."""
        self._out -= 1
        done, goals = outcome.segment, self._task.goals
        values = goals.turned(goals.values_at(outcome.curve))
        if outcome.status is not Status.COMPLETED or not all(map(math.isfinite, values)):
            return
        result = {**dict(zip(goals.modes, values, strict=True)), "training_iteration": done.stop}
        goes_on = self._theirs.on_trial_result(FakeTrial(str(done.trial)), result) == "CONTINUE"
        if goes_on and done.stop < self._iterations:
            self._going.append(segment(done.trial, done.config, done.stop, done.stop + 1, done.stop))


class _Begins:
    """As much of a scheduler as begins trials."""

    def __init__(self, theirs: Any) -> None:
        self._theirs = theirs

    def begin(self, trial: int) -> None:
        """A trial begins."""
        self._theirs.on_trial_add(FakeTrial(str(trial)))

    def goes_on(self, trial: int, iteration: int, value: float) -> bool:
        """Not asked."""
        return False

    def end(self, trial: int, iteration: int, value: float) -> None:
        """Not told."""

    def fail(self, trial: int) -> None:
        """Not told."""


CAVIAR = Caviar(samples=1, max_iterations=1)
CONTENDERS: Mapping[str, Contender] = {
    "random": random_search,
    "optuna-tpe": optuna_tpe,
    "syne-moasha": syne_moasha,
    "caviar-sobol": caviar(replace(CAVIAR, sampler="sobol")),
    "caviar": caviar(CAVIAR),
}
