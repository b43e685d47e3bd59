"""The report says what the journal says, also when there is little to say; nothing in it is taken for markup."""  # noqa: E501

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import trainables

import raysearch
from raysearch.cli import main
from raysearch.core.terminal_text import UNSAFE, escaped
from raysearch.errors import RunError
from raysearch.report import html as html_of
from raysearch.report.board_run import WatchedRun
from raysearch.report.report import write_report
from raysearch.report.sections import content_of
from raysearch.report.sections.failures import without_numbers
from raysearch.results.plots.style import escape
from raysearch.results.verdict import Contender, once_each
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
    assert capsys.readouterr().out == f"report written to {results.path / 'report.html'}\n"
    text = (results.path / "report.html").read_text()
    assert len(text.encode()) < 10_000_000
    titles = [html.unescape(t) for t in re.findall(r"<h2>(.*?)</h2>", text)]
    assert titles == [
        "What next",
        "Outcome",
        "Progress",
        "What matters",
        "The best 15 of 30 trials",
        "Learning curves",
        "Who trained what when",
        "What went wrong",
        "To do it again",
        "Decision",
    ]
    for line in str(results.verdict()).splitlines():
        assert f"<p>{html.escape(line)}</p>" in text
    content = content_of(results)
    (best, *_) = next(s for s in content.sections if s.key == "trials").tables[0].rows
    assert best[:2] == (
        f"{results.trials().sort_values(['iterations', 'value'], ascending=[False, True])['trial'].iloc[0]}",
        "9",
    )
    failed = results.segments().query("status == 'failed'")
    causes = next(s for s in content.sections if s.key == "failures").tables[0].rows
    row = next(r for r in causes if r[0] == "failed")
    assert row[1] == failed["error"].iloc[0].split("\n")[0]
    assert row[2] == str(len(failed)), "causes that differ in a number only are counted together"


def test_a_run_in_which_nothing_ended_well_has_a_report_too(storage: Path) -> None:
    with pytest.raises(RunError):
        searched(storage, trainables.silent, None, retries=0)
    content = content_of(raysearch.load(storage / "a_b"))
    assert (content.headline, content.tone) == ("No trial ended well.", "bad")
    (table,) = next(s for s in content.sections if s.key == "failures").tables
    assert table.rows == [
        ("failed", "TrainableError: metric 'loss' was never reported; nothing was reported", "10", "0")
    ]
    assert "No trial ended well." in write_report(raysearch.load(storage / "a_b"))


def test_a_run_that_has_only_begun_has_a_report(storage: Path) -> None:
    results = searched(storage, trainables.Moody, None)
    for part in (results.path / "journal").iterdir():
        part.unlink()
    from raysearch.storage.journal.journal import Journal

    Journal.create(results.path / "journal").close()
    content = content_of(raysearch.load(results.path))
    assert [s.key for s in content.sections] == ["outcome", "progress", "reproduce"]
    assert [p.figure.layout.annotations[0].text for p in content.sections[1].pictures] == [
        "No trial has a value yet.",
        "No segment has ended yet.",
    ]


def test_what_a_user_typed_is_never_markup(storage: Path) -> None:
    marks = "\x1b[2J\x9b\u202e\u2066\r"
    evil = f"{marks}<img src=x onerror=alert(1)><script>alert(2)"
    raysearch.search(
        trainables.Moody,
        executor="inline",
        space={evil: {"uniform": [0.0, 1.0]}, "rate": {"uniform": [0.0, 1.0]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(
            samples=20, max_iterations=3, min_iterations=1, sampler="sobol", finish=None
        ),
        storage=str(storage),
        name="evil",
    )
    results = raysearch.load(storage / "evil")
    text = write_report(results)
    watched = WatchedRun(results.path)
    figures = [watched.figure(one["name"], "") for one in watched.head(0)["figures"]]
    state = [watched.head(0), *figures, *(json.loads(one["figure"]) for one in figures if one)]
    assert UNSAFE.search("".join(_texts(state))) is None
    assert UNSAFE.search(re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)) is None
    drawn = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert drawn
    assert all(UNSAFE.search("".join(_texts(json.loads(one)))) is None for one in drawn)
    assert any(r"\x1b[2J\x9b\u202e" in "".join(_texts(json.loads(one))) for one in drawn)
    assert evil not in text
    assert "<img" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert html.escape(escaped(evil)) in text


def test_a_figure_keeps_every_text_that_is_safe() -> None:
    words = ["ä\n\t", "\\", '"\\u001b"', "\N{GRINNING FACE}", "\\\\x", "a/b"]
    figure = go.Figure(go.Bar(x=words, y=[1] * len(words)), {"title": {"text": "\x1b\u202e\ud800\x7f"}})
    drawn = json.loads(html_of.figure_json(figure))
    assert drawn["data"][0]["x"] == words
    assert drawn["layout"]["title"]["text"] == r"\x1b\u202e\ud800\x7f"


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_texts(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def test_numbers_in_a_cause_do_not_make_it_another() -> None:
    assert without_numbers("no luck with rate 0.123 at 1e-5") == without_numbers("no luck with rate 0.9 at 3")
    assert without_numbers("out of memory") != without_numbers("no luck")


def test_the_trial_that_was_the_baseline_has_no_row_of_its_own_beside_it() -> None:
    seeds = {1: 0.5, 2: 0.6}
    other = Contender("finalist", 7, {"rate": 0.2}, {1: 0.3, 2: 0.4})
    twin, baseline = (Contender(role, 0, {"rate": 0.9}, seeds) for role in ("finalist", "baseline"))
    assert once_each([other, twin, baseline]) == [("trial 7", other), ("the baseline, trial 0", baseline)]
    assert once_each([other, twin]) == [("trial 7", other), ("trial 0", twin)]
    assert once_each([other, baseline]) == [("trial 7", other), ("the baseline", baseline)]


def test_a_text_of_a_megabyte_is_cut_where_it_is_shown() -> None:
    shown = html_of.shown("a" * 1_000_000)
    assert len(shown) < html_of.TEXT_SHOWN + 100
    assert shown.endswith("… (1,000,000 characters)")
    assert html_of.shown("a" * html_of.TEXT_SHOWN) == "a" * html_of.TEXT_SHOWN
    assert len(html_of.shown("<" * 1_000_000)) < 5 * html_of.TEXT_SHOWN, "cut before it is escaped"
    assert len(escape("b" * 1_000_000)) < 1000
