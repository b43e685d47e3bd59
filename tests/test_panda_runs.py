"""Panda on real trainables: what bad luck costs, what is said about it, and what is refused at once."""

from __future__ import annotations

import json
import math
import random
import runpy
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import trainables
from ray import tune

import raysearch
from raysearch.core.segment import Status
from raysearch.errors import RunError, SpecError
from raysearch.examples.mnist1d import Mnist1d
from raysearch.storage.journal.reading import read_outcomes

HORIZON = 120
INTERVAL = 8
SPACE = {"lr": {"loguniform": [1e-4, 1.0]}}


def run(
    storage: Path, trainable: Any = trainables.Descent, name: str = "run", **fields: Any
) -> raysearch.Results:
    """A panda run in this process; `panda` are settings of its strategy."""
    settings = {"max_iterations": HORIZON, "interval": INTERVAL, **fields.pop("panda", {})}
    defaults = {
        "space": SPACE,
        "baseline": {"lr": 1e-2},
        "metric": "loss",
        "mode": "min",
        "strategy": raysearch.Panda(**settings),
        "executor": "inline",
        "storage": str(storage),
        "name": name,
        "seed_as": "seed",
    }
    return raysearch.search(trainable, **{**defaults, **fields})


def warned(search: Callable[..., raysearch.Results], *arguments: Any, **fields: Any) -> list[str]:
    """What the run warns of."""
    status: dict[str, Any] = {}
    search(*arguments, on_status=status.update, **fields)
    return list(status["warnings"])


def mnist1d(storage: Path, trainable: Any, **fields: Any) -> raysearch.Results:
    space = {"lr": {"loguniform": [1e-5, 1e-1]}}
    return run(storage, trainable, space=space, baseline={"lr": 3e-3}, metric="val_loss", **fields)


def lost(lineage: pd.DataFrame) -> int:
    """Iterations that led nowhere, those of probes apart."""
    aside = lineage[~lineage["on_path"] & ~lineage["event"].isin(["hold", "nudge"])]
    return int((aside["reached"] - aside["start"]).sum())


def rollbacks(lineage: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(lineage.loc[lineage["event"] == "rollback", "words"]))


# ---- what is left behind


def test_the_lineage_says_why_every_segment_was_trained_and_with_which_numbers(storage: Path) -> None:
    lineage = run(storage).lineage()
    trunk = lineage[lineage["on_path"]].sort_values("start")
    assert trunk["start"].tolist() == [0, *trunk["reached"].tolist()[:-1]]
    assert trunk["reached"].iloc[-1] == HORIZON
    assert lineage["event"].ne("").all()
    for event, says in (("accept", ">"), ("reject", "needed more than"), ("nudge", "->")):
        words = lineage.loc[lineage["event"] == event, "words"]
        assert len(words)
        assert words.str.contains(says, regex=False).all()
    gains = lineage.loc[lineage["event"].isin(["accept", "reject"]), "words"]
    assert gains.str.contains(r"gain [+-]\S+ \+- \S+").all()


# ---- disasters in real training


class Planted(Mnist1d):
    """Something happens to the model in iteration 71, once."""

    burnt = False

    def step(self) -> dict[str, Any]:
        metrics = super().step()
        if self.iteration == 70 and not self.burnt:
            with torch.no_grad():
                for weights in self.training.model.parameters():
                    self.harm(weights)
            type(self).burnt = True
            metrics = {**metrics, **self.training.validate()}
        return metrics

    def harm(self, weights: torch.Tensor) -> None:
        raise NotImplementedError


def test_a_nan_in_the_weights_costs_at_most_two_intervals_and_is_explained(storage: Path) -> None:
    class Nan(Planted):
        def harm(self, weights: torch.Tensor) -> None:
            weights.fill_(math.nan)

    lineage = mnist1d(storage, Nan).lineage()
    found = [words for words in rollbacks(lineage) if "val_loss was nan at iteration 71" in words]
    if not found:  # it came in a probe, and only the probe was lost
        assert lineage["error"].str.contains("val_loss was nan at iteration 71").any()
    assert lost(lineage) <= 2 * INTERVAL * max(1, len(rollbacks(lineage)))
    assert lineage.loc[lineage["on_path"], "reached"].max() == HORIZON


def test_a_batch_that_ruins_the_weights_is_left_behind(storage: Path) -> None:
    class Corrupted(Planted):
        def harm(self, weights: torch.Tensor) -> None:
            weights.add_(torch.randn_like(weights))

    results = mnist1d(storage, Corrupted)
    lineage = results.lineage()
    trunk = lineage[lineage["on_path"]]
    assert trunk["value"].iloc[-1] < 1.0
    curves = results.curves()
    ruined = curves.loc[curves["val_loss"] > 3.0, "segment"]
    assert len(ruined)
    assert not set(ruined) & set(trunk["id"])
    assert any("reports running above" in words for words in rollbacks(lineage))
    assert lost(lineage) <= 2 * INTERVAL * max(1, len(rollbacks(lineage)))


def test_a_nudge_that_explodes_after_fifty_steps_is_undone_within_two_intervals(storage: Path) -> None:
    class Explodes(Mnist1d):
        """Ten iterations (fifty steps) above a learning rate of 0.01, and the weights grow."""

        def setup(self, config: dict[str, Any]) -> None:
            super().setup(config)
            self.above = 0

        def step(self) -> dict[str, Any]:
            self.above = self.above + 1 if self.config["lr"] > 0.01 else 0
            if self.above > 10:
                with torch.no_grad():
                    for weights in self.training.model.parameters():
                        weights.mul_(2.0)
            return super().step()

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            super().save_checkpoint(checkpoint_dir)
            Path(checkpoint_dir, "above").write_text(str(self.above))

        def load_checkpoint(self, checkpoint: str) -> None:
            super().load_checkpoint(checkpoint)
            self.above = int(Path(checkpoint, "above").read_text())

    lineage = mnist1d(storage, Explodes).lineage()
    backs = rollbacks(lineage)
    assert any("undone: lr" in words for words in backs)
    assert all("above" in words or "nan" in words or "inf" in words for words in backs)
    assert lost(lineage) <= 2 * INTERVAL * len(backs)
    trunk = lineage[lineage["on_path"]]
    assert trunk["config.lr"].iloc[-1] <= 0.01
    assert trunk["reached"].iloc[-1] == HORIZON


# ---- checkpoints and workers that are lost


def test_checkpoints_that_vanish_or_are_torn_cost_time_and_nothing_else(storage: Path) -> None:
    calm = run(storage, name="calm").segments()

    class Torn(trainables.Descent):
        """Its checkpoints cannot be loaded, now and then."""

        loads = 0

        def load_checkpoint(self, checkpoint_dir: str) -> None:
            type(self).loads += 1
            if "checkpoints" in Path(checkpoint_dir).parts and type(self).loads % 5 == 0:
                shutil.rmtree(checkpoint_dir)
            elif "checkpoints" in Path(checkpoint_dir).parts and type(self).loads % 7 == 0:
                Path(checkpoint_dir, "state.json").write_text("torn")
            super().load_checkpoint(checkpoint_dir)

    warnings = warned(run, storage, Torn)
    segments = raysearch.load(storage / "run").segments()
    segments = segments[segments["status"] == "completed"]
    assert Torn.loads >= 7
    assert segments["segment"].tolist() == calm["segment"].tolist()
    assert segments["value"].tolist() == calm["value"].tolist()
    assert segments["reason"].tolist() == calm["reason"].tolist()
    assert any("could not be read" in w and "grown again from its parent" in w for w in warnings)


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_killed_in_the_middle_of_a_fork_changes_nothing_but_time(storage: Path) -> None:
    fields = {"executor": "tune", "workers": 2}
    marker = storage / "killed"
    killed = run(storage, trainables.Killed, config={"marker": str(marker)}, **fields)
    assert marker.exists()
    rows = list(read_outcomes(storage / "run" / "journal"))
    assert [o.error for o in rows if o.status is Status.LOST] == ["its worker died"]
    calm = run(storage, name="calm").segments().set_index("segment")
    segments = killed.segments().set_index("segment")
    assert sorted(segments.index) == sorted(calm.index)
    assert segments["value"].to_dict() == calm["value"].to_dict()


# ---- trainables that do not do their part


def deaf(config: dict[str, Any]) -> None:
    """Goes on with the learning rate that its checkpoint holds."""
    value, start, lr = 1.0, 0, config["lr"]
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            value, start, lr = json.loads(Path(folder, "state").read_text())
    for iteration in range(start, 1000):
        value -= lr * value + 1e-3 * random.random()
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "state").write_text(json.dumps([value, iteration + 1, lr]))
            tune.report({"loss": value}, checkpoint=tune.Checkpoint.from_directory(folder))


def test_a_function_that_ignores_new_values_is_told_from_three_forks_that_end_alike(storage: Path) -> None:
    warnings = warned(run, storage, deaf)
    results = raysearch.load(storage / "run")
    (note,) = (w for w in warnings if w.startswith("lr is ignored"))
    assert "raysearch.torch.apply(optimizer, config)" in note
    assert results.best.iteration == HORIZON
    forks = results.segments()["reason"].str.startswith("nudge: ")
    assert 3 <= forks.sum() <= 5


def test_a_class_whose_optimizer_keeps_the_old_value_is_trained_with_the_new_one(storage: Path) -> None:
    class Deaf(Mnist1d):
        def load_checkpoint(self, checkpoint: str) -> None:
            super().load_checkpoint(checkpoint)
            state = torch.load(Path(checkpoint, "training.pt"), weights_only=True)
            self.training.optimizer.load_state_dict(state["optimizer"])

    warnings = warned(mnist1d, storage, Deaf, panda={"max_iterations": 20, "interval": None})
    assert not any("was not applied" in text or "was asked for" in text for text in warnings)
    (run,) = storage.glob("*/journal")
    segments = raysearch.load(run.parent).segments()
    assert len(set(segments["config.lr"])) > 1
    assert segments["used.lr.last"].to_list() == pytest.approx(segments["config.lr"].to_list(), rel=1e-6)


def test_a_class_that_writes_no_checkpoint_is_refused_before_anything_starts(storage: Path) -> None:
    with pytest.raises(SpecError, match="NoCheckpoint writes none: implement save_checkpoint and load"):
        run(storage, trainables.NoCheckpoint)
    assert not any(storage.iterdir())


def test_a_function_that_writes_no_checkpoint_ends_the_run_with_what_to_do(storage: Path) -> None:
    def forgetful(config: dict[str, Any]) -> None:
        for step in range(1000):
            tune.report({"loss": 1.0 / (step + 1)})

    with pytest.raises(RunError, match=r"writes no checkpoint.*begin from tune.get_checkpoint\(\).*resumed"):
        run(storage, forgetful)


def forgets(config: dict[str, Any]) -> None:
    for step in range(1000):
        tune.report({"loss": 1.0 / (step + 1)})


def saves_out_of_sight(config: dict[str, Any]) -> None:
    """Its code shows no checkpoint to who reads it, and it saves nevertheless."""
    runpy.run_path(config["file"])["train"](config)


@pytest.mark.parametrize("population", [1, 8])
def test_the_first_segment_ends_a_search_of_a_function_that_neither_shows_nor_writes_checkpoints(
    storage: Path, population: int
) -> None:
    status: dict[str, Any] = {}
    with pytest.raises(RunError, match=r"writes no checkpoint: pass checkpoint= to tune.report"):
        run(storage, forgets, on_status=status.update, strategy=raysearch.Panda(60, population=population))
    (segments,) = [raysearch.load(run).segments() for run in storage.iterdir()]
    assert set(segments["start"]) == {0}
    assert len(segments) <= 2
    assert any("forgets shows none; where its first segment" in text for text in status["warnings"])


def test_a_function_whose_checkpoints_nobody_can_see_in_its_code_is_raised(
    storage: Path, tmp_path: Path
) -> None:
    (tmp_path / "hidden.py").write_text("from trainables import walk as train\n")
    results = run(
        storage,
        saves_out_of_sight,
        space={"rate": {"loguniform": [0.1, 1.0]}},
        config={"file": str(tmp_path / "hidden.py")},
        baseline=None,
        mode="max",  # the walk goes up
        panda={"max_iterations": 60},
    )
    assert results.best.iteration == 60


def test_promotion_without_checkpoints_is_said_to_train_anew(storage: Path) -> None:
    caviar = raysearch.Caviar(3, 3, min_iterations=1, variant="promotion", finish=None)
    said = warned(run, storage, forgets, strategy=caviar)
    assert any("each promoted trial is trained anew from its first iteration" in text for text in said)


def test_a_metric_that_comes_too_seldom_ends_the_run_with_what_to_do(storage: Path) -> None:
    class Seldom(trainables.Descent):
        def step(self) -> dict[str, Any]:
            metrics = super().step()
            return metrics if self.iteration % 10 == 9 else {"train_loss": metrics["loss"]}

    with pytest.raises(RunError, match=r"'loss' was never reported; reported were: train_loss\. If it comes"):
        assert run(storage, Seldom).best


def test_a_metric_that_is_missing_at_one_deadline_costs_that_stretch(storage: Path) -> None:
    class Missing(trainables.Descent):
        silent = 12

        def step(self) -> dict[str, Any]:
            metrics = super().step()
            if 60 <= self.iteration < 70 and type(self).silent:
                type(self).silent -= 1
                return {"train_loss": metrics["loss"]}
            return metrics

    results = run(storage, Missing, retries=0)
    lineage = results.lineage()
    failed = lineage[lineage["status"] == "failed"]
    assert len(failed)
    assert failed["error"].str.contains("'loss' was missing at iteration").all()
    assert not failed["on_path"].any()
    assert results.best.iteration == HORIZON


def test_more_models_than_workers_take_turns_and_it_is_said(storage: Path) -> None:
    warnings = warned(run, storage, panda={"population": 4, "max_iterations": 40, "interval": 4})
    assert "4 models on 1 worker: they take turns" in warnings
    assert (raysearch.load(storage / "run").segments()["reached"] == 40).sum() >= 3


def test_a_nudged_name_that_is_not_in_the_space_is_refused_before_anything_starts(storage: Path) -> None:
    with pytest.raises(SpecError, match="unknown hyper-parameter 'lrr'; did you mean 'lr'"):
        run(storage, panda={"nudge": ["lrr"]})
    assert not any(storage.iterdir())


# ---- models that were trained before


@pytest.fixture
def half_trained(storage: Path) -> Path:
    """What Descent's own `save_checkpoint` wrote after ten iterations."""
    model = trainables.Descent(config={"lr": 0.1})
    for _ in range(10):
        model.train()
    folder = storage / "mine"
    folder.mkdir()
    model.save_checkpoint(str(folder))
    return folder


@pytest.mark.parametrize("population", [1, 2, 8])
def test_a_half_trained_model_is_gone_on_with(storage: Path, half_trained: Path, population: int) -> None:
    loss = 0.05 + sum(w * w for w in json.loads((half_trained / "state.json").read_text()))
    results = run(
        storage,
        from_checkpoint=half_trained,
        at_iteration=10,
        panda={"max_iterations": 40, "interval": 4, "population": population},
    )
    segments = results.segments()
    assert segments["role"].tolist()[0] == "adopted"
    first = segments[(segments["parent"] == 0) & (segments["start"] == 10)]
    assert len(first)
    assert (first["value"] < 1.5 * loss).all()
    assert results.best.iteration == 40
    assert (half_trained / "state.json").exists()


def test_a_checkpoint_that_raysearch_kept_says_itself_where_it_stands(storage: Path) -> None:
    kept = run(storage, name="first", panda={"max_iterations": 20, "interval": 4}).best.checkpoint
    segments = run(storage, from_checkpoint=kept).segments()
    assert segments["reached"].tolist()[0] == 20
    assert segments["start"].tolist()[1] == 20


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"from_checkpoint": "nowhere"}, "does not exist"),
        ({"from_checkpoint": "empty"}, "is empty"),
        ({"from_checkpoint": "mine"}, "give --at-iteration K"),
        ({"from_checkpoint": "mine", "at_iteration": HORIZON}, "must be at least 1 and less"),
        ({"at_iteration": 10}, "give both"),
        (
            {"from_checkpoint": "mine", "strategy": raysearch.Caviar(samples=9, max_iterations=9)},
            "panda adopts",
        ),
    ],
)
def test_what_cannot_be_adopted_is_refused_before_anything_starts(
    storage: Path, half_trained: Path, fields: dict[str, Any], words: str
) -> None:
    (storage / "empty").mkdir()
    if "from_checkpoint" in fields:
        fields = {**fields, "from_checkpoint": storage / fields["from_checkpoint"]}
    with pytest.raises(SpecError, match=words):
        run(storage, **fields)
    assert not (storage / "run").exists()


def test_an_adopted_checkpoint_that_will_not_load_ends_the_run_with_what_to_do(
    storage: Path, half_trained: Path
) -> None:
    (half_trained / "state.json").write_text("torn")
    with pytest.raises(RunError, match="the adopted model's checkpoint could not be loaded: JSONDecodeError"):
        run(storage, from_checkpoint=half_trained, at_iteration=10)
