"""The model that a run hands over is the one that its verdict is about, and it is said which it is."""

from __future__ import annotations

import datetime as dt
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import learners
import pytest
import torch
import yaml
from ray import tune
from test_cli import Shell, make_folder
from test_python_use import search

import raysearch
from raysearch.errors import RaysearchWarning
from raysearch.launch import launch
from raysearch.report.report import write_report
from raysearch.results import Best, load
from raysearch.workflows.retest.retest import retest_spec

SPACE = {"late": {"uniform": [0.1, 0.6]}}
TURN = 3  # the iteration from which on who was worst is best


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(make_folder(tmp_path))
    return Shell(tmp_path, capsys)


def loss_at(config: dict[str, Any], steps: int) -> float:
    """Small `late` does well at first, large `late` in the end; different after each restart."""
    late = float(config["late"])
    return (late if steps < TURN else 1.0 - late) + config.get("seed", 0) % 1000 / 1e6


class Crossing(tune.Trainable):  # type: ignore[misc]
    """Its early ranks mislead: promoted are the wrong ones, and the finish finds it out."""

    def setup(self, config: dict[str, Any]) -> None:
        self.steps = 0

    def step(self) -> dict[str, Any]:
        self.steps += 1
        return {"loss": loss_at(self.config, self.steps)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        seed = self.config.get("seed")
        Path(checkpoint_dir, "model").write_text(json.dumps([self.config["late"], self.steps, seed]))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.steps = json.loads(Path(checkpoint_dir, "model").read_text())[1]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.steps = 0
        return True


def crossing(config: dict[str, Any]) -> None:
    """The same as a function."""
    steps = 0
    if checkpoint := tune.get_checkpoint():
        steps = json.loads(Path(checkpoint.path, "model").read_text())[1]
    while steps < 9:
        steps += 1
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model").write_text(json.dumps([config["late"], steps, config.get("seed")]))
            kept = tune.Checkpoint.from_directory(folder)
            tune.report({"loss": loss_at(config, steps)}, checkpoint=kept)


class Noisy(Crossing):
    """Its seeds differ by more than its configurations."""

    def step(self) -> dict[str, Any]:
        loss = super().step()["loss"]
        return {"loss": loss + self.config.get("seed", 0) * int(self.config["late"] * 1e6) % 997}


def silent(config: dict[str, Any]) -> None:
    """The same as a function that saves nothing."""
    for steps in range(1, 10):
        tune.report({"loss": loss_at(config, steps)})


def found(storage: Path, trainable: Any = Crossing, **options: Any) -> raysearch.Results:
    strategy = {"samples": 9, "max_iterations": 9, "min_iterations": 1, "sampler": "sobol"}
    strategy |= {"finish": {"top": 9, "seeds": 2}} | options.pop("strategy", {})
    fields = {"space": SPACE, "seed_as": "seed", "strategy": raysearch.Caviar(**strategy)}
    return search(storage, trainable, **{**fields, **options})


def model(best: Best) -> list[Any]:
    """What the trainable saved in the checkpoint that is handed over: (late, steps, seed)."""
    assert best.checkpoint is not None
    return json.loads(Path(best.checkpoint, "model").read_text())  # type: ignore[no-any-return]


# ---- with a finish


@pytest.mark.parametrize("trainable", [Crossing, crossing])
@pytest.mark.parametrize("variant", ["promotion", "stopping"])
def test_the_model_is_one_of_the_finish_where_its_trial_was_trained_for_a_rung_only(
    storage: Path, variant: str, trainable: Any
) -> None:
    results = found(storage, trainable, strategy={"variant": variant})
    best = results.best
    assert best.config["late"] == max(results.trials()["config.late"])
    assert best.iteration < 9
    finals = results.finals()
    mine = finals[finals["source"] == best.trial].sort_values("value")
    assert best.model is not None
    assert (best.model.iteration, best.model.horizon, best.model.of_seeds) == (9, 9, 2)
    assert (best.model.seed, best.model.value) == (mine["seed"].iloc[0], mine["value"].iloc[0])
    assert model(best) == [best.config["late"], 9, best.model.seed]
    assert best.mean == pytest.approx(mine["value"].mean())


def test_a_winner_that_is_the_baseline_has_a_model_of_the_finish_too(storage: Path) -> None:
    results = found(storage, baseline={"late": 0.6})
    assert results.verdict().baseline_won
    assert model(results.best)[:2] == [0.6, 9]


def test_a_baseline_that_the_verdict_keeps_can_be_handed_over_too(storage: Path, shell: Shell) -> None:
    strategy = {"variant": "stopping", "finish": {"top": 1, "seeds": 2}}
    results = found(storage, Noisy, strategy=strategy, baseline={"late": 0.3})
    verdict, best = results.verdict(), results.best
    assert verdict.keeps_baseline
    assert best.config != {"late": 0.3}
    assert best.baseline is not None
    assert best.baseline.config == {"late": 0.3}
    assert model(best.baseline)[:2] == [0.3, 9]
    run = str(storage / "run")
    way = f"raysearch export {run} --baseline"
    assert way in shell("best", run).out
    assert way in shell("export", run, "--checkpoint", str(storage / "best")).out
    said = shell(
        "export", run, "--baseline", "--checkpoint", str(storage / "kept"), "-o", str(storage / "b.yaml")
    )
    assert "trained 9 of 9 iterations, seed" in said.out
    assert way not in said.out
    assert json.loads((storage / "kept" / "model").read_text())[:2] == [0.3, 9]
    assert yaml.safe_load((storage / "b.yaml").read_text()) == {"late": 0.3}
    refused = shell("export", run, "--baseline", "--trial", "0")
    assert (refused.code, "--trial" in refused.err) == (2, True)


def test_without_a_baseline_none_is_handed_over(storage: Path, shell: Shell) -> None:
    results = found(storage)
    assert (results.best.baseline, results.verdict().keeps_baseline) == (None, False)
    refused = shell("export", str(storage / "run"), "--baseline")
    assert (refused.code, "trained a baseline to its end" in refused.err) == (2, True)


def test_without_checkpoints_there_is_no_model_and_it_is_said_why(storage: Path) -> None:
    best = found(storage, silent).best
    assert (best.checkpoint, best.model) == (None, None)
    assert best.no_model == "none was kept, or its trainable writes none"


def test_a_model_of_a_rung_is_not_given_in_place_of_one_of_the_finish_that_is_gone(storage: Path) -> None:
    results = found(storage)
    best = results.best
    for folder in [*(storage / "run" / "checkpoints").rglob("model")]:
        if json.loads(folder.read_text())[:2] == [best.config["late"], 9]:
            folder.parent.rename(storage / folder.parent.name)
    gone = raysearch.load(storage / "run").best
    assert gone.config == best.config
    assert gone.model is None
    assert "no checkpoint of the finish was kept" in gone.no_model


def test_a_finish_of_which_every_training_failed_leaves_the_model_of_the_search(storage: Path) -> None:
    class Fragile(Crossing):
        def step(self) -> dict[str, Any]:
            if self.iteration >= 4 and self.config["late"] > 0.3:
                raise RuntimeError("boom")
            return super().step()

    results = found(storage, Fragile, strategy={"finish": {"top": 1, "seeds": 2}})
    assert model(results.best)[1] == results.best.iteration == 9


# ---- without a finish


def test_without_a_finish_the_model_is_the_one_that_the_search_trained(storage: Path) -> None:
    best = found(storage, strategy={"finish": None}).best
    assert best.model is not None
    assert (best.model.iteration, best.model.of_seeds) == (9, 0)
    assert best.model.words("loss") == "trained 9 of 9 iterations, in the search"
    assert model(best)[1] == best.iteration == 9


def test_a_winner_that_is_shorter_than_the_horizon_is_said_to_be(storage: Path) -> None:
    results = found(storage, strategy={"finish": None, "samples": 50}, budget={"trials": 2})
    best = results.best
    assert best.model is not None
    assert (best.iteration, best.horizon, best.model.is_whole) == (model(best)[1], 9, best.iteration == 9)
    assert f"trained {best.iteration} of 9 iterations" in best.model.words("loss")


def test_a_longer_search_whose_finish_has_not_come_says_that_the_model_is_of_the_shorter(
    storage: Path,
) -> None:
    found(storage)
    longer = raysearch.Caviar(
        9, 27, min_iterations=1, sampler="sobol", finish=raysearch.Finish(top=9, seeds=2)
    )
    root = storage / "run"
    spec = (root / "spec.yaml").read_text()
    (root / "spec.yaml").write_text(re.sub("max_iterations: 9", "max_iterations: 27", spec))
    with pytest.warns(RaysearchWarning, match="differs from the spec that the run was last started with"):
        best = raysearch.load(root).best
    assert best.model is not None
    assert best.model.words("loss").startswith("trained 9 of 27 iterations")
    assert not best.model.is_whole
    (root / "spec.yaml").write_text(spec)
    whole = raysearch.resume(root, raysearch.How("inline"), strategy=longer).best
    assert model(whole)[1] == 27


# ---- other strategies


def test_a_raised_models_checkpoint_is_that_of_its_line(storage: Path) -> None:
    results = search(
        storage,
        Crossing,
        space={"late": {"loguniform": [0.1, 0.9]}},
        baseline={"late": 0.3},
        strategy=raysearch.Panda(max_iterations=20),
        seed_as="seed",
    )
    best = results.best
    assert best.model is not None
    assert (best.model.iteration, best.model.horizon) == (20, 20)
    assert model(best)[1] == 20


def test_a_replay_hands_over_the_best_of_its_whole_trainings(storage: Path) -> None:
    steps = [
        {"start": 0, "stop": 2, "config": {"late": 0.1}},  # its loss is the least of all
        {"start": 2, "stop": 5, "config": {"late": 0.6}},
    ]
    replay = {"name": "replay", "steps": steps, "seeds": 3}
    best = search(storage, Crossing, space=SPACE, strategy=replay, seed_as="seed").best
    assert best.model is not None
    assert (best.model.iteration, best.model.horizon, best.model.of_seeds) == (5, 5, 3)
    assert model(best)[:2] == [0.6, 5]
    assert best.value == best.model.value == pytest.approx(0.4, abs=1e-3)


def test_a_retest_hands_over_a_whole_training(storage: Path) -> None:
    found(storage)
    best = launch(retest_spec(load(storage / "run"), day=dt.date(2026, 1, 1)), raysearch.How("inline")).best
    assert best.model is not None
    assert (best.model.iteration, model(best)[1]) == (9, 9)


@pytest.mark.slow
def test_a_pack_keeps_the_models_of_the_finish(ray_cluster: None, storage: Path) -> None:
    last: dict[str, Any] = {}
    results = search(
        storage,
        learners.Perceptron,
        space={"lr": {"loguniform": [1e-3, 1e-1]}},
        config={"batch_size": 16},
        metric="val_loss",
        strategy=raysearch.Caviar(
            samples=6, max_iterations=4, min_iterations=1, finish={"top": 3, "seeds": 2}
        ),
        executor="tune",
        workers=1,
        on_status=last.update,
    )
    assert last["warnings"] == {}  # of models that are trained one at a time, say
    best = results.best
    assert best.model is not None
    assert (best.model.iteration, best.model.of_seeds) == (4, 2)
    restored = learners.Perceptron.restored(best.checkpoint)
    assert all(torch.isfinite(p).all() for p in restored.parameters())


# ---- what is said of it


def test_best_export_and_the_report_say_which_model_it_is(storage: Path, shell: Shell) -> None:
    results = found(storage)
    words = results.best.model.words("loss")  # type: ignore[union-attr]
    assert re.fullmatch(
        r"trained 9 of 9 iterations, seed \d+ of the finish: loss 0\.\d+, the best of its 2 seeds", words
    )
    run = str(storage / "run")
    shown = shell("best", run)
    assert words in shown.words
    assert f"at iteration {results.best.iteration} of 9" in shown.words
    assert shell("best", run, "--json").json["best"]["model"]["iteration"] == 9
    exported = shell("export", run, "--checkpoint", "model")
    assert words in exported.words
    assert json.loads(Path("model/model").read_text())[1] == 9
    assert words in write_report(results)


def test_export_says_why_there_is_no_model(storage: Path, shell: Shell) -> None:
    found(storage, silent)
    refused = shell("export", str(storage / "run"), "--checkpoint", "model")
    assert refused.code == 2
    assert "none was kept, or its trainable writes none" in refused.err
    assert "none was kept, or its trainable writes none" in shell("best", str(storage / "run")).words
