"""Memory: records in Parquet, what is refused and why, portfolio and box by hand, and the safeguards."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import mannwhitneyu

from raysearch.bench.transfer import main as bench
from raysearch.cli import main
from raysearch.errors import LocatedError, RunError, SpecError
from raysearch.results import load
from raysearch.space import Space
from raysearch.spec import make_spec
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.samplers import make_sampler
from raysearch.strategies.samplers.importance import importances
from raysearch.strategies.samplers.portfolio import portfolio
from raysearch.strategies.samplers.rank_test import worse_probability
from raysearch.strategies.samplers.transfer import TEST, TransferSampler
from raysearch.strategies.samplers.transfer_settings import Transfer
from raysearch.workflows.memory.recall import Record, importance_table, recall
from raysearch.workflows.memory.store import META, Memory, begin_from

SPACE = Space.from_dict({"lr": {"loguniform": [1e-4, 1.0]}, "act": {"choice": ["relu", "gelu"]}})
TINY = """
def train(config):
    from ray import tune
    for i in range(9):
        tune.report({"loss": abs(config["lr"] - 0.1) + 1 / (i + 1)})
"""
SPEC = """
trainable: tiny.py:train
metric: loss
mode: min
space: {lr: {loguniform: [1.0e-4, 1.0]}, act: {choice: [relu, gelu]}}
strategy: {name: caviar, samples: 24, max_iterations: 9, sampler: sobol, finish: off}
"""


def record(task: str, best: float = 0.01, n: int = 40, **fields: Any) -> Record:
    configs = SPACE.sample_many(sum(map(ord, task)), 0, n)
    values = [abs(np.log10(c["lr"] / best)) for c in configs]
    given = {
        "task": task,
        "run": f"runs/{task}",
        "metric": "loss",
        "mode": "min",
        "space": SPACE.to_dict(),
        "configs": configs,
        "iterations": [9] * n,
        "values": values,
        "at": 1.0,
    }
    return Record(**{**given, **fields})


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    one = record("digits", importances={"lr": 0.9}, verdict="fresh", fingerprint={"rows": 3})
    Memory(tmp_path / "m").add(one)
    held = Memory(tmp_path / "m").records()
    assert held.bad == ()
    (back,) = held.good
    assert (back.task, back.metric, back.at, back.verdict) == ("digits", "loss", 1.0, "fresh")
    assert list(back.configs) == list(one.configs)
    assert list(back.values) == list(one.values)
    assert not list((tmp_path / "m").glob("*.tmp"))


def test_a_memory_may_be_a_url_and_one_that_is_none_is_refused(tmp_path: Path) -> None:
    Memory(f"file://{tmp_path}/m").add(record("digits"))
    assert [r.task for r in Memory(tmp_path / "m").records().good] == ["digits"]
    assert Memory(tmp_path / "empty").records().good == ()
    with pytest.raises(SpecError, match="cannot be opened"):
        Memory("nonsense://x")
    for nowhere in ("gs://", "s3://"):  # before a network is asked
        with pytest.raises(SpecError, match="names no bucket and no folder"):
            Memory(nowhere)


def test_corrupted_newer_and_foreign_files_are_named_and_the_others_used(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.add(record("digits"))
    (tmp_path / "torn-1.parquet").write_bytes(next(tmp_path.glob("digits*")).read_bytes()[:-50])
    table = pq.read_table(next(tmp_path.glob("digits*")))
    newer = {**json.loads(table.schema.metadata[META]), "version": 99}
    pq.write_table(table.replace_schema_metadata({META: json.dumps(newer)}), tmp_path / "newer-1.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other-1.parquet")
    held = memory.records()
    assert [r.task for r in held.good] == ["digits"]
    why = dict(held.bad)
    assert "newer version (format 99" in why["newer-1.parquet"]
    assert "no record of raysearch" in why["other-1.parquet"]
    assert "torn-1.parquet" in why


def test_forgetting_takes_a_task_and_no_other(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    for task in ("digits", "digits-large"):
        memory.add(record(task))
    assert memory.forget("digits") == 1
    assert [r.task for r in memory.records().good] == ["digits-large"]
    with pytest.raises(RunError, match="did you mean 'digits-large'"):
        memory.forget("digits-larg")


def test_what_does_not_fit_is_refused_with_its_reason() -> None:
    other = Space.from_dict({"lr": {"loguniform": [1e-4, 1.0]}, "width": {"randint": [1, 9]}})
    records = [
        record("a"),
        record("metric", metric="accuracy", mode="max"),
        record("space", space=other.to_dict(), configs=other.sample_many(0, 0, 40)),
        record("narrow", configs=[{"lr": 5.0, "act": "relu"}] * 40),
    ]
    found = recall(records, SPACE, "loss", "min")
    assert found.used == ("a",)
    why = dict(found.refused)
    assert why["metric"] == "it was searched for accuracy (max), this is loss (min)"
    assert why["space"] == "its space is another: it has no act; it has also width"
    assert "only 0 of its 40" in why["narrow"]
    assert "no box and no hurdle, which need 3" in found.notes[0]
    assert found.transfer.box == {}


def test_of_one_task_searched_twice_the_newer_counts() -> None:
    old, new = record("a", best=0.5, at=1.0), record("a", best=0.001, at=2.0, run="runs/b")
    found = recall([new, old], SPACE, "loss", "min")
    assert found.used == ("a",)
    assert found.transfer.portfolio[0]["config"]["lr"] == pytest.approx(0.001, rel=1.0)
    assert "1 older search of the same task is not used" in found.notes


def test_three_tasks_make_a_box_and_stale_ones_are_no_part_of_it() -> None:
    tasks = [record(t, best=b) for t, b in (("a", 0.01), ("b", 0.02), ("c", 0.015))]
    box = recall(tasks, SPACE, "loss", "min").transfer.box
    low, high = (SPACE.domains["lr"].value_at(u) for u in box["lr"])
    assert 0.001 < low < 0.01
    assert 0.02 < high < 0.1
    stale = dataclasses.replace(tasks[0], verdict="stale")
    found = recall([stale, *tasks[1:]], SPACE, "loss", "min")
    assert found.transfer.box == {}
    assert stale.weight == 0.5


def test_the_portfolio_takes_what_complements_what_it_has() -> None:
    x = np.array([[0.1], [0.5], [0.9]])
    scores = [np.array([0.0, 1.0, 2.0]), np.array([2.0, 1.0, 0.0])]
    chosen = portfolio([x, x], scores, [1.0, 1.0], np.array([False]), 2)
    assert {row for _, row in chosen} == {0, 2}


@pytest.mark.parametrize("seed", range(10))
def test_the_test_is_that_of_mann_and_whitney(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, 12).round(1), rng.normal(0.5, 1, 9).round(1)
    expected = mannwhitneyu(a, b, alternative="less", method="asymptotic", use_continuity=False).pvalue
    assert worse_probability(a.tolist(), b.tolist()) == pytest.approx(expected)
    assert worse_probability([1.0] * 3, [1.0] * 3) == 0.5


def begun(transfer: Transfer) -> TransferSampler:
    return TransferSampler(transfer, make_sampler("sobol", SPACE, 0, 9), SPACE, 0, 0)


ENTRIES = [{"config": {"lr": 0.01 * (i + 1), "act": "relu"}, "why": f"number {i}"} for i in range(4)]
BOXED = Transfer(ENTRIES, {"lr": [0.4, 0.6], "act": ["gelu"]}, 3)


def test_the_portfolio_comes_first_and_every_third_trial_is_free() -> None:
    sampler = begun(BOXED)
    for trial in range(12):
        sampler.propose(trial)
    assert [sampler.origin(t) for t in range(6)] == ["number 0", "number 1", "", "number 2", "number 3", ""]
    assert [sampler.origin(t) for t in range(6, 9)] == ["the box of past tasks"] * 2 + [""]


@pytest.mark.parametrize(
    ("gap", "share", "dropped"), [(-1.0, 1.0, False), (0.1, 0.5, False), (5.0, 0.0, True)]
)
def test_a_past_that_proves_no_better_or_worse_loses_its_share(
    gap: float, share: float, dropped: bool
) -> None:
    sampler = begun(BOXED)
    noise = np.random.default_rng(0).normal(0, 1, 64)
    seen = {True: 0, False: 0}
    for trial in range(64):
        config = sampler.propose(trial)
        assert config is not None
        is_past = bool(sampler.origin(trial))
        if seen[is_past] < TEST:
            value = float(noise[seen[is_past]])
            seen[is_past] += 1
            sampler.observe(trial, config, 1, value + (gap if is_past else 0.0))
    assert (sampler.share, sampler.is_dropped) == (share, dropped)


class Moved:
    """A sampler of a user's that stands before another one."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def propose(self, trial: int) -> Any:
        return self.sampler.propose(trial)

    def observe(self, trial: int, config: Any, iteration: int, score: float) -> None:
        self.sampler.observe(trial, config, iteration, score)


def test_a_model_learns_what_the_past_expects_behind_a_sampler_of_a_user_too() -> None:
    model: Any = make_sampler("model", SPACE, 0, 9)
    past = dataclasses.replace(BOXED, expected=[[1.0, 0.5, 0.0], [-1.0, 0.9, 0.0]])
    TransferSampler(past, make_sampler(Moved(Moved(model)), SPACE, 0, 9), SPACE, 0, 0)
    near, far = model.expect(np.array([[0.5, 0.0], [0.9, 0.0]]))
    assert (round(near), round(far)) == (1, -1)


def test_box_and_prior_stay_in_their_bounds_and_the_space() -> None:
    sampler = begun(
        dataclasses.replace(BOXED, priors={"lr": {"loguniform": [0.5, 3.0]}, "confidence": "high"})
    )
    for trial in range(4, 80):
        config = sampler.propose(trial)
        assert config is not None
        assert SPACE.allows(config)
        if sampler.origin(trial) == "the prior":
            assert config["lr"] >= 0.5
        elif sampler.origin(trial) == "the box of past tasks":
            assert 0.4 <= SPACE.encode(config)[0] <= 0.6
            assert config["act"] == "gelu"


def test_the_hurdle_holds_back_what_is_worse_than_the_portfolio() -> None:
    sampler = begun(dataclasses.replace(BOXED, hurdle=True))
    sampler.observe(0, ENTRIES[0]["config"], 1, 0.7)
    assert sampler.hurdle(1) == 0.7
    assert sampler.hurdle(3) == float("inf")
    assert begun(BOXED).hurdle(1) == float("inf")


@pytest.mark.parametrize(
    ("priors", "text"),
    [({"lrr": {"uniform": [0, 1]}}, "did you mean 'lr'"), ({"confidence": "sure"}, "'sure' is neither low")],
)
def test_wrong_priors_are_refused(priors: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        Caviar(9, 9, transfer={"portfolio": ENTRIES, "priors": priors}).start(  # type: ignore[arg-type]
            SPACE, metric="loss", mode="min"
        )


def test_importance_finds_what_matters_and_says_nothing_of_few_trials() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((200, 3))
    shares = importances(x, 3 * x[:, 0] + x[:, 1] + 0.1 * rng.normal(size=200))
    assert shares[0] > 0.7
    assert 0.02 < shares[1] < 0.2
    assert shares[2] < 0.05
    assert np.isnan(importances(x[:10], x[:10, 0])).all()


def test_the_table_says_where_a_hyper_parameter_mattered() -> None:
    records = [
        record("a", importances={"lr": 0.8, "act": 0.5}),
        record("b", importances={"lr": 0.6, "act": 0.0}),
    ]
    rows = {r["hyper-parameter"]: r for r in importance_table(records, "a")}
    assert rows["lr"]["mattered"] == "everywhere"
    assert rows["act"]["mattered"] == "only here"
    assert rows["act"]["everywhere"] == 0.25


@pytest.mark.parametrize(
    ("transfer", "text"),
    [
        ({"portfolio": 3}, "transfer.portfolio: 3 is no list of {config"),
        ({"portfolio": [3]}, r"transfer.portfolio\[0\]: 3 needs config"),
        ({"box": {"lr": 1}}, r"transfer.box.lr: 1 is no list"),
        ({"expected": [[1, "a"]]}, r"transfer.expected\[0\]: \[1, 'a'\] is no row of numbers"),
        ({"priors": []}, r"transfer.priors: \[\] is no mapping"),
    ],
)
def test_a_transfer_of_the_wrong_shape_is_refused(transfer: dict[str, Any], text: str) -> None:
    with pytest.raises(LocatedError, match=text):
        Caviar(9, 9, transfer=transfer)  # type: ignore[arg-type]


def test_a_memory_that_is_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a_file.py"
    file.write_text("")
    assert main(["memory", "list", "--memory", str(file)]) == 2
    assert f"error: memory '{file}' is a file; name a folder" in capsys.readouterr().err
    with pytest.raises(RunError, match="cannot be written"):
        Memory(file).add(record("a"))


def test_a_memory_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["list"], ["show"]):
        assert main(["memory", *words, "--memory", str(tmp_path / "nope")]) == 2
        error = capsys.readouterr().err
        assert f"error: memory '{tmp_path}/nope': there is no such folder" in error
        assert f"raysearch memory add RUN --memory {tmp_path}/nope" in error
    spec = make_spec(
        trainable="a:b",
        space=SPACE,
        metric="loss",
        mode="min",
        strategy=Caviar(9, 9),
        memory=str(tmp_path / "m"),
    )
    _, (remark,) = begin_from(spec)
    assert remark == f"memory {tmp_path}/m: there is no such folder, so nothing is known from it"


def test_a_search_begins_from_memory_and_its_report_says_what_the_past_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(TINY)
    Path("s.yaml").write_text(SPEC)
    inline = ("--executor", "inline")
    for name in ("one", "two", "three"):
        assert main(["launch", "s.yaml", "--name", name, "--set", f"seed={len(name)}", *inline]) == 0
        assert main(["memory", "add", f"runs/{name}", "--memory", "m"]) == 0
    assert main(["memory", "list", "--memory", "m", "--json"]) == 0
    out = capsys.readouterr().out
    assert len(json.loads(out[out.rindex('{\n  "records"') :])["records"]) == 3
    known = 'known_good=[{"lr": 0.2, "act": "relu"}]'
    assert main(["launch", "s.yaml", "--name", "new", "--memory", "m", "--set", known, *inline]) == 0
    reasons = load("runs/new").segments()["reason"].tolist()
    assert reasons[0] == "memory: known good, number 1"
    assert any(r.startswith("memory: the best of ") for r in reasons)
    assert main(["report", "runs/new"]) == 0
    assert "What the past did" in Path("runs/new/report.html").read_text()
    for file in Path("m").glob("*.parquet"):
        file.unlink()
    before = len(reasons)
    assert (
        main(["resume", "runs/new", "--samples", "+6", *inline]) == 0
    )  # as it began, though all is forgotten
    assert len(load("runs/new").segments()) > before
    assert (
        main(
            [
                "launch",
                "s.yaml",
                "--name",
                "p",
                "--set",
                "strategy={name: panda, max_iterations: 9}",
                "--memory",
                "m",
                *inline,
            ]
        )
        == 2
    )
    assert "does not begin from what is known" in capsys.readouterr().err


def test_the_bench_runs_and_good_pasts_are_worth_more_than_misleading_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    rng, rows = np.random.default_rng(0), []
    for task in ("a", "b", "c", "d"):
        for lr in 10 ** rng.uniform(-4, 0, 60):
            curve = 90 - 10 * abs(np.log10(lr) + 1) - 10 / np.arange(1.0, 10)
            rows.append({"task": task, "hp_lr": lr, "val_acc": curve, "time_s": np.arange(1.0, 10)})
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    assert (
        bench([str(tmp_path / "t.parquet"), "--seeds", "1", "--workers", "2", "--until", "2", "--json"]) == 0
    )
    found = {r["contender"]: r for r in json.loads(capsys.readouterr().out)["rows"]}
    assert list(found) == ["past: none", "past: good", "past: random", "past: misleading"]
    assert found["past: good"]["0.25"] < found["past: misleading"]["0.25"]
