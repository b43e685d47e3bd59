"""The command line, through its own `main`: with the inline executor, and on Ray behind a real terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import inspect
import json
import math
import os
import pty
import random
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from waiting import PATIENCE_S, Children

import raysearch
from raysearch import examples
from raysearch.cli import main
from raysearch.cli.catalogue import describe
from raysearch.cli.trial_table import filtered, quoted
from raysearch.core.segment import Mode, Outcome, Segment, Status, segment_id
from raysearch.engine.search import Search
from raysearch.engine.wind_down import ended_of, more_of
from raysearch.run.journal_status import JournalStatus
from raysearch.run.liveness import held_by
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_outcomes
from raysearch.storage.paths import RunPaths
from raysearch.strategies.samplers.factory import SAMPLERS

TRAINABLE = """
import time
from ray import tune

class Tiny(tune.Trainable):
    def setup(self, config):
        self.x, self.nap, self.t = config["x"], config.get("nap", 0), 0
        self.bad = config.get("bad", False)

    def step(self):
        self.t += 1
        time.sleep(self.nap)
        if self.bad:
            raise RuntimeError("bad")
        if self.x > 0.95:
            raise RuntimeError("x is too large")
        return {"loss": (self.x - 0.3) ** 2 + 1 / self.t}

    def save_checkpoint(self, folder):
        with open(f"{folder}/t", "w") as file:
            file.write(str(self.t))

    def load_checkpoint(self, folder):
        with open(f"{folder}/t") as file:
            self.t = int(file.read())

def paused_never(config):
    tune.report({"loss": config["x"]})
"""
SPEC = """
trainable: tiny.py:Tiny
metric: loss
mode: min
space:
  x: {uniform: [0.0, 1.0]}
  model: {width: {randint: [1, 4]}, act: {choice: [relu, gelu]}}
baseline: {x: 0.9, model: {width: 2, act: relu}}
strategy: {name: caviar, samples: 30, max_iterations: 9, finish: {top: 2, seeds: 2}}
"""


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """Its output on one line."""
        return " ".join(self.out.split())


class Shell:
    """A folder with a spec and a trainable, in which commands run."""

    def __init__(self, folder: Path, captured: Any) -> None:
        self.folder = folder
        self._captured = captured

    def __call__(self, *arguments: str) -> Ran:
        self._captured.readouterr()
        code = main(arguments)
        printed = self._captured.readouterr()
        return Ran(code, printed.out, printed.err)


def make_folder(folder: Path) -> Path:
    (folder / "tiny.py").write_text(TRAINABLE)
    (folder / "tiny.yaml").write_text(SPEC)
    return folder


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(make_folder(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    return Shell(tmp_path, capsys)


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was launched inline and is complete; only to be read."""
    folder = make_folder(tmp_path_factory.mktemp("finished"))
    with working_in(folder):
        assert main(["launch", "tiny.yaml", "--executor", "inline"]) == 0
    return folder / "runs" / "tiny"


# ---- what costs nothing


def test_help_loads_few_modules_and_nothing_heavy() -> None:
    heavy = "{'numpy', 'pandas', 'pyarrow', 'ray', 'scipy', 'torch', 'wandb'}"
    code = "import sys; from raysearch.cli import main; main(['--help']); loaded = {*sys.modules}"
    code += f"; print({heavy} & loaded, len(loaded))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Start a search from its spec" in done.stdout
    found, count = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert found == "set()"
    assert int(count) < 600  # 487 in 0.3 s on a quiet machine


def test_the_version_is_the_packages(shell: Shell) -> None:
    assert shell("--version") == Ran(0, f"raysearch {raysearch.__version__}\n", "")


def test_examples_are_listed_with_one_line_each(shell: Shell) -> None:
    listed = shell("examples", "--json").json
    assert {*listed} == {*examples.names()}
    assert listed["lightning"] == "Handwritten digits with Lightning"
    assert listed["digits"] == "Handwritten digits: which perceptron, and how to train it?"
    assert [line.split()[0] for line in shell("examples").out.splitlines()] == sorted(listed)


def test_strategies_are_listed_with_their_fields_defaults_and_docs(shell: Shell) -> None:
    fields = shell("strategies", "--json").json["caviar"]["fields"]
    assert fields["samples"]["required"] is True
    assert fields["eta"]["default"] == "3"
    assert fields["eta"]["doc"].startswith("of the trials at a rung the best 1/eta go on")
    assert all(field["doc"] for field in fields.values())
    assert "max_iterations  required" in shell("strategies").out


def test_fields_are_documented_whether_python_keeps_the_indent_of_docstrings_or_not() -> None:
    text = "A recipe.\n\n    Attributes:\n        size: in\n            bytes.\n        name: any.\n    "
    found = []
    for doc in (text, inspect.cleandoc(text)):  # up to Python 3.12, and later
        recipe = dataclasses.make_dataclass("Recipe", [("size", int), ("name", str, "a")])
        recipe.__doc__ = doc
        found.append({name: field["doc"] for name, field in describe(recipe)["fields"].items()})
    assert found == [{"size": "in bytes.", "name": "any."}] * 2


def test_bench_names_what_there_is(shell: Shell) -> None:
    assert "throughput" in shell("bench").out
    wrong = shell("bench", "troughput")
    assert wrong.code == 2
    assert "did you mean 'throughput'?" in wrong.err


def test_bench_passes_the_rest_on(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("raysearch.bench.tables")
    seen: list[list[str]] = []
    module.main = lambda argv: seen.append(argv) or 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raysearch.bench.tables", module)
    assert shell("bench", "tables", "curves.parquet", "--json", "--help").code == 3
    assert seen == [["curves.parquet", "--json", "--help"]]


# ---- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("launch", "digit"), "unknown example 'digit'; did you mean 'digits'?"),
        (("launch", "there.yaml"), "there.yaml: there is no such file"),
        (
            ("launch", "tiny.yaml", "--set", "strategy.sample=3"),
            "unknown field 'sample'; did you mean 'samples'?",
        ),
        (("launch", "tiny.yaml", "--local", "--address", "auto"), "give one of them"),
        (("launch", "tiny.yaml", "--executor", "inline", "--local"), "inline uses no cluster"),
        (("status", "runs/none"), "no run at 'runs/none'"),
        (("best", "runs/none"), "no run at 'runs/none'"),
        (("resume", "runs/none"), "no run at 'runs/none'"),
    ],
)
def test_a_mistake_is_one_message_on_stderr_and_exit_code_2(
    shell: Shell, arguments: Sequence[str], message: str
) -> None:
    ran = shell(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def test_a_trainable_that_cannot_be_imported_is_the_users_error(shell: Shell) -> None:
    (shell.folder / "tiny.py").write_text("import no_such_module\n")
    ran = shell("launch", "tiny.yaml", "--executor", "inline")
    assert ran.code == 2
    assert "ModuleNotFoundError: No module named 'no_such_module'" in ran.err
    assert not (shell.folder / "runs").exists()


def test_an_unknown_option_is_a_usage_error(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--sampels", "3")
    assert ran.code == 2
    assert "--samples" in ran.err


def test_what_is_our_own_mistake_keeps_its_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from raysearch.cli import results as reading

    def broken(run: str) -> None:
        raise ZeroDivisionError(run)

    monkeypatch.setattr(reading, "opened", broken)
    with pytest.raises(ZeroDivisionError, match="runs/x"):
        shell("best", "runs/x")


def test_a_name_that_exists_is_refused_with_what_to_do(shell: Shell, finished: Path) -> None:
    ran = shell("launch", "tiny.yaml", "--storage", str(finished.parent), "--executor", "inline")
    assert ran.code == 2
    assert f"Go on with it (raysearch resume {finished})" in ran.err


# ---- the dry run


def test_a_dry_run_says_rungs_cost_and_variant_and_starts_nothing(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--dry-run", "--samples", "90", "--workers", "3", "--json",
                "--seconds-per-iteration", "60")  # fmt: skip
    found = ran.json
    assert [(r["iteration"], r["trials"], r["iterations"]) for r in found["rungs"]] == [
        (1, 90, 90),
        (3, 30, 60),
        (9, 10, 60),
    ]
    assert found["finish"] == {"trainings": 6, "iterations": 54}
    assert found["iterations"] == 264
    assert found["full_trainings"] == pytest.approx(264 / 9)
    assert found["worker_hours"] == pytest.approx(4.4)
    assert found["hours"] == pytest.approx(4.4 / 3)
    assert found["variant"] == "promotion"
    assert found["variant_why"].startswith("Tiny writes checkpoints")
    assert not (shell.folder / "runs").exists()


def test_a_dry_run_for_people(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--dry-run", "--seconds-per-iteration", "60", "--name", "other")
    assert "about 13.6 full trainings of 9 iterations, 45.2% of training all 30 samples" in ran.words
    assert "about 2h 02m of one worker" in ran.words
    assert "promotion: Tiny writes checkpoints" in ran.words
    assert "runs/other" in ran.words
    assert max(map(len, ran.out.splitlines())) <= 80


def test_a_dry_run_chooses_stopping_where_there_are_no_checkpoints(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--dry-run", "--json", "--set", "trainable=tiny.py:paused_never")
    assert ran.json["variant"] == "stopping"
    assert "shows no checkpoints" in ran.json["variant_why"]
    fixed = shell("launch", "tiny.yaml", "--dry-run", "--json", "--set", "strategy.variant=stopping").json
    assert (fixed["variant"], fixed["variant_why"]) == ("stopping", "so set in the spec")


def test_a_dry_run_says_when_no_trial_would_get_to_the_end(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--dry-run", "--samples", "5")
    assert "none is sure to reach iteration 9" in ran.words


# ---- launch and resume


def test_a_launch_ends_with_the_winner_the_verdict_and_the_next_commands(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--executor", "inline", "--name", "first", "--samples", "12")
    assert ran.code == 0
    assert "12 of 12 ·" in ran.out
    assert re.search(r"^best loss 0\.\d+ at iteration 9, trial \d+$", ran.out, flags=re.MULTILINE)
    assert "Seeds change nothing" in ran.out
    assert "run   runs/first (complete)\nnext  raysearch best runs/first\n" in ran.out
    assert "raysearch resume runs/first --samples +12 --executor inline\n" in ran.out
    assert "\x1b" not in ran.out


def test_a_launch_for_scripts_has_only_json_on_stdout(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--json", "--executor", "inline", "--samples", "6",
                "--set", "strategy.finish=off")  # fmt: skip
    assert ran.code == 0
    assert ran.json["ending"] == "complete"
    assert ran.json["run"] == "runs/tiny"
    assert 0 < ran.json["best"]["value"] < 1.5
    assert {*ran.json["best"]["config"]} == {"x", "model"}
    assert "6 of 6" in ran.err


def test_a_search_whose_trials_all_fail_exits_with_2_and_the_first_error(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--executor", "inline", "--set", "space.x={uniform: [0.96, 1.0]}",
                "--set", "baseline=null")  # fmt: skip
    assert ran.code == 2
    assert "RuntimeError: x is too large" in ran.err
    assert "10 failed" in ran.out


def test_a_complete_run_is_said_to_be_complete_and_made_larger_on_demand(shell: Shell) -> None:
    assert shell("launch", "tiny.yaml", "--executor", "inline", "--samples", "9").code == 0
    before = [*read_outcomes(RunPaths("runs/tiny").journal)]
    again = shell("resume", "runs/tiny", "--executor", "inline")
    assert again.code == 0
    assert again.out.startswith("The run is complete: there is nothing left to do.")
    assert shell("resume", "runs/tiny", "--json").json["ending"] == "complete"
    assert [*read_outcomes(RunPaths("runs/tiny").journal)] == before
    larger = shell("resume", "runs/tiny", "--executor", "inline", "--samples", "+6")
    assert larger.code == 0
    assert "15 of 15" in larger.out
    outcomes = [*read_outcomes(RunPaths("runs/tiny").journal)]
    assert len({o.segment.trial for o in outcomes if o.segment.role == "search"}) == 15
    smaller = shell("resume", "runs/tiny", "--samples", "3")
    assert smaller.code == 2
    assert "3 is fewer than the 15 that the run has" in smaller.err


def test_resume_with_another_space_says_first_what_does_not_fit(shell: Shell) -> None:
    assert shell("launch", "tiny.yaml", "--executor", "inline").code == 0
    (shell.folder / "space.yaml").write_text(SPEC.replace("[0.0, 1.0]", "[0.25, 1.0]"))
    ran = shell("resume", "runs/tiny", "--space", "space.yaml", "--executor", "inline")
    assert ran.code == 0
    outside = {
        o.segment.trial for o in read_outcomes(RunPaths("runs/tiny").journal) if o.segment.config["x"] < 0.25
    }
    assert f"{len(outside)} old trials do not fit the new space and will not count:" in ran.err
    assert re.search(r"trial \d+: x = 0\.\d+ is outside \[0\.25, 1\.0\]", ran.err)
    bare = shell.folder / "bare.yaml"
    bare.write_text("x: {uniform: [0.5, 0.1]}\n")
    wrong = shell("resume", "runs/tiny", "--space", str(bare), "--executor", "inline")
    assert wrong.code == 2
    assert wrong.err.startswith("error: bare.yaml [space.x]: low = 0.5 is above high = 0.1")


def test_a_runs_name_cannot_be_changed_by_resume(shell: Shell, finished: Path) -> None:
    ran = shell("resume", str(finished), "--set", "name=other")
    assert ran.code == 2
    assert "are its folder" in ran.err


# ---- looking at a run


def test_best_shows_the_winner_and_what_the_verdict_rests_on(shell: Shell, finished: Path) -> None:
    results = raysearch.load(finished)
    ran = shell("best", str(finished))
    assert f"trial {results.best.trial}\n" in ran.out
    assert re.search(r"the baseline +0\.47111 +0\.47111 to 0\.47111 +2 +0", ran.out)
    assert "It is better than the baseline by" in ran.words
    assert f"raysearch export {finished} --config" in ran.words
    values = shell("best", str(finished), "--json").json
    assert values["best"]["config"] == results.best.config
    assert values["best"]["value"] == results.best.value
    assert values["verdict"]["seeds_matter"] is False
    assert [c["role"] for c in values["verdict"]["contenders"]] == ["finalist", "finalist", "baseline"]


def test_best_of_a_run_without_one_says_why(shell: Shell) -> None:
    shell("launch", "tiny.yaml", "--executor", "inline", "--set", "space.x={uniform: [0.96, 1.0]}",
          "--set", "baseline=null")  # fmt: skip
    ran = shell("best", "runs/tiny")
    assert ran.code == 2
    assert "no trial ended well: 10 of 10 failed" in ran.err
    assert shell("best", "runs/tiny", "--json").json["best"] is None


def test_a_configuration_is_exported_exactly_as_yaml_or_json(shell: Shell, finished: Path) -> None:
    config = raysearch.load(finished).best.config
    assert yaml.safe_load(shell("export", str(finished)).out) == config
    assert shell("export", str(finished), "-o", "best.json").code == 0
    assert json.loads(Path("best.json").read_text()) == config
    assert shell("export", str(finished), "--config", "-o", "best.yaml").code == 0
    assert yaml.safe_load(Path("best.yaml").read_text()) == config
    assert yaml.safe_load(shell("export", str(finished), "--trial", "0").out) == {
        "x": 0.9,
        "model": {"width": 2, "act": "relu"},
    }


def test_a_checkpoint_is_copied_and_nothing_is_overwritten(shell: Shell, finished: Path) -> None:
    ran = shell("export", str(finished), "--checkpoint", "model")
    assert ran.code == 0
    assert Path("model/t").read_text() == "9"
    again = shell("export", str(finished), "--checkpoint", "model")
    assert again.code == 2
    assert "exists already" in again.err
    dropped = shell("export", str(finished), "--checkpoint", "other", "--trial", "0")
    assert dropped.code == 2
    assert "no checkpoint of trial 0 is kept" in dropped.err
    missing = shell("export", str(finished), "--trial", "999")
    assert "there is no trial 999" in missing.err


def test_trials_are_filtered_by_columns_with_dots_and_sorted(shell: Shell, finished: Path) -> None:
    frame = raysearch.load(finished).trials()
    ran = shell("trials", str(finished), "--json", "--where", "value < 1 and config.x > 0.2")
    fit = frame[(frame["value"] < 1) & (frame["config.x"] > 0.2)].sort_values("value", kind="stable")
    assert [row["trial"] for row in ran.json] == fit["trial"].tolist()
    assert len(fit) > 0
    highest = shell("trials", str(finished), "--json", "--sort", "-config.x", "--limit", "3").json
    assert [row["config.x"] for row in highest] == sorted(frame["config.x"], reverse=True)[:3]
    grouped = shell("trials", str(finished), "--json", "--where", "config.model/act == 'relu'").json
    assert {row["config.model/act"] for row in grouped} == {"relu"}


def test_the_table_of_trials_is_the_best_twenty_and_says_what_it_leaves_out(
    shell: Shell, finished: Path
) -> None:
    lines = shell("trials", str(finished)).out.splitlines()
    best = raysearch.load(finished).trials().sort_values("value", kind="stable").iloc[0]
    assert lines[1].split()[:4] == [
        str(best["trial"]), "completed", f"{best['value']:.5f}", str(best["iterations"]),
    ]  # fmt: skip
    assert lines[21] == "20 of 30 trials; --limit shows more"
    assert [line for line in lines[22:] if not line.startswith("not shown: config.")] == []
    assert max(map(len, lines)) <= 80


def test_trials_are_written_as_csv_and_parquet(shell: Shell, finished: Path) -> None:
    assert shell("trials", str(finished), "--csv", "t.csv", "--parquet", "t.parquet").code == 0
    csv, parquet = pd.read_csv("t.csv"), pd.read_parquet("t.parquet")
    assert len(csv) == len(parquet) == 30
    assert csv["config.x"].tolist() == pytest.approx(parquet["config.x"].tolist())
    assert shell("trials", str(finished), "--csv", "-", "--limit", "1").out.startswith("trial,status,value")
    assert "cannot be written" in shell("trials", str(finished), "--csv", "no/such/folder/t.csv").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--where", "valu < 1"), "Columns: trial, status, value"),
        (("--where", "value <"), "--where 'value <'"),
        (("--where", "value"), "--where 'value'"),
        (("--sort", "config.y"), "unknown column 'config.y'; did you mean 'config.x'?"),
    ],
)
def test_a_filter_that_cannot_be_read_names_the_columns(
    shell: Shell, finished: Path, arguments: Sequence[str], message: str
) -> None:
    ran = shell("trials", str(finished), *arguments)
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("config.lr > 1", "config.lr > 1"),
        ("`config.lr` > 1", "config['config.lr'] > 1"),
        ("`value` > config.lr_max", "config['value'] > config.lr_max"),
        ("reason == 'config.model/width' and value < 1", "reason == 'config.model/width' and value < 1"),
        ("config.model/width==2", "config['config.model/width']==2"),
        ("config.lambda > config.batch-size", "config['config.lambda'] > config['config.batch-size']"),
    ],
)
def test_columns_that_are_no_python_names_are_put_into_quotes_outside_of_text(where: str, asked: str) -> None:
    columns = [
        "value",
        "config.lr",
        "config.lr_max",
        "config.model/width",
        "config.lambda",
        "config.batch-size",
    ]
    assert quoted(where, columns) == asked


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("value < 0.5", [0]),
        ("lr > 0.01 or status == 'failed'", [1, 2]),
        ("config.act in ['relu', None]", [0]),
        ("not config.lr < 0.5", [2]),
        ("1 / (value - 0.25) > 0", [1]),
        ("config.model/width % 8 == 0 and `config.model/width` > 8", [1]),
        ("fits", [0, 2]),
        ("value != value", [2]),
    ],
)
def test_a_filter_is_an_expression_and_what_a_row_lacks_is_nan(where: str, kept: list[int]) -> None:
    frame = pd.DataFrame(
        {
            "status": ["completed", "completed", "failed"],
            "value": [0.25, 0.75, None],
            "config.lr": pd.array([0.01, 0.1, None], dtype="Float64"),
            "config.act": ["relu", None, "gelu"],
            "config.model/width": [8, 16, 12],
            "fits": [True, False, True],
        }
    )
    assert filtered(frame, where).index.tolist() == kept


@pytest.mark.parametrize(
    "where",
    [
        "@sys.modules",
        "value.map(print)",
        "config.lr.to_csv('x')",
        "__import__('os').system('touch x')",
        "value.__class__",
        "(lambda: 1)()",
        "9**9**9 > value",
        "'a' * 10**10 == 'b'",
        "'%999999999d' % trial == 'b'",
    ],
)
def test_a_filter_runs_no_code(shell: Shell, finished: Path, where: str) -> None:
    ran = shell("trials", str(finished), "--where", where)
    assert ran.code == 2
    assert ran.err.startswith("error: --where")
    assert "Columns: trial, status, value" in ran.err
    assert not Path("x").exists()


PANDA = "strategy={name: panda, max_iterations: 20"


@pytest.mark.parametrize(
    ("settings", "place", "text"),
    [
        ([PANDA + ", nudge: [xx]}"], "strategy.nudge", "unknown hyper-parameter 'xx'; did you mean 'x'?"),
        ([PANDA + ", nudge: 5}"], "strategy.nudge", "5 is no list of hyper-parameters, such as [lr]"),
        (["strategy={name: replay, steps: 3}"], "strategy.steps", "3 is no list; write what"),
        (["strategy={name: replay, steps: [3]}"], "strategy.steps[0]", "3 needs start, stop and config"),
        (["strategy.transfer={portfolio: 3}"], "strategy.transfer.portfolio", "3 is no list of {config"),
        (
            ["strategy.sampler=[x]"],
            "strategy.sampler",
            f"['x'] is neither {', '.join(SAMPLERS)} nor an object",
        ),
        (["priors={xx: {uniform: [0, 1]}}"], "priors.xx", "unknown hyper-parameter 'xx'; did you mean 'x'?"),
        (
            ["priors={x: {uniform: [0, 1]}, confidence: lo}"],
            "priors.confidence",
            "'lo' is neither low, medium",
        ),
        (
            ["space.x={uniform: [0.1, 1]}", "priors={x: {loguniform: [1e-9, 1e-8]}}"],
            "priors.x",
            "loguniform [1e-9, 1e-8] gives next to no",
        ),
        (["priors={x: {choice: [a]}}"], "priors.x", "'a' is not a number; x is uniform [0.0, 1.0]"),
        (["priors={x: 5x}"], "priors.x", "'5x' is not a number; x is uniform [0.0, 1.0]"),
        (
            ["priors={model.act: {choice: [gelu, tanh]}}"],
            "priors.model.act",
            "'tanh' is not one of 'relu', 'g",
        ),
        (["sinks=[tensorbord]"], "sinks", "unknown sink 'tensorbord'; did you mean 'tensorboard'?"),
        (["sinks=['tiny:nope']"], "sinks", "sink 'tiny:nope' cannot be loaded"),
        (["fingerprint={files: [nofile.csv]}"], "fingerprint.files", "nofile.csv: No such file or directory"),
        (["storage=tiny.py/runs"], "storage", "'tiny.py/runs' cannot be written: "),
    ],
)
def test_a_dry_run_refuses_what_a_launch_refuses_with_its_place_and_before_anything_is_shown(
    shell: Shell, settings: list[str], place: str, text: str
) -> None:
    given = ["tiny.yaml", *(word for one in settings for word in ("--set", one))]
    for options in (["--dry-run"], ["--executor", "inline"]):
        ran = shell("launch", *given, *options)
        assert (ran.code, ran.out) == (2, "")
        assert f"error: tiny.yaml [{place}]: {text}" in ran.err
    assert not Path("runs").exists()


def test_a_used_up_budget_of_trials_is_told_with_what_gives_more(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--executor", "inline", "--set", "budget.trials=4")
    assert "the budget of 4 trials is used up" in ran.words
    more = "raysearch resume runs/tiny --set budget.trials=N"
    assert f"go on {more} --executor inline" in ran.words
    assert f"go on: {more}" in shell("status", "runs/tiny").words
    again = shell("resume", "runs/tiny", "--executor", "inline")
    assert again.code == 2
    assert "runs/tiny: the budget of 4 trials is used up (begun: 4); give it more with: " + more in again.err
    larger = shell("resume", "runs/tiny", "--executor", "inline", "--set", "budget.trials=6")
    assert "the budget of 6 trials is used up" in larger.words


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("the budget of 0.5 hours is used up", ("--hours", "+N")),
        (
            "the budget of 3 GPU-hours is used up; what 1 worker had in training was cut",
            ("--gpu-hours", "+N"),
        ),
        ("the budget of 3 CPU-hours is used up", ("--cpu-hours", "+N")),
        ("the budget of 250 in money is used up", ("--money", "+N")),
        ("paused", ()),
    ],
)
def test_each_budget_has_its_option(ending: str, options: tuple[str, ...]) -> None:
    assert more_of(ended_of({"ending": ending})) == options


def test_a_search_in_which_every_trial_failed_is_no_success_and_goes_on_when_mended(shell: Shell) -> None:
    ran = shell("launch", "tiny.yaml", "--executor", "inline", "--samples", "3", "--set", "config.bad=true")
    assert ran.code == 2
    assert "no trial ended well: 3 of 3 failed. The first error: RuntimeError: bad" in ran.words
    advice = "mend the trainable, then try new trials: raysearch resume runs/tiny --samples +3"
    assert f"next {advice} --executor inline" in ran.words
    assert "raysearch best" not in ran.out
    again = shell("resume", "runs/tiny", "--executor", "inline")
    assert (again.code, advice in again.words) == (2, True)
    assert shell("resume", "runs/tiny", "--executor", "inline", "--json").code == 2
    mended = shell(
        "resume", "runs/tiny", "--executor", "inline", "--samples", "+3", "--set", "config.bad=false"
    )
    assert (mended.code, "next raysearch best runs/tiny" in mended.words) == (0, True)


@contextlib.contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """No file can be made longer than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("report", "{run}", "-o", "out.html"), "out.html"),
        (("trials", "{run}", "--csv", "out.csv"), "out.csv"),
        (("trials", "{run}", "--parquet", "out.parquet"), "out.parquet"),
        (("export", "{run}", "--config", "-o", "out.yaml"), "out.yaml"),
        (("compare", "{run}", "{run}", "-o", "out.html"), "out.html"),
    ],
)
def test_a_file_that_cannot_be_written_in_full_leaves_the_one_before(
    shell: Shell, finished: Path, arguments: tuple[str, ...], name: str
) -> None:
    words = [word.replace("{run}", str(finished)) for word in arguments]
    assert shell(*words).code == 0
    Path(name).write_text("the good one")
    there = sorted(os.listdir())
    with disk_full_after(16):
        failed = shell(*words)
    assert failed.code == 2
    assert re.search(rf"{name}: cannot be written: .*File too large", failed.err)
    assert (Path(name).read_text(), sorted(os.listdir())) == ("the good one", there)


def test_a_checkpoint_that_cannot_be_copied_leaves_nothing(shell: Shell, finished: Path) -> None:
    there = sorted(os.listdir())
    with disk_full_after(0):
        failed = shell("export", str(finished), "--checkpoint", "model")
    assert (failed.code, sorted(os.listdir())) == (2, there)
    assert "--checkpoint model: cannot be copied from" in failed.err


def test_the_status_of_a_run_that_ended(shell: Shell, finished: Path) -> None:
    ran = shell("status", str(finished))
    assert "30 of 30" in ran.out
    assert f"complete; raysearch best {finished}" in ran.words
    values = shell("status", str(finished), "--json").json
    assert (values["held_by"], values["ending"], values["trials"]) == (None, "complete", 30)
    assert values["best"]["value"] == raysearch.load(finished).best.value
    watched = shell("status", str(finished), "--watch")
    assert watched.code == 0
    assert "30 of 30" in watched.out


def test_the_status_names_the_process_that_holds_a_run(shell: Shell) -> None:
    assert shell("launch", "tiny.yaml", "--executor", "inline", "--samples", "3").code == 0
    journal = RunPaths("runs/tiny").journal
    with Journal.open(journal):
        assert f"process {os.getpid()} on" in shell("status", "runs/tiny", "--json").json["held_by"]
        assert f"held by process {os.getpid()} on" in shell("status", "runs/tiny").words
    assert held_by(journal) is None


def random_outcomes(count: int, seed: int) -> list[Outcome]:
    """Segments of every role and status, in a random order."""
    rng = random.Random(seed)
    found = []
    for trial in range(count):
        role, number = ("search", trial) if trial % 10 else ("finalist", (1 << 40) + trial)
        for ordinal, (start, stop) in enumerate([(0, 1), (1, 3), (3, 9)][: rng.randint(1, 3)]):
            here = segment_id(number, ordinal)
            parent = segment_id(number, ordinal - 1) if ordinal else None
            config = {"x": rng.random(), "model": {"act": rng.choice(["relu", "gelu"])}}
            why = f"because of {rng.random()}"
            segment = Segment(here, number, parent, config, start, stop, 1, why, role, trial)
            status = rng.choices([*Status], [8, 1, 1, 1])[0]
            values = [
                rng.choice([rng.random(), -rng.random(), math.nan, math.inf]) for _ in range(start, stop)
            ]
            curve = {} if rng.random() < 0.1 else {"other": values[::-1], "loss": values}
            error = rng.choice(["", "", "odd", "odder"])
            found.append(
                Outcome(segment, status, curve, None, rng.random(), "w", error, finished_at=float(trial))
            )
    rng.shuffle(found)
    return found


@pytest.mark.parametrize("mode", ["min", "max"])
def test_what_the_status_reads_off_the_journal_is_what_the_search_itself_says(
    tmp_path: Path, mode: Mode
) -> None:
    outcomes = random_outcomes(200, seed=7)
    search = Search(AskNothing(), metric="loss", mode=mode)
    standing = JournalStatus(tmp_path / "journal", "loss", mode)
    with Journal.create(tmp_path / "journal") as journal:
        standing.read()
        assert standing.snapshot()["best"] is None
        for first in range(0, len(outcomes), 60):
            journal.append_event("start", {}, 0.0)
            journal.append(outcomes[first : first + 60])
            search.replay(outcomes[first : first + 60])
            standing.read()
            if first == 120:
                journal.compact()
            ours, theirs = standing.snapshot(), search.status(0.0)
            for key in ("trials", "finals", "segments", "rungs", "best", "recent", "warnings"):
                assert ours[key] == theirs[key], key
            assert ours["busy_s"] == pytest.approx(theirs["busy_s"])
            assert {*ours} == {*theirs} - {"memory_mb", "work"}


class AskNothing:
    """In a strategy's place where nothing is decided."""

    finished = False

    def ask(self, free: int) -> list[Segment]:
        return []

    def tell(self, outcome: Outcome) -> None:
        """Needs to know nothing."""

    def kept(self) -> frozenset[int]:
        return frozenset()


def test_a_run_in_which_nothing_ended_yet_can_be_looked_at(shell: Shell, finished: Path) -> None:
    run = shell.folder / "empty"
    run.mkdir()
    shutil.copy(finished / "spec.yaml", run / "spec.yaml")
    Journal.create(RunPaths(run).journal).close()
    assert "0 of 30" in shell("status", str(run)).out
    assert shell("trials", str(run)).code == 0
    assert shell("trials", str(run), "--json").json == []
    assert "no trial has ended yet" in shell("best", str(run)).err
    assert "no trial has ended yet" in shell("export", str(run)).err


# ---- interrupted


def test_ctrl_c_in_this_process_prints_the_command_to_go_on(shell: Shell, start_process: Children) -> None:
    child = start_process(
        sys.executable, "-m", "raysearch.cli", "launch", "tiny.yaml", "--executor", "inline",
        "--set", "config.nap=0.2",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored under nohup
    )  # fmt: skip
    child.wait_for(lambda: re.search(r"^\[\d+s\] [1-9].*\n", child.said, flags=re.MULTILINE))
    child.process.send_signal(signal.SIGINT)
    rest = child.end(130)
    assert "Interrupted. Nothing acknowledged is lost: it is in runs/tiny (" in rest
    assert rest.endswith("go on  raysearch resume runs/tiny --executor inline\n")
    assert "Traceback" not in rest
    done = len([*read_outcomes(RunPaths("runs/tiny").journal)])
    assert done >= 1
    ran = shell("resume", "runs/tiny", "--executor", "inline", "--set", "config.nap=0")
    assert ran.code == 0
    assert "30 of 30" in ran.out


class Terminal:
    """A command behind a terminal of 80 columns and 24 rows."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "raysearch.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.printed = ""

    def until(self, pattern: str) -> None:
        """Reads until the pattern has been printed, codes left out."""
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"{pattern!r} never came:\n{self.text[-3000:]}"
            assert self._read(), f"it ended without {pattern!r}:\n{self.text[-3000:]}"

    def press_ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def end(self) -> int:
        """Reads to the end; returns the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, f"it never ended:\n{self.text[-3000:]}"
        return self._child.wait(PATIENCE_S)

    def close(self) -> None:
        """Kills what is left, of a test that failed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.printed).replace("\r\n", "\n")

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 1.0)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.printed += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Runs a command behind one, which ends with the test."""
    started: list[Terminal] = []

    def begin(*arguments: str) -> Terminal:
        started.append(Terminal(*arguments))
        return started[-1]

    yield begin
    for each in started:
        each.close()


@pytest.mark.slow
@pytest.mark.own_cluster
def test_on_ray_the_panel_is_drawn_and_ctrl_c_ends_cleanly_at_first_and_at_once_at_last(
    shell: Shell, terminal: Callable[..., Terminal], ray_cluster: None
) -> None:
    import ray

    first = terminal("launch", "tiny.yaml", "--local", "--workers", "2", "--set", "config.nap=1")
    first.until(r"│ trials   [1-9]\d* of 30 .*│")
    first.until(r"│ +1 +\d+ +0 +\d+ +[\d.]+ +│")
    first.until(r"│ workers  \d of 2 training")
    assert "\x1b[" in first.printed
    held = shell("status", "runs/tiny", "--json").json["held_by"]
    assert re.match(r"process \d+ on ", held)
    first.press_ctrl_c()
    assert first.end() == 130
    assert "run    runs/tiny (stopped by Ctrl-C)\n" in first.text
    assert first.text.endswith("go on  raysearch resume runs/tiny --local\n")
    assert "Traceback" not in first.text
    assert shell("status", "runs/tiny", "--json").json["held_by"] is None
    done = {o.segment.id for o in read_outcomes(RunPaths("runs/tiny").journal)}
    assert done

    there = ("--address", ray.get_runtime_context().gcs_address)  # quicker than two more clusters
    second = terminal("resume", "runs/tiny", *there, "--set", "config.nap=90")
    second.until(r"│ workers  2 of 2 training")
    second.press_ctrl_c()
    second.until("Ctrl-C again ends at once|Ctrl-C again ends")
    second.press_ctrl_c()
    assert second.end() == 130
    assert "Interrupted. Nothing acknowledged is lost: it is in runs/tiny" in second.text
    assert second.text.endswith(f"go on  raysearch resume runs/tiny {' '.join(there)}\n")
    assert {o.segment.id for o in read_outcomes(RunPaths("runs/tiny").journal)} >= done

    last = subprocess.run(
        [sys.executable, "-m", "raysearch.cli", "resume", "runs/tiny", *there, "--set", "config.nap=0"],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (last.returncode, last.stderr) == (0, "")
    assert "\x1b" not in last.stdout
    assert "30 of 30 ·" in last.stdout
    assert "run   runs/tiny (complete)" in last.stdout
    ids = [o.segment.id for o in read_outcomes(RunPaths("runs/tiny").journal) if o.status.value != "lost"]
    assert len(ids) == len({*ids})
    assert done <= {*ids}
