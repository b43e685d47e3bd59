"""What a shell completes: names of runs where a run is asked for, specs and examples where a spec is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raysearch.cli.completion import run_names, spec_names

COMPLETE = """
import sys
from raysearch.cli import main
code = main([])
print(sorted({"ray", "torch", "numpy", "pandas"} & {*sys.modules}), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs, specs and other things in it."""
    for run in ("runs/digits", "runs/digits-2", "runs/other", "far/off/last", "mine"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "spec.yaml").write_text("")
    for other in ("runs/no_run", "empty", ".hidden/run"):
        (tmp_path / other).mkdir(parents=True)
    for file in ("search.yaml", "sweep.yml", "train.py"):
        (tmp_path / file).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_are_completed_by_path_or_by_name(folder: Path) -> None:
    assert run_names("runs/d") == ["runs/digits", "runs/digits-2"]
    assert run_names("dig") == ["runs/digits", "runs/digits-2"]
    assert run_names("") == ["far/", "mine", "runs/", "runs/digits", "runs/digits-2", "runs/other"]
    assert run_names("far/") == ["far/off/"]
    assert run_names(f"{folder}/far/off/l") == [f"{folder}/far/off/last"]
    assert run_names("nowhere/") == run_names("s3://bucket/r") == []


def test_specs_and_examples_are_completed(folder: Path) -> None:
    assert spec_names("s") == ["script", "search.yaml", "sweep.yml"]
    assert "train.py" not in spec_names("")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trials", "runs/o"], ["runs/other"]),
        (["status", "runs/o"], ["runs/other"]),
        (["best", "runs/o"], ["runs/other"]),
        (["report", "runs/o"], ["runs/other"]),
        (["resume", "runs/o"], ["runs/other"]),
        (["compare", "runs/other", "runs/digits-"], ["runs/digits-2"]),
        (["launch", "sw"], ["sweep.yml"]),
        (["tria"], ["trials"]),
    ],
)
def test_the_shell_is_answered_by_the_command(words: list[str], expected: list[str], folder: Path) -> None:
    assert complete(words)[0] == expected


def complete(words: list[str]) -> tuple[list[str], str]:
    """(What bash is answered for the last word, what the process printed on stderr)."""
    asked = {"COMP_WORDS": " ".join(["raysearch", *words]), "COMP_CWORD": str(len(words))}
    environment = {**os.environ, "_RAYSEARCH_COMPLETE": "complete_bash", **asked}
    root = Path(__file__).parents[1]
    environment["PYTHONPATH"] = str(root)
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split(), done.stderr


def test_completing_loads_nothing_heavy(folder: Path) -> None:
    assert complete(["trials", "runs/o"])[1].strip() == "[]"
