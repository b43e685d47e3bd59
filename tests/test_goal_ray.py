"""A search of two objectives within a limit on a Ray cluster, from its launch to the member that is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from raysearch.cli import main
from raysearch.core.pareto import non_dominated
from raysearch.results import load

TRAINABLE = """
from ray import tune

def train(config):
    for i in range(1, 4):
        loss = 2 - config["width"] + config["waste"] + 1 / i
        tune.report({"loss": loss, "latency": 40 * config["width"] + 10 * config["waste"]})
"""
SPEC = """
trainable: both.py:train
objectives: {loss: min, latency: min}
limits: ["latency <= 30"]
space: {width: {uniform: [0.1, 1.0]}, waste: {uniform: [0.0, 1.0]}}
baseline: {width: 0.9, waste: 0.5}
strategy: {name: caviar, samples: 14, max_iterations: 3, finish: {top: 2, seeds: 1}}
workers: 2
"""
MINE = {"width": 0.3, "waste": 0.0}  # nothing with this latency has a lower loss


def test_a_search_of_two_objectives_on_ray_is_resumed_with_a_configuration_of_ones_own_and_taken_from(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "both.py").write_text(TRAINABLE)
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(MINE))
    monkeypatch.chdir(tmp_path)
    assert main(["launch", "spec.yaml", "--name", "both"]) == 0
    first = load("runs/both")
    assert len(first.trials()) == 14
    assert first.front.certified
    assert all(member.values["latency"] <= 30 for member in first.front)

    assert main(["enqueue", "runs/both", "mine.yaml"]) == 0
    assert main(["resume", "runs/both", "--samples", "+2", "--executor", "inline"]) == 0
    results = load("runs/both")
    trials = results.trials()
    (mine,) = (number for number, config in results.configs_by_trial().items() if config == MINE)
    assert mine == 14
    assert len(trials) == 16
    whole = trials[(trials["iterations"] == 3) & (trials["violation"] == 0)]
    points = whole[["value", "latency"]].to_numpy()
    assert mine in whole["trial"][non_dominated(points)].tolist()

    capsys.readouterr()
    assert main(["best", "runs/both", "--weights", "loss=1,latency=0", "--json"]) == 0
    taken = json.loads(capsys.readouterr().out)
    assert taken["trial"] == min(results.front, key=lambda member: member.values["loss"]).trial
    assert main(["export", "runs/both", "--trial", str(taken["trial"]), "--config", "-o", "taken.yaml"]) == 0
    assert yaml.safe_load(Path("taken.yaml").read_text()) == pytest.approx(taken["config"])
    assert main(["report", "runs/both", "-o", "report.html"]) == 0
    assert "beyond the limits" in Path("report.html").read_text()
