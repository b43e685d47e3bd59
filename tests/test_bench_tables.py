"""`raysearch bench tables`: reads curves, runs every contender, prints regrets, refuses what is not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raysearch.bench.support.curves import Columns, read_tables
from raysearch.bench.tables import CONTENDERS, main
from raysearch.errors import SpecError


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """Two tasks of 30 trainings, 6 epochs; accuracy is best at lr = 0.1 with sgd."""
    draw = np.random.default_rng(0)
    rows = []
    for task in ("one", "two"):
        for lr in 10 ** draw.uniform(-4, 0, 30):
            kind = str(draw.choice(["sgd", "adam"]))
            top = 90 - 10 * abs(np.log10(lr) + 1) - 5 * (kind == "adam")
            epochs = np.arange(1.0, 7)
            row = {"task": task, "hp_lr": lr, "hp_kind": kind, "hp_same": 1, "time_s": 2 * epochs}
            rows.append({**row, "val_acc": top - 10 / epochs, "val_loss": 100 - top + 10 / epochs})
    path = tmp_path / "curves.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_curves_become_tables_with_a_space_inferred(curves: Path) -> None:
    tables = read_tables(curves, Columns())
    one = tables["one"]
    assert list(tables) == ["one", "two"]
    assert (one.metric, one.mode, one.epochs, len(one.configs)) == ("val_acc", "max", 6, 30)
    form = one.space.to_dict()
    assert set(form) == {"lr", "kind"}
    assert "loguniform" in form["lr"]
    assert form["kind"] == {"choice": ["adam", "sgd"]}
    assert one.full_seconds == 12.0


def test_every_contender_runs_and_its_regret_falls(curves: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(curves), "--seeds", "2", "--workers", "2", "--at", "1,4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["contender"] for row in said["rows"]] == list(CONTENDERS)
    for row in said["rows"]:
        assert 0 <= row["4"] <= row["1"] <= 1
        assert set(row["tasks"]) == {"one", "two"}


def test_the_metric_mode_and_tasks_can_be_chosen(curves: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--metric", "val_loss", "--tasks", "two", "--seeds", "1", "--methods", "random,caviar-sobol"]
    assert main([str(curves), *args, "--worker-dies", "0.1", "--fails", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "val_loss (min)" in said.replace("\n", " ")
    assert "1 tasks" in said


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (Columns(metric="val_ac"), "did you mean 'val_acc'"),
        (Columns(tasks=("ones",)), "did you mean 'one'"),
        (Columns(seconds="hours"), "unknown list column 'hours'"),
    ],
)
def test_what_is_not_in_the_file_is_named(curves: Path, columns: Columns, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        read_tables(curves, columns)


def test_an_unknown_method_is_refused(curves: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'caviar'"):
        main([str(curves), "--methods", "cavier"])
