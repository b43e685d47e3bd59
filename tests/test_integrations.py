"""Doors from other frameworks: a search's curves are those of the framework's own, undisturbed training."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import frameworks
import pytest

import raysearch
from raysearch.core.budget import Budget
from raysearch.errors import SpecError
from raysearch.results import Results
from raysearch.spec.trainables import can_pause

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

Alone = Callable[[dict[str, Any], Sequence[float]], list[float]]
FRAMEWORKS: dict[str, tuple[Any, Alone, str]] = {
    "lightning": (frameworks.lightning, frameworks.lightning_alone, "val_loss"),
    "huggingface": (frameworks.huggingface, frameworks.huggingface_alone, "eval_loss"),
    "accelerate": (frameworks.accelerate, frameworks.accelerate_alone, "val_loss"),
}
each_framework = pytest.mark.parametrize("name", FRAMEWORKS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that the framework is told to write to, with something of the user's in it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "kept.txt").write_text("mine")
    return folder


def settings(name: str, root: Path, storage: Path, **more: Any) -> dict[str, Any]:
    return {
        "space": {"lr": {"loguniform": [1e-3, 1e-1]}},
        "config": {"root": str(root)},
        "metric": FRAMEWORKS[name][2],
        "mode": "min",
        "storage": str(storage),
        "name": "run",
        "executor": "inline",
        "say": lambda line: None,
        **more,
    }


def check_path(name: str, results: Results, trial: int, root: Path) -> list[float]:
    """The factors of the trial's learning rate; its curve must be that of the framework alone under them."""
    _, alone, metric = FRAMEWORKS[name]
    path = results.lineage(trial)
    curves = results.curves()
    found: list[float] = []
    for segment in path.id:
        found += curves[curves.segment == segment].sort_values("iteration")[metric].tolist()
    lengths = (path.reached - path.start).astype(int)
    pieces = zip(results.configs(trial), lengths, strict=True)
    rates = [config["lr"] for config, length in pieces for _ in range(length)]
    factors = [rate / rates[0] for rate in rates]
    length = int(results.spec["strategy"]["max_iterations"])
    config = {"root": str(root), "lr": rates[0], "max_iterations": length}
    expected = alone(config, factors + [1.0] * (length - len(factors)))
    assert found == pytest.approx(expected[: len(found)], rel=1e-6, abs=1e-9)
    return factors


@each_framework
@pytest.mark.parametrize("variant", ["stopping", "promotion"])
def test_trials_that_are_stopped_or_promoted_train_as_the_framework_does_alone(
    name: str, variant: str, root: Path, storage: Path
) -> None:
    strategy = raysearch.Caviar(
        samples=3, max_iterations=frameworks.LENGTH, min_iterations=2, variant=variant, finish=None
    )
    results = raysearch.search(FRAMEWORKS[name][0], strategy=strategy, **settings(name, root, storage))
    trials = results.trials()
    assert not trials.error.any()
    assert sorted(trials.iterations)[0] < max(trials.iterations) == frameworks.LENGTH
    for trial in trials.trial:
        assert set(check_path(name, results, trial, root)) == {1.0}
    assert os.listdir(root) == ["kept.txt"]


@each_framework
def test_a_model_that_panda_nudges_trains_as_the_framework_does_under_these_rates(
    name: str, root: Path, storage: Path
) -> None:
    strategy = raysearch.Panda(max_iterations=12, interval=3, nudge=["lr"])
    given = settings(name, root, storage, baseline={"lr": 1e-3}, seed=2)
    results = raysearch.search(FRAMEWORKS[name][0], strategy=strategy, **given)
    assert len(set(check_path(name, results, results.best.trial, root))) > 1, "panda changed nothing"
    assert not results.segments().error.any()


@each_framework
def test_a_search_that_ended_early_goes_on_from_its_checkpoints_to_the_same_curves(
    name: str, root: Path, storage: Path
) -> None:
    strategy = raysearch.Caviar(
        samples=3, max_iterations=4, min_iterations=2, variant="promotion", finish=None
    )
    given = settings(name, root, storage, budget={"trials": 2})
    before = raysearch.search(FRAMEWORKS[name][0], strategy=strategy, **given)
    assert len(before.trials()) == 2
    how = raysearch.How("inline", say=lambda line: None)
    results = raysearch.resume(
        before.path,
        how,
        trainable=FRAMEWORKS[name][0],
        edits=lambda spec: replace(spec, budget=Budget(trials=3)),
    )
    trials = results.trials()
    assert (len(trials), max(trials.iterations)) == (3, 4)
    for trial in trials.trial:
        check_path(name, results, trial, root)


def several_processes(config: dict[str, Any]) -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.demos.boring_classes import BoringModel

    from raysearch.integrations.lightning import SearchCallback

    trainer = pl.Trainer(
        devices=2, accelerator="cpu", callbacks=[SearchCallback(config)], logger=False,
        enable_checkpointing=False, default_root_dir=config["root"],
    )  # fmt: skip
    trainer.fit(BoringModel())


def test_a_trainer_of_several_processes_is_refused_before_it_starts_them(root: Path, storage: Path) -> None:
    given = settings("lightning", root, storage, retries=0)
    strategy = raysearch.Caviar(samples=1, max_iterations=2, finish=None)
    (error,) = raysearch.search(several_processes, strategy=strategy, **given).trials().error
    assert "the Trainer trains in 2 processes, and a trial has 1: say as many in `workers.processes`" in error


def cut_short(config: dict[str, Any]) -> None:
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.demos.boring_classes import BoringModel

    from raysearch.integrations.lightning import SearchCallback, resume_path

    class Logs(BoringModel):
        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=config["lr"])

    trainer = pl.Trainer(
        max_steps=10, limit_train_batches=4, limit_val_batches=1, accelerator="cpu", logger=False,
        callbacks=[SearchCallback(config)], default_root_dir=config["root"],
    )  # fmt: skip
    trainer.fit(Logs(), ckpt_path=resume_path())


def test_an_epoch_that_max_steps_cuts_is_no_iteration_and_no_failure(root: Path, storage: Path) -> None:
    strategy = raysearch.Caviar(samples=2, max_iterations=4, finish=None)
    results = raysearch.search(
        cut_short, strategy=strategy, **settings("lightning", root, storage, retries=0)
    )
    trials = results.trials()
    assert set(trials.status) == {"completed"}
    assert trials.iterations.max() == 2


@each_framework
def test_a_door_shows_that_the_function_saves_checkpoints(name: str) -> None:
    assert can_pause(FRAMEWORKS[name][0])


def test_a_trainer_with_a_model_init_is_searched_without_a_function_of_one_s_own(
    root: Path, storage: Path
) -> None:
    from raysearch.integrations.huggingface import search

    config = {"root": str(root), "lr": 1e-3, "max_iterations": 1}
    trainer = frameworks.huggingface_trainer(config, [], model_init=frameworks.Model)
    strategy = raysearch.Caviar(samples=3, max_iterations=2, finish=None)
    space = {"learning_rate": {"loguniform": [1e-3, 1e-1]}}
    quiet = {"storage": str(storage), "executor": "inline", "say": lambda line: None}
    best = search(trainer, space, strategy=strategy, **quiet)
    assert best.objective == best.run_summary.best.value
    assert set(best.hyperparameters) == {"learning_rate"}
    assert max(best.run_summary.trials().iterations) == 2
    assert trainer.args.learning_rate == 1e-3
    assert os.listdir(root) == ["kept.txt"]
    with pytest.raises(SpecError, match=r"space.learning_rat: .*did you mean 'learning_rate'"):
        search(trainer, {"learning_rat": space["learning_rate"]}, strategy=strategy, **quiet)
    with pytest.raises(SpecError, match="num_train_epochs: how long a trial trains is the strategy's"):
        search(trainer, {"num_train_epochs": {"randint": [1, 3]}}, strategy=strategy, **quiet)
    for given, words in (
        (
            {"direction": "maximize", "mode": "min"},
            "direction='maximize' and mode='min' say different things",
        ),
        ({"direction": ["maximize", "minimize"]}, "it is 'minimize' or 'maximize'; several objectives"),
        ({"direction": "max"}, "direction='max': it is 'minimize' or 'maximize'"),
        ({"direction": "maximize"}, 'highest eval_loss win: give metric= too, such as "eval_accuracy"'),
    ):
        with pytest.raises(SpecError, match=re.escape(words)):
            search(trainer, space, strategy=strategy, **given, **quiet)
    most = search(
        trainer,
        space,
        strategy=raysearch.Caviar(samples=2, max_iterations=1, finish=None),
        **{**quiet, "direction": "maximize", "mode": "max"},
    )
    assert most.run_summary.mode == "max"
    assert most.objective == most.run_summary.trials().value.max()
