"""The report says what the journal says, also when there is little to say."""

from __future__ import annotations

from pathlib import Path

import pytest
import trainables

import raysearch
from raysearch.cli import main
from raysearch.errors import RunError
from raysearch.report import write_report
from raysearch.strategies.finish import Finish


def searched(storage: Path, trainable: object, finish: Finish | None, **options: object) -> raysearch.Results:
    return raysearch.search(
        trainable,
        executor="inline",
        space={"rate": {"uniform": [0.0, 1.0]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(
            samples=30, max_iterations=9, min_iterations=1, sampler="sobol", finish=finish
        ),
        storage=str(storage),
        name="a_b",
        **options,
    )


def test_every_section_is_there_and_its_figures_are_those_of_the_run(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = searched(storage, trainables.Moody, Finish(top=2, seeds=2), baseline={"rate": 0.75})
    assert main(["report", str(results.path)]) == 0
    assert capsys.readouterr().out == f"report written to {results.path / 'report.md'}\n"
    text = (results.path / "report.md").read_text()
    assert text.startswith("# Search a\\_b\n")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## The finish",
        "## How far the trials came",
        "## The best 10 of 30 trials",
        "## What went wrong",
        "## To do it again",
    ]
    assert str(results.verdict()).splitlines()[0] in text
    assert f"| {results.best.trial} | {results.best.iteration} |" in text
    failed = results.segments().query("status == 'failed'")
    assert f"no luck with rate {failed['config.rate'].iloc[0]:.3f}" in text


def test_a_run_in_which_nothing_ended_well_has_a_report_too(storage: Path) -> None:
    with pytest.raises(RunError):
        searched(storage, trainables.silent, None, retries=0)
    text = write_report(raysearch.load(storage / "a_b"))
    assert "10 segments failed" in text or "never reported" in text
    assert (
        "| failed | TrainableError: metric 'loss' was never reported; nothing was reported | 10 | 0 |" in text
    )
    assert "## The finish" not in text
