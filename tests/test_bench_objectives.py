"""`raysearch bench objectives`: all search the same tasks, and what they found is measured alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raysearch.bench.objectives import main
from raysearch.bench.support.front_rivals import CONTENDERS
from raysearch.bench.support.front_run import Seen, Yardstick, drive
from raysearch.bench.support.front_tasks import read_tasks
from raysearch.core.segment import Segment, Status, segment_id
from raysearch.errors import SpecError
from raysearch.space.objectives import Objectives


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """A task of 40 trainings of 4 epochs; accuracy grows with width, and so do the seconds of an epoch."""
    draw = np.random.default_rng(0)
    rows = []
    for width in draw.uniform(0.1, 1.0, 40):
        epochs = np.arange(1.0, 5)
        accuracy = 50 + 40 * width - 20 / epochs
        rows.append(
            {"task": "one", "hp_width": width, "time_s": (1 + 9 * width) * epochs, "val_acc": accuracy}
        )
    path = tmp_path / "curves.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_every_contender_is_measured_without_and_within_limits(
    curves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name in CONTENDERS if name != "syne-moasha"]
    log = tmp_path / "log.jsonl"
    options = ["--seeds", "2", "--at", "2,8", "--limited", "both", "--log", str(log), "--json"]
    assert main([str(curves), "--methods", ",".join(names), *options]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["contender"] for row in rows] == 4 * names
    for row in rows:
        assert 0 <= row["2"] <= row["8"] <= 1.0 + 1e-9
    within = [row for row in rows if "within limits" in row["task"]]
    assert {row["contender"] for row in within if row["beyond"] > 0} >= {"random"}
    assert all(row["gain"] is not None for row in rows if row["contender"] == "caviar")
    assert len(log.read_text().splitlines()) == 2 * 2 * len(names)


def test_a_whole_front_is_one_and_nothing_is_none(curves: Path) -> None:
    (task,) = read_tasks(str(curves), None, None)
    ends = np.column_stack([task.values[name][:, -1] for name in task.goals.modes])
    within = np.ones(len(ends), np.bool_)
    stick = Yardstick.of(task.goals, ends, within)
    at = np.arange(1.0, len(ends) + 1)
    shares = stick.shares(Seen(at, ends, within, len(ends), 0), [0.5, 1.0, 40.0])
    assert shares[0] == 0.0
    assert 0 < shares[1] < 1
    assert shares[2] == pytest.approx(1.0)
    beyond = stick.shares(Seen(at, ends, ~within, len(ends), 0), [40.0])
    assert beyond.tolist() == [0.0]


def test_of_one_objective_the_measure_is_the_way_from_the_median_to_the_best() -> None:
    values = np.array([[1.0], [2.0], [3.0]])
    stick = Yardstick.of(Objectives({"loss": "min"}), values, np.ones(3, np.bool_))
    seen = Seen(np.array([1.0, 2.0]), np.array([[2.0], [1.25]]), np.ones(2, np.bool_), 2, 0)
    assert stick.shares(seen, [1.0, 2.0]).tolist() == pytest.approx([0.0, 0.75])


def test_a_budget_is_spent_and_not_exceeded(curves: Path) -> None:
    (task,) = read_tasks(str(curves), None, None)
    seen = drive(CONTENDERS["caviar-sobol"](task, 1, 200), task, 2, 3 * task.full_cost)
    assert 2 * task.full_cost < seen.at[-1] <= 3 * task.full_cost + 1e-9
    assert (np.diff(seen.at) >= 0).all()


def test_a_live_network_goes_on_from_where_its_trial_paused() -> None:
    live = pytest.importorskip("raysearch.bench.support.front_live")
    config = {"lr": 0.1, "momentum": 0.5, "layers": 1, "width": 8, "batch": 128}
    first, second, whole = (Segment(segment_id(0, k), 0, None, config, 0, 2, 0, "new") for k in range(3))
    second = Segment(segment_id(0, 1), 0, first.id, config, 1, 2, 0, "promoted")
    task = live.DigitsTask()
    one = task.train(Segment(first.id, 0, None, config, 0, 1, 0, "new"))
    two, both = task.train(second), live.DigitsTask().train(whole)
    assert both.status is Status.COMPLETED
    assert [*one.curve["loss"], *two.curve["loss"]] == both.curve["loss"]
    assert both.curve["parameters"] == [64 * 8 + 8 + 8 * 10 + 10] * 2
    assert min(both.curve["latency_ms"]) > 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["here.txt"], "here.txt is no source: give digits, hpobench"),
        (["digits", "--methods", "caviar,tpe"], "unknown method 'tpe'"),
    ],
)
def test_what_is_not_there_is_refused(args: list[str], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        main(args)
