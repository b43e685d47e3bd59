"""Ray Tune's Tuner with one import changed: what it is given is read, and what comes back answers alike."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)
from ray.tune.schedulers.pb2 import PB2
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

import raysearch
from raysearch.errors import SpecError
from raysearch.integrations.tune import Tuner

SPACE = {"a": tune.uniform(0.0, 1.0), "b": 3}


def objective(config: dict[str, Any]) -> None:
    """As in Ray's own examples: a score that grows, with a checkpoint each time."""
    first = 0
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            first = int(Path(folder, "step").read_text())
    for step in range(first, 100):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text(str(step + 1))
            score = config["a"] * (step + 1) + config["b"]
            tune.report({"score": score}, checkpoint=tune.Checkpoint.from_directory(folder))


def tuner(storage: Path, space: Any = SPACE, stop: Any = None, **config: Any) -> Tuner:
    return Tuner(
        objective,
        param_space=space,
        tune_config=tune.TuneConfig(metric="score", mode="max", **config),
        run_config=tune.RunConfig(name="run", storage_path=str(storage), stop=stop),
        executor="inline",
        say=lambda line: None,
    )


def strategy_of(made: Tuner) -> Any:
    return made._given["strategy"]


def test_asha_is_searched_and_the_grid_answers_as_rays_does(storage: Path) -> None:
    scheduler = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3)
    made = tuner(storage, num_samples=6, scheduler=scheduler)
    assert strategy_of(made) == raysearch.Caviar(
        6, 9, 3, 1, 1, variant="stopping", finish=None, sampler="random"
    )
    grid = made.fit()
    assert (len(grid), grid.num_errors, grid.num_terminated) == (6, 0, 6)
    best = grid.get_best_result()
    assert best.metrics["training_iteration"] == 9
    assert best.metrics["score"] == pytest.approx(best.config["a"] * 9 + 3)
    assert best.config["b"] == 3
    assert max(result.metrics["score"] for result in grid) == best.metrics["score"]
    assert Path(best.checkpoint.path, "step").read_text() == "9"
    worst = grid.get_best_result(mode="min", scope="all")
    assert worst.config["a"] == min(result.config["a"] for result in grid)
    frame = grid.get_dataframe()
    assert len(frame) == 6
    assert frame["config/a"].tolist() == [result.config["a"] for result in grid]
    assert grid.experiment_path == str(storage / "run")


def test_a_grid_without_a_scheduler_trains_each_point_to_its_end(storage: Path) -> None:
    space = {"a": tune.grid_search([0.1, 0.2]), "b": tune.grid_search([1, 2, 3])}
    grid = tuner(storage, space, stop={"training_iteration": 4}).fit()
    points = sorted((result.config["a"], result.config["b"]) for result in grid)
    assert points == [(a, b) for a in (0.1, 0.2) for b in (1, 2, 3)]
    assert {result.metrics["training_iteration"] for result in grid} == {4}


def test_trials_that_fail_are_errors_of_the_grid(storage: Path) -> None:
    def fails(config: dict[str, Any]) -> None:
        tune.report({"score": config["a"]})
        raise ValueError("on purpose")

    made = tuner(storage, num_samples=2, stop={"training_iteration": 3})
    made._trainable = fails
    grid = made.fit()
    assert grid.num_errors == 2
    assert "on purpose" in str(grid.errors[0])


def test_populations_become_panda(storage: Path) -> None:
    length = {"training_iteration": 12}
    pbt = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=3,
        hyperparam_mutations={"a": tune.uniform(0.1, 1.0)},
    )
    made = tuner(storage, stop=length, num_samples=4, scheduler=pbt)
    assert strategy_of(made) == raysearch.Panda(
        12, population=4, nudge=["a"], interval=3, exploit="truncation"
    )
    assert made.fit().get_best_result().metrics["training_iteration"] == 12
    pb2 = PB2(time_attr="training_iteration", perturbation_interval=3, hyperparam_bounds={"a": [0.1, 1.0]})
    found = strategy_of(tuner(storage, stop=length, num_samples=8, scheduler=pb2))
    assert (found.population, found.suggest) == (8, "gp")


def test_limits_and_algorithms_are_read(storage: Path) -> None:
    algorithm = ConcurrencyLimiter(OptunaSearch(seed=1), max_concurrent=2)
    made = tuner(
        storage, num_samples=5, search_alg=algorithm, time_budget_s=1800, stop={"training_iteration": 2}
    )
    assert made._given["budget"] == {"hours": 0.5}
    assert made._given["workers"] == {"max": 2}
    assert strategy_of(made).sampler.library == "ray"
    hyperband = strategy_of(tuner(storage, num_samples=9, scheduler=HyperBandScheduler(max_t=27)))
    assert (hyperband.max_iterations, hyperband.eta, hyperband.brackets) == (27, 3, 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scheduler": MedianStoppingRule()}, "scheduler: MedianStoppingRule has no counterpart"),
        ({"stop": {"score": 3}}, "RunConfig.stop: 'score' has no counterpart"),
        ({"stop": lambda trial, result: True}, "RunConfig.stop: .* has no counterpart"),
        ({"scheduler": ASHAScheduler(time_attr="time_total_s")}, "time_attr: 'time_total_s' has no"),
        (
            {
                "scheduler": PopulationBasedTraining(
                    time_attr="training_iteration", hyperparam_mutations={"a": lambda: 1.0}
                ),
                "stop": {"training_iteration": 9},
            },
            r"hyperparam_mutations\['a'\]: a function has no counterpart",
        ),
        (
            {
                "scheduler": PopulationBasedTraining(
                    time_attr="training_iteration", hyperparam_mutations={"a": [1]}
                )
            },
            "RunConfig.stop: PopulationBasedTraining needs stop=",
        ),
    ],
)
def test_what_has_no_counterpart_is_named_before_anything_starts(
    storage: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        tuner(storage, **given)
    assert [*storage.iterdir()] == []
