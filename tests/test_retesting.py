"""`raysearch retest` and `due` as a user runs them: verdicts, exit codes, dates, what a run rests on."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from raysearch.cli import main
from raysearch.errors import SpecError
from raysearch.results import load
from raysearch.results.plots.history import history as history_figure
from raysearch.run.fingerprint import changes, of_files
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_outcomes
from raysearch.storage.paths import RunPaths
from raysearch.workflows.retest.calendar import next_interval, plus_months
from raysearch.workflows.retest.due import due_of
from raysearch.workflows.retest.history import history_frame
from raysearch.workflows.retest.records import history, last_fingerprint, unfinished
from raysearch.workflows.retest.retest import retest_spec

TRAINABLE = """
import math, os, random
from ray import tune

class Tiny(tune.Trainable):
    def setup(self, config):
        self.c, self.t = config, 0
        self.luck = random.Random(f"{config['seed']} {config['lr']}").gauss(0, 1)

    def step(self):
        self.t += 1
        best = float(open("best.txt").read())
        return {"loss": abs(math.log10(self.c["lr"] / best)) + 1 / self.t + 0.02 * self.luck}

    def save_checkpoint(self, folder):
        open(f"{folder}/t", "w").write(str(self.t))

    def load_checkpoint(self, folder):
        self.t = int(open(f"{folder}/t").read())
"""
SPEC = """
trainable: tiny.py:Tiny
metric: loss
mode: min
space: {lr: {loguniform: [1.0e-4, 1.0]}, act: {choice: [relu, gelu]}}
baseline: {lr: 0.1, act: relu}
strategy: {name: caviar, samples: 40, max_iterations: 9, sampler: sobol, finish: {top: 1, seeds: 3}}
seed_as: seed
fingerprint: {files: [data.csv], owner: team-a}
"""
INLINE = ("--executor", "inline")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished search whose best learning rate is near 0.01."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(TRAINABLE)
    (tmp_path / "s.yaml").write_text(SPEC)
    (tmp_path / "best.txt").write_text("0.01")
    (tmp_path / "data.csv").write_text("a\n" * 100)
    assert main(["launch", "s.yaml", "--name", "first", *INLINE]) == 0
    return tmp_path / "runs" / "first"


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_run_notes_what_it_rests_on(run: Path) -> None:
    found = last_fingerprint(run)
    assert found["rows"] == 100
    assert found["own"] == {"owner": "team-a"}
    assert {"torch", "ray", "raysearch"} <= found["libraries"].keys()
    assert found["code"]
    assert found["data"]


def test_from_fresh_to_stale_over_the_months(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    code = main(["retest", "runs/first", *INLINE, "--json"])
    first = said(capsys)
    assert (code, first["word"], first["interval"]) == (0, "fresh", 6)
    assert first["config"] == load(run).best.config
    (run.parent.parent / "best.txt").write_text("0.3")
    code = main(["retest", "runs/first", *INLINE, "--json", "--challengers", "5"])
    second = said(capsys)
    assert (code, second["word"], second["interval"]) == (3, "stale", 3)
    assert second["drift"] is True
    assert second["config"] != first["config"]
    assert [v.word for v in history(run)] == ["fresh", "stale"]
    frame = history_frame(run)
    assert frame["verdict"].tolist() == ["fresh", "stale"]
    assert frame["mean"][1] > frame["mean"][0] + 1
    picture = history_figure(frame, "loss")
    assert [(marks.name, len(marks.x)) for marks in picture.data] == [("fresh", 1), ("stale", 1)]
    assert main(["report", "runs/first"]) == 0
    assert "These settings over the months" in (run / "report.html").read_text()
    third = retest_spec(load(run), day=dt.date(2027, 1, 1))
    assert third.baseline == second["config"]
    assert third.name == "first-retest-20270101"


def test_due_says_why_and_its_exit_code_tells_cron(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["due", "runs", "--json"]) == 0
    assert said(capsys)[0]["reasons"] == []
    (run.parent.parent / "data.csv").write_text("a\n" * 250)
    assert main(["due", "runs", "--json"]) == 3
    assert said(capsys)[0]["reasons"] == [
        "rows of data: 100 then, 250 now",
        "the data files have changed",
    ]
    assert main(["retest", "runs/first", "--if-due", "--dry-run", *INLINE]) == 0
    assert "the settings in use against 4 others" in capsys.readouterr().out
    assert main(["due", "nowhere"]) == 2


def test_a_damaged_run_is_named_and_the_others_are_listed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, run.parent / "torn")
    for part in (run.parent / "torn" / "journal").glob("*.parquet"):
        part.write_bytes(b"PAR1 not any more")
    (run.parent / "no-text").mkdir()
    (run.parent / "no-text" / "journal").mkdir()
    (run.parent / "no-text" / "spec.yaml").write_bytes(b"\xff\xfe")
    capsys.readouterr()
    assert main(["due", "runs", "--json"]) == 2
    printed = capsys.readouterr()
    assert [one["run"] for one in json.loads(printed.out)] == ["runs/first"]
    assert "warning: runs/torn cannot be read (" in printed.err
    assert "); restore it, or move it out of runs" in printed.err
    (run.parent.parent / "data.csv").write_text("a\n" * 250)
    assert main(["due", "runs"]) == 3
    assert "runs/first" in capsys.readouterr().out


def test_nothing_is_done_before_it_is_due(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retest", "runs/first", "--if-due", *INLINE]) == 0
    assert "not due before" in capsys.readouterr().out
    assert history(run) == []


def test_an_interrupted_retest_goes_on_and_gives_the_same_verdict(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["retest", "runs/first", *INLINE])
    whole = history(run)[0]
    outcomes = [*read_outcomes(RunPaths(whole.run).journal)]
    text = RunPaths(whole.run).spec.read_text()
    for file in RunPaths(whole.run).journal.iterdir():
        file.unlink()
    RunPaths(whole.run).journal.rmdir()
    with Journal.create(RunPaths(whole.run).journal) as journal:  # as it was in the middle
        journal.append(outcomes[:4])
    assert unfinished(run) == whole.run
    assert RunPaths(whole.run).spec.read_text() == text
    capsys.readouterr()
    assert main(["retest", "runs/first", *INLINE]) == 0
    assert "which has no verdict yet" in capsys.readouterr().out
    again = history(run)[0]
    assert (again.word, again.config, again.runs) == (whole.word, whole.config, whole.runs)
    ids = [o.segment.id for o in read_outcomes(RunPaths(whole.run).journal)]
    assert len(ids) == len(set(ids)) == len(outcomes)


def test_a_clock_that_was_set_back_is_noticed(run: Path) -> None:
    standing = due_of(run, now=1_000_000.0)
    assert standing is not None
    assert standing.reasons == ()
    assert "the clock says 1970-01-12" in standing.notes[0]
    later = due_of(run, now=4e9)
    assert later is not None
    assert later.reasons[0].startswith("since 20")


def test_settings_that_do_not_lie_in_the_space_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("{lr: 7.0, act: relu}")
    assert main(["retest", "runs/first", "--config", "mine.yaml", *INLINE]) == 2
    assert "do not lie in the run's space" in capsys.readouterr().err
    assert main(["retest", "runs/first", "--alpha", "0.9", *INLINE]) == 2
    assert "alpha = 0.9" in capsys.readouterr().err


def test_a_file_of_the_fingerprint_that_is_not_there_stops_a_launch_before_it_starts(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data.csv").unlink()
    assert main(["launch", "s.yaml", "--name", "second", *INLINE]) == 2
    assert "data.csv: No such file" in capsys.readouterr().err
    assert not Path("runs/second").exists()


def test_months_are_calendar_months() -> None:
    assert plus_months(dt.date(2026, 1, 31), 1) == dt.date(2026, 2, 28)
    assert plus_months(dt.date(2026, 11, 30), 3) == dt.date(2027, 2, 28)
    assert plus_months(dt.date(2024, 2, 29), 12) == dt.date(2025, 2, 28)
    assert [next_interval("fresh", n) for n in (3, 6, 12)] == [6, 12, 12]
    assert [next_interval(word, 12) for word in ("stale", "inconclusive")] == [3, 6]
    assert next_interval("inconclusive", 1) == 1


def test_what_is_unknown_on_one_side_is_no_change() -> None:
    old = {
        "rows": 10,
        "data": "a",
        "code": "x",
        "gpu": "A100",
        "libraries": {"torch": "2.5.1"},
        "own": {"k": 1},
    }
    assert changes(old, {**old, "data": None, "gpu": None, "rows": 19}) == []
    assert changes({**old, "code": None, "commit": "aaa"}, {**old, "code": None, "commit": "bbb"}) == [
        "commit aaa then, bbb now"
    ]
    new = {**old, "gpu": "H100", "libraries": {"torch": "2.6.0"}, "own": {"k": 2}}
    assert changes(old, new) == ["torch 2.5 then, 2.6 now", "GPU A100 then, H100 now", "k: 1 then, 2 now"]


def test_rows_are_counted_in_tables_only(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1\n2\n3\n")
    (tmp_path / "b.bin").write_bytes(b"\n\n")
    assert of_files([str(tmp_path / "a.csv")])[1] == 3
    assert of_files([str(tmp_path / "a.csv"), str(tmp_path / "b.bin")])[1] is None
    assert of_files([]) == (None, None)
    (tmp_path / "c.parquet").write_bytes(b"no")
    with pytest.raises(SpecError, match="is no Parquet file"):
        of_files([str(tmp_path / "c.parquet")])
