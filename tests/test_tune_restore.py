"""Ray Tune's `Tuner.restore` and `tune.run` with one import changed."""

from __future__ import annotations

import inspect
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ray import tune as rays
from ray.tune.search.optuna import OptunaSearch

import raysearch
from raysearch.errors import RunError, SpecError
from raysearch.integrations import tune, tune_run
from raysearch.integrations.tune import Tuner

HOW: dict[str, Any] = {"executor": "inline", "say": lambda line: None, "progress": False}
CALLS: list[int] = []
STOPS_AT: list[int] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()
    STOPS_AT.clear()


def train(config: dict[str, Any]) -> None:
    """The score is `a` times the iteration; the call that STOPS_AT names is interrupted as by Ctrl-C."""
    CALLS.append(1)
    first = 0
    if (checkpoint := rays.get_checkpoint()) is not None:
        first = int(Path(checkpoint.path, "step").read_text())
    for step in range(first, 50):
        if len(CALLS) in STOPS_AT and step == 1:
            STOPS_AT.clear()
            signal.raise_signal(signal.SIGINT)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text(str(step + 1))
            score = config["a"] * (step + 1)
            rays.report({"score": score}, checkpoint=rays.Checkpoint.from_directory(folder))


def tuner(storage: Path, stop: Any, space: Any = None, **more: Any) -> Tuner:
    return Tuner(
        train,
        param_space=space or {"a": tune.uniform(0.5, 1.0), "k": 1},
        tune_config=tune.TuneConfig(metric="score", mode="max", **{"num_samples": 4, **more}),
        run_config=tune.RunConfig(name="run", storage_path=str(storage), stop=stop),
        **HOW,
    )


def interrupted(made: Tuner, at: int) -> None:
    """Searches up to the beginning of a trial, and no further."""
    STOPS_AT.append(at)
    with pytest.raises(KeyboardInterrupt):
        made.fit()


def test_a_restored_search_trains_what_is_left_and_ends_trials_as_it_did(storage: Path) -> None:
    path = storage / "run"
    assert not Tuner.can_restore(path)
    interrupted(tuner(storage, {"score": 3.0, "training_iteration": 9}), at=3)
    assert Tuner.can_restore(str(path))
    calls = len(CALLS)
    restored = Tuner.restore(str(path), train, resume_errored=True, param_space={"a": 1, "k": 1}, **HOW)
    assert len(restored.get_results()) < 4
    grid = restored.fit()
    assert len(grid) == len(restored.get_results()) == 4
    assert len(CALLS) - calls <= 3
    ends = [(one.config["a"], one.metrics["training_iteration"]) for one in grid]
    assert all(a * n >= 3.0 > a * (n - 1) for a, n in ends), ends
    assert Tuner.restore(path, train, **HOW).fit().results.best == grid.results.best  # nothing is left
    assert len(CALLS) - calls <= 3


def test_what_a_run_cannot_hold_is_asked_for_and_taken(storage: Path) -> None:
    def is_over(trial: str, result: dict[str, Any]) -> bool:
        return bool(result["training_iteration"] >= 2)

    grids = {"a": tune.grid_search([0.5, 0.6]), "b": {"c": tune.grid_search([1, 2, 3])}}
    interrupted(tuner(storage, is_over, grids, num_samples=1), at=5)
    with pytest.raises(SpecError, match="of is_over, which a run cannot hold"):
        Tuner.restore(storage / "run", train, param_space=grids)
    with pytest.raises(SpecError, match="enumerates a grid; give it again"):
        Tuner.restore(storage / "run", train, stop=is_over)
    grid = Tuner.restore(storage / "run", train, param_space=grids, stop=is_over, **HOW).fit()
    points = [(one.config["a"], one.config["b"]["c"]) for one in grid]
    assert points == [(a, c) for a in (0.5, 0.6) for c in (1, 2, 3)]
    assert {one.metrics["training_iteration"] for one in grid} == {2}


def test_a_search_algorithm_is_asked_for_again(storage: Path) -> None:
    interrupted(tuner(storage, {"training_iteration": 2}, search_alg=OptunaSearch(seed=1)), at=3)
    with pytest.raises(SpecError, match=r"was begun with a search_alg .*; give it again: search_alg="):
        Tuner.restore(storage / "run", train)
    again = Tuner.restore(storage / "run", train, search_alg=OptunaSearch(seed=1), **HOW)
    assert len(again.fit()) == 4


def test_trials_that_failed_stay_so_and_are_named_where_they_were_to_go_on(storage: Path) -> None:
    def fails(config: dict[str, Any]) -> None:
        rays.report({"score": 1.0})
        if config["k"] == 2:
            raise ValueError("on purpose")

    made = tuner(storage, {"training_iteration": 2}, {"k": tune.grid_search([1, 2])}, num_samples=1)
    made._trainable = fails
    made.fit()
    given = {"param_space": {"k": tune.grid_search([1, 2])}, **HOW}
    restored = Tuner.restore(storage / "run", fails, restart_errored=True, **given)
    assert restored.notes == [
        "Tuner.restore(restart_errored=True) is not read: trials 1 failed and stay so; "
        "FailureConfig(max_failures=N) has a search try each again at once"
    ]
    assert Tuner.restore(storage / "run", fails, **given).notes == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"resume_unfinished": False}, "resume_unfinished=False.* has no counterpart"),
        ({"storage_filesystem": object()}, "storage_filesystem has no counterpart"),
        ({"_resume_config": rays.ResumeConfig()}, "_resume_config=...\\) has no counterpart"),
        ({"param_space": {"a": 1, "z": 2}}, "param_space=...\\): z is not in the run"),
        ({"executr": "inline"}, "unknown setting 'executr'; did you mean 'executor'"),
    ],
)
def test_what_a_restore_cannot_do_is_named(storage: Path, given: dict[str, Any], words: str) -> None:
    tuner(storage, {"training_iteration": 1}, num_samples=1).fit()
    with pytest.raises(SpecError, match=words):
        Tuner.restore(storage / "run", train, **given)


def test_there_is_nothing_to_restore_where_no_run_lies(storage: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        Tuner.restore(storage / "run", train)
    with pytest.raises(RuntimeError, match="no results yet"):
        tuner(storage, {"training_iteration": 1}).get_results()


# ---- tune.run


def run(storage: Path, **given: Any) -> Any:
    known = {"metric": "score", "mode": "max", "storage_path": str(storage), "name": "run"}
    return tune.run(train, **{**known, "config": {"a": tune.uniform(0.5, 1.0)}, **HOW, **given})


def test_tune_run_searches_and_its_analysis_answers_as_rays_does(storage: Path) -> None:
    analysis = run(storage, num_samples=3, stop={"training_iteration": 2}, resources_per_trial={"cpu": 1})
    best = analysis.get_best_trial("score", "max", "last")
    assert analysis.best_config == analysis.get_best_config() == best.config
    assert analysis.best_result["score"] == best.config["a"] * 2 == max(analysis.dataframe().score)
    assert analysis.best_dataframe.score.tolist() == [best.config["a"], best.config["a"] * 2]
    assert Path(analysis.best_checkpoint.path, "step").read_text() == "2"
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 3
    assert [*analysis.results] == [*analysis.results_df.index] == ["0", "1", "2"]
    assert analysis.get_all_configs(prefix=True)["0"] == {"config/a": analysis.trials[0].config["a"]}
    assert analysis.experiment_path == str(storage / "run")
    with pytest.warns(UserWarning, match="last checkpoint of a trial is the one"):
        assert analysis.get_best_checkpoint(best) == analysis.get_last_checkpoint()


def test_a_run_that_is_resumed_goes_on(storage: Path) -> None:
    given = {"num_samples": 4, "stop": {"training_iteration": 2}}
    STOPS_AT.append(3)
    with pytest.raises(KeyboardInterrupt):
        run(storage, **given, resume="AUTO")
    assert len(run(storage, **given, resume=True).trials) == 4
    assert [folder.name for folder in storage.iterdir()] == ["run"]


def test_failed_trials_are_raised_unless_they_are_not_to_be(storage: Path) -> None:
    def fails(config: dict[str, Any]) -> None:
        rays.report({"score": 1.0})
        if config["a"] == 2:
            raise ValueError("on purpose")

    given = {"metric": "score", "mode": "max", "storage_path": str(storage), **HOW}
    given |= {"config": {"a": tune.grid_search([1, 2])}, "stop": {"training_iteration": 3}}
    with pytest.raises(RunError, match=r"1 of 2 trials failed, first: .*on purpose"):
        tune.run(fails, **given)
    analysis = tune.run(fails, raise_on_failed_trial=False, **given)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED", "ERROR"]


def test_every_argument_of_rays_run_is_read_or_refused() -> None:
    known = {*tune_run.OF_TUNE, *tune_run.OF_RUN, *tune_run.OF_FAILURE, *tune_run.OF_CHECKPOINT}
    assert {*inspect.signature(rays.run).parameters} == known | {*tune_run.OWN, *tune_run.REFUSED}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        *(({name: "x"}, rf"tune.run\({name}=\.\.\.\) has no counterpart") for name in tune_run.REFUSED),
        ({"resume": "AUTO+ERRORED"}, r"resume='AUTO\+ERRORED'\) has no counterpart: one of True, 'LOCAL'"),
        ({"resume": True, "name": None}, "needs the name="),
        ({"num_smaples": 3}, "num_smaples: unknown field"),
        ({"scheduler": rays.schedulers.MedianStoppingRule()}, "MedianStoppingRule has no counterpart"),
        ({"metric": None}, "TuneConfig.metric: is missing"),
    ],
)
def test_what_tune_run_cannot_do_is_named_before_anything_starts(
    storage: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        run(storage, **given)
    assert [*storage.iterdir()] == []


def test_other_ways_to_start_trials_are_refused(storage: Path) -> None:
    with pytest.raises(SpecError, match="'PPO' has no counterpart"):
        tune.run("PPO")
    with pytest.raises(SpecError, match="run_experiments has no counterpart"):
        tune.run_experiments({})
    assert raysearch.integrations.tune.ExperimentAnalysis is rays.ExperimentAnalysis
