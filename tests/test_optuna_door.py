"""An Optuna objective is searched as it is: its space is found, its reports are iterations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

import raysearch
from raysearch.errors import SpecError
from raysearch.integrations.optuna import search, space_of
from raysearch.spec import load_spec


def quiet(storage: Path) -> dict[str, Any]:
    return {"storage": str(storage), "executor": "inline", "say": lambda line: None}


def objective(trial: Any) -> float:
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    width = trial.suggest_int("width", 16, 64, step=16)
    optimizer = trial.suggest_categorical("optimizer", ["adam", "sgd"])
    momentum = trial.suggest_float("momentum", 0.0, 0.9) if optimizer == "sgd" else 0.0
    layers = trial.suggest_int("layers", 1, 3)
    units = [trial.suggest_int(f"units_{i}", 8, 128, log=True) for i in range(layers)]
    trial.set_user_attr("units", units)
    value = lr + momentum + width * 0.0
    for step in range(30):
        value = (lr + momentum) / (step + 1)
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


def test_the_space_of_an_objective_is_found_with_its_conditions() -> None:
    assert space_of(objective).to_dict() == {
        "lr": {"loguniform": [1e-3, 1.0]},
        "width": {"randint": [16, 64], "q": 16},
        "optimizer": {"choice": ["adam", "sgd"]},
        "momentum": {"uniform": [0.0, 0.9], "when": {"optimizer": "sgd"}},
        "layers": {"randint": [1, 3]},
        "units_0": {"lograndint": [8, 128]},
        "units_1": {"lograndint": [8, 128], "when": {"layers": [2, 3]}},
        "units_2": {"lograndint": [8, 128], "when": {"layers": 3}},
    }


def test_an_objective_is_searched_and_its_conditions_are_recorded(storage: Path) -> None:
    results = search(objective, samples=12, max_iterations=9, **quiet(storage))
    trials = results.trials(finals=True)
    assert not trials.error.any()
    assert min(trials.iterations) < max(trials.iterations) == 9
    spec = load_spec(results.path / "spec.yaml")
    for config in results.configs_by_trial().values():
        assert spec.space.why_not(config) is None
        assert ("momentum" in config) == (config["optimizer"] == "sgd")
    curves = results.curves()
    for trial, config in results.configs_by_trial().items():
        own = curves[curves.trial == trial].value.tolist()
        top = config["lr"] + config.get("momentum", 0.0)
        assert own == pytest.approx([top / step for step in range(1, len(own) + 1)])


def test_an_objective_that_only_returns_its_value_is_one_iteration(storage: Path) -> None:
    def peak(trial: Any) -> float:
        return -((trial.suggest_float("x", -1.0, 1.0) - 0.3) ** 2)

    results = search(peak, samples=8, mode="max", **quiet(storage))
    assert set(results.trials().iterations) == {1}
    best = results.best
    assert best.value == pytest.approx(-((best.config["x"] - 0.3) ** 2))


def test_a_trial_that_the_objective_prunes_itself_has_ended(storage: Path) -> None:
    def pruned(trial: Any) -> float:
        trial.report(trial.suggest_float("x", 0.0, 1.0), 0)
        raise optuna.TrialPruned

    strategy = raysearch.Caviar(3, 9, variant="stopping", finish=None)
    results = search(pruned, strategy=strategy, **quiet(storage))
    assert set(results.trials().iterations) == {1}
    assert not results.trials().error.any()


def test_a_trial_that_is_pruned_before_its_first_report_has_no_value(storage: Path) -> None:
    def pruned(trial: Any) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        if x > 0.3:
            raise optuna.TrialPruned
        return float(x)

    results = search(pruned, samples=6, **quiet(storage))
    trials = results.trials()
    assert (trials.status == "diverged").tolist() == (trials["config.x"] > 0.3).tolist()
    assert results.best.value <= 0.3


def test_a_trial_has_its_number_and_its_user_attributes_are_reported(
    storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def tells(trial: Any) -> float:
        rate = trial.suggest_float("rate", 0.1, 1.0)
        assert trial.params == {"rate": rate}
        trial.set_user_attr("number", trial.number)
        trial.set_user_attr("note", "no number")
        for step in range(2):
            trial.report(rate, step)
            trial.set_user_attr("late", step)
        return float(rate)

    strategy = raysearch.Caviar(3, 2, min_iterations=2, variant="stopping", finish=None)
    curves = search(tells, strategy=strategy, **quiet(storage)).curves()
    own = {"user_attrs_number", "user_attrs_late"}
    assert {*curves.columns} == {"trial", "segment", "iteration", "value", "step"} | own
    assert curves.user_attrs_number.tolist() == curves.trial.tolist() == [0, 0, 1, 1, 2, 2]
    assert curves.user_attrs_late.dropna().tolist() == [0] * 3
    assert [record.getMessage() for record in caplog.records if "set_user_attr" in record.getMessage()] == [
        "set_user_attr('note', ...): what is no number is not kept"
    ]


def test_what_cannot_be_searched_is_said_before_anything_starts() -> None:
    def twofold(trial: Any) -> float:
        kind = trial.suggest_categorical("kind", ["a", "b"])
        return trial.suggest_float("x", 0.0, 1.0 if kind == "a" else 2.0)

    def failing(trial: Any) -> float:
        raise ZeroDivisionError(f"no {trial.suggest_int('n', 1, 9)}")

    with pytest.raises(SpecError, match=r"'x' is suggested as FloatDistribution\(high=1.0.* and as "):
        space_of(twofold)
    with pytest.raises(SpecError, match="suggests nothing before its first report"):
        space_of(lambda trial: 0.0)
    with pytest.raises(SpecError, match=r"failed with ZeroDivisionError: no 1 \(suggested: n=1\)"):
        space_of(failing)
