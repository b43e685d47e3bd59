"""Runs that version 0.1 wrote, before its modules had rooms: they open, resume and report as they did then.

Each folder of golden/runs-1 is a run as it lay on disk, and beside it what was read out of it: segments.csv,
a row a segment, and for the raised model schedule.yaml. They trained walk.py.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

import raysearch
from raysearch import schedule
from raysearch.errors import RaysearchWarning
from raysearch.report.report import write_report
from raysearch.spec import SearchSpec

GOLDEN = Path(__file__).parent / "golden" / "runs-1"
RUNS = ("caviar", "panda", "stopped")


def loaded(name: str) -> raysearch.Results:
    """A run of an old version, of which Python is warned that its parts have no checksum."""
    with pytest.warns(RaysearchWarning, match="of a version without checksums"):
        return raysearch.load(GOLDEN / name)


@pytest.mark.parametrize("name", RUNS)
def test_every_segment_of_an_old_run_reads_as_it_did(name: str) -> None:
    expected = (GOLDEN / name / "segments.csv").read_text().splitlines()
    columns = expected[0].split(",")
    found = loaded(name).segments()[columns].to_csv(index=False).splitlines()
    assert found == expected


@pytest.mark.parametrize(
    ("name", "trial", "value", "words"),
    [
        (
            "caviar",
            12,
            -0.001738266398496881,
            "better than the baseline by 0.40721 on every seed",
        ),
        ("panda", 3, 0.00899300428769044, "No finals were run: this is what one model came to"),
        ("stopped", 12, -0.001738266398496881, "No finals were run: the best trial's value was the best of"),
    ],
)
def test_an_old_run_has_the_winner_and_the_verdict_it_had(
    name: str, trial: int, value: float, words: str
) -> None:
    results = loaded(name)
    assert (results.best.trial, results.best.value) == (trial, value)
    assert words in results.verdict().text


def test_the_schedule_of_an_old_run_is_the_one_it_was() -> None:
    expected = schedule.load(GOLDEN / "panda" / "schedule.yaml")
    assert schedule.of(loaded("panda")).steps == expected.steps


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_makes_a_report(name: str) -> None:
    html = write_report(loaded(name))
    assert "<html" in html
    assert name in html


def test_an_old_run_that_was_stopped_is_gone_on_with(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "stopped", tmp_path / "runs" / "stopped")
    shutil.copy(GOLDEN / "walk.py", tmp_path)

    def more(spec: SearchSpec) -> SearchSpec:
        budget = dataclasses.replace(spec.budget, trials=40)
        return dataclasses.replace(spec, budget=budget, trainable=f"{tmp_path}/walk.py:Walk")

    before = loaded("stopped").segments()
    results = raysearch.resume(tmp_path / "runs" / "stopped", raysearch.How("inline"), edits=more)
    after = results.segments()
    assert after["id"].head(len(before)).tolist() == before["id"].tolist()
    assert after["trial"].nunique() == 40
    assert results.best.value == pytest.approx(-0.001738266398496881, abs=1e-9)
