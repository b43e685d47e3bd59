"""The Python API as people use it in scripts and notebooks: what they do to it, and what it answers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trainables
from ray import tune

import raysearch
from raysearch.core.values import fresh
from raysearch.errors import RunError, SpecError, TrainableError
from raysearch.launch import launch, more_samples
from raysearch.sources import from_optuna
from raysearch.spec import load_spec
from raysearch.storage.journal.reading import read_outcomes
from raysearch.workflows.retest.retest import retest_spec

SPACE = {"rate": {"uniform": [0.0, 1.0]}}


def recipe(samples: int = 3, **options: Any) -> raysearch.Caviar:
    options = {"sampler": "sobol", "finish": None, "min_iterations": 1, **options}
    return raysearch.Caviar(samples=samples, max_iterations=options.pop("max_iterations", 3), **options)


def search(storage: Path, trainable: Any = trainables.Curve, **options: Any) -> raysearch.Results:
    fields = {
        "space": SPACE,
        "metric": "loss",
        "mode": "min",
        "storage": storage,
        "name": "run",
        "strategy": recipe(),
        "executor": "inline",
    }
    return raysearch.search(trainable, **{**fields, **options})


# ---- the configuration is the trainable's own


class Spoiler(tune.Trainable):  # type: ignore[misc]
    """Changes everything in its configuration."""

    def setup(self, config: dict[str, Any]) -> None:
        self.loss = float(config["m"]["lr"]) + len(config["x"]) + config["fixed"]["deep"][0]["n"]
        config["m"]["lr"] = 1e9
        config["x"].append(9)
        config["fixed"]["deep"][0].pop("n")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        return {"loss": self.loss}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "loss").write_text(str(self.loss))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.loss = float(Path(checkpoint_dir, "loss").read_text())


def spoiler(config: dict[str, Any]) -> None:
    loss = float(config["m"]["lr"]) + len(config["x"]) + config["fixed"]["deep"][0]["n"]
    config["m"].pop("lr")
    config["x"].append(9)
    config["fixed"]["deep"].clear()
    for _ in range(3):
        tune.report({"loss": loss})


@pytest.mark.parametrize("trainable", [Spoiler, spoiler])
def test_a_trainable_that_changes_its_configuration_changes_nothing_else(
    storage: Path, trainable: Any
) -> None:
    results = search(
        storage,
        trainable,
        space={"m": {"lr": {"uniform": [0.0, 1.0]}}, "x": {"choice": [[1], [1, 2]]}},
        config={"fixed": {"deep": [{"n": 5}]}},
        baseline={"m": {"lr": 0.5}, "x": [1, 2]},
        strategy=recipe(4, finish={"top": 1, "seeds": 2}),
    )
    rows = list(read_outcomes(storage / "run" / "journal"))
    assert not [row.error for row in rows if row.error]
    for row in rows:
        config = row.segment.config
        assert config["x"] in ([1], [1, 2])
        assert row.curve["loss"][-1] == config["m"]["lr"] + len(config["x"]) + 5
    assert results.best.mean == results.best.config["m"]["lr"] + len(results.best.config["x"]) + 5


def test_a_copy_of_a_configuration_leaves_objects_that_are_no_containers_alone() -> None:
    large = object()
    config = {"a": [{"b": (1, [2])}, {3}], "large": large}
    copied = fresh(config)
    assert copied == config
    assert copied["large"] is large
    copied["a"][0]["b"][1].append(4)
    copied["a"][1].add(5)
    assert config == {"a": [{"b": (1, [2])}, {3}], "large": large}


# ---- trainables that have no file


NOTEBOOK = """
import raysearch
from ray import tune

class Model(tune.Trainable):
    def setup(self, config):
        self.rate = config["rate"]
    def step(self):
        return {"loss": self.rate}

strategy = raysearch.Caviar(samples=2, max_iterations=2, sampler="sobol", finish=None)
space = {"rate": {"uniform": [0.0, 1.0]}}
results = raysearch.search(Model, space=space, metric="loss", mode="min", strategy=strategy, storage="runs",
                           name="run", executor="inline")
print("best", results.best.iteration)
"""


def test_a_class_that_was_typed_in_is_searched_like_any_other(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "best 2\n", done.stderr


def shifted(config: dict[str, Any], shift: float = 0.0) -> None:
    for _ in range(3):
        tune.report({"loss": config["rate"] + shift})


class Method:
    shift = 2.0

    def train(self, config: dict[str, Any]) -> None:
        shifted(config, self.shift)


def nameless() -> dict[str, Any]:
    def local(config: dict[str, Any]) -> None:
        shifted(config, 2.0)

    return {
        "a functools.partial": functools.partial(shifted, shift=2.0),
        "made inside a function": local,
        "a lambda": unnamed,
        "an object, or a method of one": Method().train,
        "as tune.with_parameters does": tune.with_parameters(shifted, shift=2.0),
    }


unnamed = lambda config: shifted(config, 2.0)  # noqa: E731


@pytest.mark.parametrize("kind", nameless())
def test_what_has_no_name_is_given_again_for_a_resume(storage: Path, kind: str) -> None:
    trainable = nameless()[kind]
    search(storage, trainable)
    run = storage / "run"
    assert load_spec(run / "spec.yaml").name == "run"
    with pytest.raises(TrainableError, match=rf"(?s)was .*{kind}.*trainable= of raysearch.resume"):
        raysearch.resume(run, raysearch.How("inline"))
    more = functools.partial(more_samples, samples="+3")
    results = raysearch.resume(run, raysearch.How("inline"), trainable=trainable, edits=more)
    assert results.trials()["value"].min() >= 2.0
    assert len(results.trials()) == 6


def test_a_retest_of_what_has_no_name_takes_it_again(storage: Path) -> None:
    trainable = functools.partial(shifted, shift=2.0)
    results = search(storage, trainable, strategy=recipe(6))
    spec = retest_spec(results, day=dt.date(2027, 1, 1), challengers=1)
    with pytest.raises(TrainableError, match="retest_spec"):
        launch(spec, raysearch.How("inline"))
    spec = retest_spec(results, day=dt.date(2027, 1, 1), challengers=1, trainable=trainable)
    assert spec.trainable is trainable


def test_a_class_of_a_script_that_is_over_is_asked_for(storage: Path) -> None:
    search(storage)
    spec = storage / "run" / "spec.yaml"
    spec.write_text(spec.read_text().replace("trainables:Curve", "__main__:Gone"))
    with pytest.raises(TrainableError, match=r"unknown attribute 'Gone'.*made in a script or notebook: give"):
        raysearch.resume(storage / "run", raysearch.How("inline"))


# ---- metrics


class Clash(trainables.Curve):
    def step(self) -> dict[str, Any]:
        return {**super().step(), "trial": 70.0, "segment": 71.0, "iteration": 72.0, "pid": 73.0}


def test_metrics_named_like_the_keys_of_curves_stand_beside_them(storage: Path) -> None:
    curves = search(storage, Clash).curves()
    assert sorted(set(curves["trial"])) == [0, 1, 2]
    assert list(curves["iteration"][:1]) == [1]
    assert "pid" not in curves
    for name, value in (("trial", 70.0), ("segment", 71.0), ("iteration", 72.0)):
        assert (curves[f"metric.{name}"] == value).all()


def test_rays_own_entries_of_a_report_are_no_metric(storage: Path) -> None:
    with pytest.raises(SpecError, match=r"\[?metric\]?.*'time_total_s' is Ray Tune's own.*another name"):
        search(storage, metric="time_total_s")
    assert not any(storage.iterdir())


# ---- the run's folder


def test_searches_without_a_name_do_not_meet_within_one_second(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda *form: "20270101-000000")
    fields = {"space": SPACE, "metric": "loss", "mode": "min", "storage": storage, "strategy": recipe()}
    for trainable in (trainables.Curve, trainables.Curve, tune.with_parameters(shifted, shift=1.0)):
        raysearch.search(trainable, executor="inline", **fields)
    names = sorted(path.name.rpartition("-")[0] for path in storage.iterdir())
    assert names == ["curve-20270101-000000"] * 2 + ["shifted-20270101-000000"]


# ---- values that YAML knows no name for


class Size(enum.IntEnum):
    SMALL = 1


class Rule(str, enum.Enum):
    SGD = "sgd"


class Metres(float):
    """A float with a unit."""


class Label(str):
    """Text of another class."""


@pytest.mark.parametrize("member", [Size.SMALL, Rule.SGD])
@pytest.mark.parametrize("where", ["space", "fixed", "config", "baseline", "known_good", "metric"])
def test_a_member_of_an_enum_is_refused_wherever_it_stands(storage: Path, member: Any, where: str) -> None:
    choice = {**SPACE, "x": {"choice": [1, "sgd"]}}
    fields: dict[str, dict[str, Any]] = {
        "space": {"space": {**SPACE, "x": {"choice": [member, 7]}}},
        "fixed": {"space": {**SPACE, "x": member}},
        "config": {"config": {"x": {"y": [member]}}},
        "baseline": {"space": choice, "baseline": {"rate": 0.5, "x": member}},
        "known_good": {"space": choice, "known_good": [{"rate": 0.5, "x": member}]},
        "metric": {"metric": member},
    }
    said = "a member of an Enum|must be text|cannot be stored"
    with pytest.raises(SpecError, match=said):
        search(storage, **fields[where])
    assert not any(storage.iterdir())


def test_numbers_and_text_of_classes_of_their_own_are_stored_plainly(storage: Path) -> None:
    results = search(
        storage,
        space={**SPACE, "x": {"choice": [Metres(2.5), Label("near")]}, "y": Label("fixed")},
        config={"z": Metres(1.5)},
        baseline={"rate": Metres(0.5), "x": Label("near"), "y": "fixed"},
        metric=Label("loss"),
    )
    spec = load_spec(storage / "run" / "spec.yaml")
    assert spec.config == {"z": 1.5}
    assert spec.baseline == {"rate": 0.5, "x": "near", "y": "fixed"}
    assert {type(v) for config in results.configs_by_trial().values() for v in config.values()} == {
        float,
        str,
    }


# ---- Ctrl-C


@pytest.mark.parametrize("executor", ["inline", "tune"])
def test_ctrl_c_stops_cleanly_raises_and_says_how_to_go_on(
    storage: Path, executor: Any, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    if executor == "tune":
        request.getfixturevalue("ray_cluster")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def interrupt(status: dict[str, Any]) -> None:
        if status["trials"] and not status["ending"]:
            os.kill(os.getpid(), signal.SIGINT)

    strategy = recipe(100_000, max_iterations=9)
    options = {"executor": executor, "strategy": strategy, "workers": 1, "wandb": "off"}
    with pytest.raises(KeyboardInterrupt):
        search(storage, on_status=interrupt, **options)
    run = storage / "run"
    said = capsys.readouterr().err
    assert f"Go on with: raysearch.resume('{run}'" in said
    assert ('raysearch.How("inline")' in said) == (executor == "inline")
    kept = len(raysearch.load(run).trials())
    assert kept

    def stop(status: dict[str, Any]) -> None:
        if status["trials"] > kept and not status["ending"]:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        raysearch.resume(run, raysearch.How(executor, on_status=stop))
    assert len(raysearch.load(run).trials()) > kept


# ---- samplers of other libraries


def test_a_sampler_that_does_not_fit_the_space_is_said_before_the_run_exists(storage: Path) -> None:
    import optuna

    sampler = from_optuna(optuna.samplers.GridSampler({"other": [1, 2]}))
    with pytest.raises(RunError, match=r"sampler GridSampler failed, asked for trial 0: ValueError: .*rate"):
        search(storage, strategy=recipe(sampler=sampler))
    assert not any(storage.iterdir())


def tired() -> Any:
    class Tired:  # not to be imported: it goes to the coordinator with its code
        def propose(self, trial: int) -> dict[str, Any]:
            if trial == 4:
                raise ValueError("tired")
            return {"rate": 1 / (trial + 2)}

        def observe(self, trial: int, config: Any, iteration: int, score: float) -> None: ...

    return Tired()


@pytest.mark.parametrize("executor", ["inline", "tune"])
def test_a_sampler_that_fails_midway_ends_the_search_in_words(
    storage: Path, executor: Any, request: pytest.FixtureRequest
) -> None:
    if executor == "tune":
        request.getfixturevalue("ray_cluster")
    with pytest.raises(RunError, match=r"^sampler Tired failed, asked for trial 4: ValueError: tired$"):
        search(storage, strategy=recipe(9, sampler=tired()), executor=executor, workers=1)
    assert len(raysearch.load(storage / "run").trials())


# ---- strategies that a spec cannot hold


@dataclasses.dataclass(frozen=True)
class Own(raysearch.Caviar):
    """A strategy that is registered nowhere, under the name of one that is."""


def optuna_sampler() -> Any:
    import optuna

    return from_optuna(optuna.samplers.RandomSampler(seed=1))


@pytest.mark.parametrize("kind", ["sampler RandomSampler", "sampler Tired", "Own"])
def test_a_strategy_that_is_an_object_is_given_again_for_a_resume(
    storage: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def strategy(samples: int = 3) -> raysearch.Caviar:
        if kind == "Own":
            return Own(samples=samples, max_iterations=3, finish=None, sampler="random")
        return recipe(samples, sampler=optuna_sampler() if "Random" in kind else tired())

    search(storage, strategy=strategy())
    again = "raysearch.resume(run, strategy=...)"
    assert f"strategy: {kind} is " in (said := capsys.readouterr().err)
    assert again in said
    run, inline = storage / "run", raysearch.How("inline")
    with pytest.raises(SpecError, match=rf"(?s){kind.split()[-1]}.*was an object|was an object.*Own"):
        raysearch.resume(run, inline)
    with pytest.raises(SpecError, match=r"samples: 2 is less than the 3"):
        raysearch.resume(run, inline, strategy=strategy(2))
    before = (run / "spec.yaml").read_bytes()
    assert len(raysearch.resume(run, inline, strategy=strategy()).trials()) == 3
    assert (run / "spec.yaml").read_bytes() == before
    assert len(raysearch.resume(run, inline, strategy=strategy(4)).trials()) == 4
    assert raysearch.load(run).spec["strategy"]["samples"] == 4
    assert [e.kind for e in raysearch.load(run).events() if e.kind == "edit"] == ["edit"]


def test_a_retest_needs_no_sampler_of_the_search(storage: Path) -> None:
    results = search(storage, strategy=recipe(6, sampler=optuna_sampler()))
    assert retest_spec(results, day=dt.date(2027, 1, 1), challengers=1).strategy.name == "retest"


def test_what_spec_yaml_holds_is_resumed_without_a_word(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(storage, progress=False)
    assert capsys.readouterr().err == ""


# ---- another working directory


def test_results_are_found_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = search(Path("runs"), trainables.Walk)
    loaded = raysearch.load("runs/run")
    monkeypatch.chdir("/")
    assert results.path == tmp_path / "runs" / "run"
    assert results.spec["storage"] == str(tmp_path / "runs")
    for one in (results, loaded):
        assert len(one.trials()) == 3
        assert one.best.checkpoint is not None
        assert one.best.checkpoint.is_dir()
        assert one.plot.progress() is not None
    assert len(raysearch.resume(results.path, raysearch.How("inline")).trials()) == 3


# ---- checkpoints


def seldom(config: dict[str, Any]) -> None:
    checkpoint = tune.get_checkpoint()
    begun = int(Path(checkpoint.path, "at").read_text()) if checkpoint else 0
    for at in range(begun + 1, 4):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "at").write_text(str(at))
            kept = tune.Checkpoint.from_directory(folder) if at == 2 else None
            tune.report({"loss": config["rate"] / at}, checkpoint=kept)


def test_a_function_that_saves_seldom_has_its_last_save_and_says_of_when(storage: Path) -> None:
    best = search(storage, seldom, strategy=recipe(min_iterations=3)).best
    assert best.iteration == 3
    assert best.checkpoint is not None
    assert (best.checkpoint / "at").read_text() == "2"
    assert json.loads((best.checkpoint / ".raysearch.json").read_text())["iteration"] == 2


# ---- two searches in one process


def test_a_second_search_in_this_process_is_refused_before_it_begins(storage: Path) -> None:
    def nested(config: dict[str, Any]) -> None:
        search(storage, shifted, name="within")

    failed, error = search(storage, nested).failures()
    assert (failed, "another such search is going on" in error, "Train session" in error) == (3, True, False)
    assert not (storage / "within").exists()

    said: list[str] = []

    def beside(status: dict[str, Any]) -> None:
        if not said:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    def other() -> None:
        with pytest.raises(RunError, match="another such search is going on") as refused:
            search(storage, trainables.Curve, name="beside")
        said.append(str(refused.value))

    search(storage, shifted, name="first", on_status=beside)
    assert said
    assert not (storage / "beside").exists()
    assert len(search(storage, shifted, name="after").trials()) == 3


def test_a_function_is_not_trained_inside_a_function_trainable_of_rays(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysearch.ray_private.function_session", object)
    with pytest.raises(RunError, match="a function trainable of Ray Tune is at work already"):
        search(storage, shifted)
    assert not any(storage.iterdir())


# ---- numbers of NumPy


def test_numbers_of_numpy_are_numbers(storage: Path) -> None:
    strategy = raysearch.Caviar(
        samples=np.int64(3),
        max_iterations=np.int32(3),
        eta=np.uint8(2),
        min_iterations=np.int64(1),
        finish=raysearch.Finish(top=np.int64(1), seeds=np.int8(2)),
    )
    assert {type(strategy.samples), type(strategy.max_iterations), type(strategy.eta)} == {int}
    results = search(storage, strategy=strategy, workers=np.int64(1), seed=np.int64(4))
    assert len(results.trials()) == 3
    assert results.spec["strategy"]["finish"] == {"top": 1, "seeds": 2}
    panda = raysearch.Panda(max_iterations=np.int64(60), budget=np.float32(1.5), population=np.int64(2))
    assert (panda.max_iterations, panda.budget, panda.population) == (60, 1.5, 2)
    for wrong in (np.float64(3.5), np.bool_(True), True, "3"):
        with pytest.raises(SpecError, match=r"samples = .* must be a whole number"):
            raysearch.Caviar(samples=wrong, max_iterations=3)
