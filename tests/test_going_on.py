"""A resume compares what it goes on with: spec.yaml edited by hand, and code that has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import raysearch
from raysearch.errors import SpecError
from raysearch.launch import more_samples
from raysearch.results.remarks import kept_spec

CODE = """from ray import tune
SCALE = 1.0
def train(config):
    for i in range(9): tune.report({"loss": SCALE * config["lr"] / (i + 1)})
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "tr.py").write_text(CODE)
    raysearch.search(
        f"{tmp_path}/tr.py:train", space={"lr": {"uniform": [0.5, 1.0]}}, metric="loss", mode="min",
        storage=str(tmp_path), name="r", executor="inline",
        strategy=raysearch.Caviar(samples=4, max_iterations=3, finish=None),
    )  # fmt: skip
    return tmp_path / "r"


def resume(run: Path, **more: Any) -> Any:
    return raysearch.resume(run, raysearch.How("inline"), **more)


def edit(run: Path, **fields: Any) -> None:
    spec = yaml.safe_load((run / "spec.yaml").read_text())
    for name, value in fields.items():
        spec[name] = {**spec[name], **value} if isinstance(value, dict) and name == "strategy" else value
    (run / "spec.yaml").write_text(yaml.safe_dump(spec))


def test_the_journal_keeps_the_spec_of_a_launch_and_of_an_edit(run: Path) -> None:
    assert kept_spec(run / "journal") == (run / "spec.yaml").read_text()
    resume(run, edits=lambda spec: more_samples(spec, "+1"))
    assert kept_spec(run / "journal") == (run / "spec.yaml").read_text()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metric": "other"}, "metric: the run was searched with 'loss'"),
        ({"mode": "max"}, "mode: the run was searched with 'min'"),
        ({"seed": 7}, "seed: the run was searched with 0"),
        ({"strategy": {"samples": 2}}, "strategy.samples: 2 is less than the 4 that the run has"),
        ({"space": {"momentum": {"uniform": [0.0, 1.0]}}}, "shares no hyper-parameter with the run's"),
    ],
)
def test_a_spec_edited_by_hand_is_checked_as_an_edit_is(run: Path, fields: Any, words: str) -> None:
    edit(run, **fields)
    with pytest.raises(SpecError, match=words):
        resume(run)


def test_an_edit_by_hand_that_goes_with_the_run_is_said_and_kept(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(run, strategy={"samples": 6}, space={"lr": {"uniform": [0.4, 1.0]}})
    assert len(resume(run).trials()) == 6
    assert "spec.yaml was edited by hand since the run was last started: space, strategy" in (
        capsys.readouterr().err
    )
    assert kept_spec(run / "journal") == (run / "spec.yaml").read_text()


def test_changed_code_is_said_with_its_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume(run, edits=lambda spec: more_samples(spec, "+1"))
    assert "code has changed" not in capsys.readouterr().err
    file = run.parent / "tr.py"
    file.write_text(CODE.replace("SCALE = 1.0", "SCALE = 0.001"))
    resume(run, edits=lambda spec: more_samples(spec, "+1"))
    said = capsys.readouterr().err
    assert f"since the run was last started: the trainable's code has changed ({file})" in said
    assert "begin a new run" in said
