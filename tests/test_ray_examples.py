"""Ray Tune's own documented trainables, as they ship with Ray, searched unchanged."""

from __future__ import annotations

import functools
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune import examples
from ray.tune.examples.async_hyperband_example import easy_objective
from ray.tune.examples.custom_func_checkpointing import train_func as checkpointed
from ray.tune.examples.hyperband_function_example import train_func as seldom_checkpointed
from ray.tune.examples.pbt_example import PBTBenchmarkExample
from ray.tune.examples.pbt_function import pbt_function

import raysearch

EXAMPLES = Path(examples.__file__).parent
TUNERS = (  # those that run without other packages and data
    *("async_hyperband_example", "custom_checkpointing_with_callback", "custom_func_checkpointing"),
    *("hyperband_example", "hyperband_function_example", "lightgbm_example", "logging_example"),
    *("optuna_example", "pb2_example", "pbt_example", "pbt_function", "tune_basic_example"),
)
OUR_LINE = ("from ray import tune\n", "from raysearch.integrations import tune\n")
RECIPE = raysearch.Caviar(samples=9, max_iterations=9, min_iterations=1, sampler="sobol", finish=None)


@pytest.mark.parametrize(
    ("trainable", "space", "metric", "mode", "variant"),
    [
        (
            easy_objective,
            {"steps": 20, "width": tune.uniform(10, 100), "height": tune.uniform(0, 100)},
            "mean_loss",
            "min",
            "stopping",
        ),
        (
            checkpointed,
            {"width": tune.randint(0, 10), "height": tune.loguniform(10, 100)},
            "mean_loss",
            "min",
            "promotion",
        ),
        (
            seldom_checkpointed,
            {"width": tune.randint(1, 90), "height": tune.randint(1, 100)},
            "episode_reward_mean",
            "max",
            "promotion",
        ),
        (PBTBenchmarkExample, {"lr": tune.loguniform(1e-4, 0.02)}, "mean_accuracy", "max", "promotion"),
        (pbt_function, {"lr": tune.uniform(1e-4, 0.02)}, "mean_accuracy", "max", "promotion"),
    ],
)
def test_an_example_of_rays_is_searched_as_it_is(
    trainable: Any, space: dict[str, Any], metric: str, mode: str, variant: str, storage: Path
) -> None:
    results = raysearch.search(
        trainable,
        space=space,
        metric=metric,
        mode=mode,
        strategy=RECIPE,
        storage=str(storage),
        name="run",
        executor="inline",
    )
    trials = results.trials()
    assert len(trials) == 9
    assert set(trials["status"]) == {"completed"}
    assert sorted(trials["iterations"].unique()) == [1, 3, 9]
    assert results.spec["strategy"]["variant"] == variant
    assert set(results.best.config) == set(space)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TUNERS)
def test_an_example_of_rays_tuner_runs_with_one_line_changed(
    name: str, storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "lightgbm" in name:
        pytest.importorskip("lightgbm", reason="the example trains with it")
    run_example(name, storage, monkeypatch, executor="inline")
    assert re.search("(?i)best hyperparameters", capsys.readouterr().out)
    assert len([*storage.glob("*/spec.yaml")]) == 1


def run_example(name: str, storage: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> None:
    """Runs an example as a script, with our line in it, but quickly and in the Ray of this process."""
    text = (EXAMPLES / f"{name}.py").read_text()
    assert text.count(OUR_LINE[0]) == 1
    text = text.replace(*OUR_LINE)
    text = re.sub(r"ray\.init\(.*\)", "...", text).replace("time.sleep(0.1)", "...")
    script = storage.parent / f"{name}.py"
    script.write_text(text)
    monkeypatch.setattr(sys, "argv", [str(script), "--smoke-test"])
    here = functools.partial(raysearch.search, **how, say=lambda line: None)
    monkeypatch.setattr(raysearch, "search", lambda *a, **k: here(*a, **{**k, "storage": str(storage)}))
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "count", "length"),
    [("async_hyperband_example", 20, 1), ("custom_func_checkpointing", 5, 1), ("pbt_example", 8, 10)],
)
def test_an_example_of_rays_tuner_is_searched_by_workers_of_ray(
    name: str, count: int, length: int, ray_cluster: None, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_example(name, storage, monkeypatch, workers=1, checks=False)
    (run,) = (file.parent for file in storage.glob("*/spec.yaml"))
    results = raysearch.load(run)
    trials = results.trials(lines=True)
    assert {*results.segments().worker} == {"worker-0"}
    assert (len(trials), trials.iterations.max(), {*trials.status}) == (count, length, {"completed"})


def with_train_inside(config: dict[str, Any]) -> None:
    """A function that launches its own Ray Train run, as Ray's guide on tuning with Train shows."""
    import ray.train
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    def loop(loop_config: dict[str, Any]) -> None:
        for step in range(3):
            ray.train.report({"loss": loop_config["lr"] / (step + 1)})

    trainer = DataParallelTrainer(
        loop,
        train_loop_config={"lr": config["lr"]},
        scaling_config=ray.train.ScalingConfig(num_workers=1),
        run_config=ray.train.RunConfig(callbacks=[TuneReportCallback()], storage_path=config["folder"]),
    )
    trainer.fit()


@pytest.mark.slow
def test_a_trainable_that_launches_its_own_ray_train_run(ray_cluster: None, storage: Path) -> None:
    results = raysearch.search(
        with_train_inside,
        space={"lr": tune.uniform(0.1, 1.0)},
        config={"folder": str(storage / "train")},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(
            samples=1, max_iterations=3, min_iterations=3, sampler="sobol", finish=None
        ),
        storage=str(storage),
        name="run",
        workers=1,
    )
    trials = results.trials()
    assert list(trials["iterations"]) == [3]
    assert results.best.value == pytest.approx(results.best.config["lr"] / 3)
