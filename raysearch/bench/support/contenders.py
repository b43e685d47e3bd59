"""The contenders on tables: each draws its points from the table's space, moved to the nearest unused row.

Those that learn nothing draw the same points for a seed, so that two of them differ by their rule alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from raysearch.bench.support.rivals import EpochByEpoch, FewEpochs, FullTrainings, RayAsha
from raysearch.core.version import install
from raysearch.errors import SpecError
from raysearch.executors.simulated import RowsOf, Table
from raysearch.strategies.base import Strategy
from raysearch.strategies.caviar.settings import Caviar
from raysearch.strategies.samplers.factory import make_sampler

Contender = Callable[[Table, int, int], Strategy]  # (table, seed, workers) -> the search at its beginning
CANDIDATES = 0.25  # full trainings of each worker that an i-epoch contender spends on first epochs,
FEWEST = 4  # but at least so many candidates, and two for each worker: it trains no others


def points(table: Table, sampler: object, seed: int) -> RowsOf:
    """Rows of the table in the order in which a sampler proposes them."""
    return RowsOf(table, make_sampler(sampler, table.space, seed, table.epochs))


def caviar(recipe: Caviar) -> Contender:
    """The recipe, without its finish."""

    def start(table: Table, seed: int, workers: int) -> Strategy:
        mine = replace(
            recipe,
            samples=len(table.configs),
            max_iterations=table.epochs,
            sampler=points(table, recipe.sampler, seed),
            finish=None,
        )
        return mine.start(table.space, metric=table.metric, mode=table.mode, seed=seed)

    return start


def full_trainings(table: Table, seed: int, workers: int) -> Strategy:
    """Random search."""
    return FullTrainings(points(table, "random", seed), table.epochs)


def few_epochs(epochs: int) -> Contender:
    """i epochs for as many random points as take each worker a quarter of a training, then the best fully.

    Random search where a training is no longer than i.
    """

    def start(table: Table, seed: int, workers: int) -> Strategy:
        if epochs >= table.epochs:
            return full_trainings(table, seed, workers)
        count = max(2 * workers, FEWEST, round(CANDIDATES * workers * table.epochs / epochs))
        drawn = points(table, "random", seed)
        configs = [drawn.propose(trial) for trial in range(min(count, len(table.configs)))]
        candidates = [config for config in configs if config is not None]
        return FewEpochs(candidates, epochs, table.epochs, table.metric, table.mode)

    return start


def ray_asha(sampler: str) -> Contender:
    """Ray Tune's ASHA with eta 3 and grace period 1."""

    def start(table: Table, seed: int, workers: int) -> Strategy:
        asha = RayAsha(table.epochs, table.metric, table.mode, eta=3, first=1)
        return EpochByEpoch(points(table, sampler, seed), table.epochs, table.metric, asha)

    return start


def optuna_tpe(pruner: str) -> Contender:
    """Optuna's TPE with one of its pruners, asked after every epoch."""

    def start(table: Table, seed: int, workers: int) -> Strategy:
        import optuna

        from raysearch.bench.support.optuna_rival import OptunaStudy

        pruners: Mapping[str, Callable[[], Any]] = {
            "asha": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(1, table.epochs, 3),
            "median": optuna.pruners.MedianPruner,
        }
        study = OptunaStudy(table, seed, pruners[pruner]())
        return EpochByEpoch(study, table.epochs, table.metric, study)

    return start


def check_installed(names: Iterable[str]) -> None:
    """Raises SpecError where one of these contenders needs a package that is not installed."""
    theirs = [name for name in names if name.startswith("optuna-")]
    if theirs and find_spec("optuna") is None:
        raise SpecError(
            f"{', '.join(theirs)}: Optuna is not installed: {install('bench-tables')}; or leave them out"
        )


CAVIAR = Caviar(samples=1, max_iterations=1)
CONTENDERS: Mapping[str, Contender] = {
    "random": full_trainings,
    "1-epoch": few_epochs(1),
    "3-epoch": few_epochs(3),
    "9-epoch": few_epochs(9),
    "ray-asha": ray_asha("random"),
    "ray-asha-sobol": ray_asha("sobol"),
    "optuna-asha": optuna_tpe("asha"),
    "optuna-hyperband": optuna_tpe("hyperband"),
    "optuna-median": optuna_tpe("median"),
    "caviar-random": caviar(replace(CAVIAR, sampler="random")),
    "caviar-sobol": caviar(replace(CAVIAR, sampler="sobol")),
    "caviar": caviar(CAVIAR),
    "caviar-auto": caviar(replace(CAVIAR, min_iterations="auto")),
    "caviar-stopping": caviar(replace(CAVIAR, variant="stopping")),
}
