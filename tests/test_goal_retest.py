"""A retest of a run of several objectives tests one, and takes no challenger that loses in another."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from raysearch.cli import main
from raysearch.errors import SpecError
from raysearch.results import load
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives
from raysearch.workflows.retest.objectives import compared
from raysearch.workflows.retest.retest import retest_spec

TRAINABLE = """
import random
from ray import tune

def train(config):
    luck = random.Random(f"{config['seed']} {config['width']}")
    for i in range(1, 4):
        loss = 2 - config["width"] + config["waste"] + 1 / i + 0.01 * luck.gauss(0, 1)
        latency = 40 * config["width"] + 10 * config["waste"] + 0.1 * luck.gauss(0, 1)
        tune.report({"loss": loss, "latency": latency})
"""
SPEC = """
trainable: both.py:train
objectives: {loss: min, latency: min}
limits: ["latency <= 35"]
space: {width: {uniform: [0.1, 1.0]}, waste: {uniform: [0.0, 1.0]}}
strategy: {name: caviar, samples: 16, max_iterations: 3, sampler: sobol, finish: {top: 3, seeds: 2}}
seed_as: seed
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "both.py").write_text(TRAINABLE)
    (tmp_path / "spec.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    assert main(["launch", "spec.yaml", "--name", "both", "--executor", "inline"]) == 0
    return Path("runs/both")


def test_a_challenger_that_is_worse_in_another_objective_is_a_trade_and_the_settings_stay(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    knee = load(run).best.config
    capsys.readouterr()
    code = main(["retest", str(run), "--metric", "latency", "--executor", "inline", "--json"])
    verdict = json.loads(capsys.readouterr().out)
    assert (code, verdict["word"]) == (4, "inconclusive")
    assert "Inconclusive: a trade." in verdict["text"]
    assert "worse in loss" in verdict["text"]
    assert "Tested was latency, one of 2 objectives and limits." in verdict["text"]
    assert verdict["config"] == knee


def test_a_retest_is_by_the_leading_objective_unless_another_is_named(run: Path) -> None:
    results, day = load(run), dt.date(2027, 1, 1)
    spec = retest_spec(results, day=day)
    assert (spec.metric, dict(spec.objectives), spec.limits) == ("loss", {}, ())
    other = retest_spec(results, day=day, metric="latency")
    assert other.metric == "latency"
    assert other.baseline == results.best.config
    stored = [c.estimate.mean for c in results.verdict().contenders if c.config == results.best.config]
    assert sum(spec.strategy.stored) / len(spec.strategy.stored) == pytest.approx(stored[0])  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match="--metric: unknown objective 'latncy'; did you mean 'latency'"):
        retest_spec(results, day=day, metric="latncy")


GOALS = Objectives({"loss": "min", "acc": "max"}, (Limit("ms <= 20"),))


def arm(*rows: tuple[float, float, float]) -> dict[tuple[int, int], dict[str, float]]:
    return {(9, seed): dict(zip(("loss", "acc", "ms"), row, strict=True)) for seed, row in enumerate(rows)}


@pytest.mark.parametrize(
    ("challenger", "losses"),
    [
        (arm((0.4, 0.8, 10.0), (0.5, 0.81, 10.0), (0.4, 0.79, 10.0)), ""),
        (arm((0.4, 0.7, 10.0), (0.5, 0.71, 10.0), (0.4, 0.69, 10.0)), "worse in acc"),
        (arm((0.4, 0.9, 10.0), (0.5, 0.91, 10.0), (0.4, 0.89, 10.0)), ""),
        (arm((0.4, 0.8, 30.0), (0.5, 0.81, 30.0), (0.4, 0.79, 30.0)), "beyond ms <= 20 (ms 30.00)"),
        ({}, "not known in acc, beyond ms <= 20 (ms -)"),
    ],
    ids=["as good", "worse", "better", "beyond", "none"],
)
def test_what_a_winner_loses_is_named(
    challenger: dict[tuple[int, int], dict[str, float]], losses: str
) -> None:
    incumbent = arm((0.6, 0.8, 10.0), (0.7, 0.8, 10.0), (0.6, 0.8, 10.0))
    assert compared({0: incumbent, 2: challenger}, 2, GOALS, "loss")[1] == losses
