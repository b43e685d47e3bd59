"""The pages "from ...": their file and ours run, and no more lines differ than the page says."""

from __future__ import annotations

import difflib
import functools
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import raysearch
from raysearch.spec import load_spec

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FOLDER = Path(__file__).parents[1] / "notebooks"
CHANGED = {"ray_tune": 1, "optuna": 3, "wandb_sweeps": 0, "lightning": 3, "huggingface": 3}  # lines
FILES = {"ray_tune": "tune_it.py", "optuna": "study.py", "lightning": "net.py", "huggingface": "tuned.py"}


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a page in that language."""
    text = (FOLDER / f"from_{name}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def changed(before: str, after: str) -> int:
    """Lines of `after` that are new or changed."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return sum(d - c for tag, _, _, c, d in matcher.get_opcodes() if tag != "equal")


def test_every_origin_has_its_page_and_is_found_from_the_one_on_all() -> None:
    assert {path.stem for path in FOLDER.glob("from_*.md")} >= {f"from_{name}" for name in CHANGED}
    text = (FOLDER / "from_other_frameworks.md").read_text()
    assert [name for name in CHANGED if f"(from_{name}.md)" not in text] == []


@pytest.mark.parametrize("name", CHANGED)
def test_no_more_lines_change_than_a_page_says(name: str) -> None:
    before, after = (blocks(name, "python") * 2)[:2]
    assert changed(before, after) == CHANGED[name]
    words = ("Nothing changes", "One line changes", "", "Three lines change")[CHANGED[name]]
    assert words in (FOLDER / f"from_{name}.md").read_text()


@pytest.mark.parametrize("name", ["optuna", "lightning", "huggingface"])
def test_their_file_runs_and_is_still_its_own_after_the_change(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    before = blocks(name, "python")[0]
    for text in [before] if name == "optuna" else blocks(name, "python"):
        Path(FILES[name]).write_text(text)
        runpy.run_path(FILES[name], run_name="__main__")


@pytest.fixture
def here(storage: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets searches run in this process, below a folder of the test."""
    quiet = {"executor": "inline", "say": lambda line: None, "storage": str(storage)}
    search = functools.partial(raysearch.search)
    monkeypatch.setattr(raysearch, "search", lambda *given, **more: search(*given, **{**more, **quiet}))
    return storage


@pytest.mark.parametrize("name", ["ray_tune", "optuna"])
def test_our_file_runs(name: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / FILES[name]
    file.write_text(blocks(name, "python")[1])
    runpy.run_path(str(file), run_name="__main__")
    assert re.search("^best .*0\\.", capsys.readouterr().out, flags=re.MULTILINE)
    assert len([*here.glob("*/spec.yaml")]) == 1


def test_their_file_of_ray_tune_runs(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / FILES["ray_tune"]
    text = blocks("ray_tune", "python")[0].replace("~/tuned", str(tmp_path / "tuned"))
    assert "num_samples=8" in text
    file.write_text(text.replace("num_samples=8", "num_samples=2"))  # each is a process of its own
    runpy.run_path(str(file), run_name="__main__")
    assert re.search("^best 0\\.", capsys.readouterr().out, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["wandb_sweeps", "lightning", "huggingface"])
def test_our_spec_launches(name: str, tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (tmp_path / FILES.get(name, "train.py")).write_text(blocks(name, "python")[-1])
    (tmp_path / "search.yaml").write_text(blocks(name, "yaml")[0])
    spec = load_spec(tmp_path / "search.yaml", {"storage": str(storage), "strategy.finish": None})
    results = raysearch.launch.launch(spec, raysearch.How("inline", say=lambda line: None))
    trials = results.trials()
    assert not trials.error.any()
    assert max(trials.iterations) == spec.strategy.max_iterations
    assert min(trials.iterations) < max(trials.iterations)


def test_a_wandb_script_runs_without_a_search_too(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        blocks("wandb_sweeps", "python")[0].replace("config.lr", "config.get('lr', 0)")
    )
    env = {**os.environ, "WANDB_MODE": "disabled"}
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=env, check=True, capture_output=True)
