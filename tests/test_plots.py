"""The figures show what the run's tables say, and never more marks than a page can hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import raysearch
from raysearch.bench.report import write_run
from raysearch.core.segment import Event, Outcome, Segment, Status, segment_id
from raysearch.errors import RunError
from raysearch.report.compare import compare
from raysearch.report.sections.raised import raised as raised_section
from raysearch.results.plots import cluster
from raysearch.results.plots.lineage import changes
from raysearch.results.plots.progress import Settling, settling
from raysearch.results.plots.style import escape, metric_axis, note_of
from raysearch.storage.journal.journal import Journal
from raysearch.tracking.artifacts import FIGURES


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> raysearch.Results:
    """A run of 3,000 trials with a finish; only to be read."""
    run = tmp_path_factory.mktemp("plots") / "run"
    write_run(run, 3000)
    return raysearch.load(run)


def raised(folder: Path) -> raysearch.Results:
    """Ten iterations of a model whose learning rate was halved after five; a probe of another was rejected."""  # noqa: E501
    folder.mkdir()
    (folder / "spec.yaml").write_text("metric: loss\nmode: min\nspace: {lr: {loguniform: [1.0e-4, 1.0]}}\n")
    first = Segment(segment_id(0, 0), 0, None, {"lr": 0.1}, 0, 5, 0, "start: from the baseline")
    probe = Segment(segment_id(1, 0), 1, first.id, {"lr": 0.2}, 5, 8, 0, "nudge: lr x2 beside <b>trial 0</b>")
    second = Segment(
        segment_id(0, 1), 0, first.id, {"lr": 0.05}, 5, 10, 0, "accept: lr x0.5, gain 0.1 > noise"
    )
    curves = ([1.0, 0.9, 0.8, 0.7, 0.6], [0.7, 0.8, 0.9], [0.5, 0.4, 0.3, 0.2, 0.1])
    with Journal.create(folder / "journal") as journal:
        journal.append(
            [
                Outcome(s, Status.COMPLETED, {"loss": c}, None, 2.0, "worker-0", "", False, 1000.0 + 3 * i)
                for i, (s, c) in enumerate(zip((first, probe, second), curves, strict=True))
            ]
        )
    return raysearch.load(folder)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_a_large_run_stays_small(results: raysearch.Results, name: str) -> None:
    figure = getattr(results.plot, name)()
    assert len(figure.to_json()) < 600_000
    assert sum(len(trace.x) for trace in figure.data if trace.x is not None) < 20_000


def test_best_so_far_ends_with_the_best_value_of_the_run(results: raysearch.Results) -> None:
    line = next(t for t in results.plot.progress().data if t.name == "best so far")
    searched = results.segments().query("role == 'search'")
    assert line.y[-1] == searched["value"].min()
    assert list(line.y) == sorted(line.y, reverse=True)


def test_rungs_count_every_trial_at_each_rung_it_was_trained_to(results: raysearch.Results) -> None:
    figure = results.plot.rungs()
    segments = results.segments().query("role == 'search'")
    at_one = sum(trace.x[0] for trace in figure.data if trace.type == "bar")
    assert at_one == segments.query("stop == 1")["trial"].nunique() == 3000
    failed = next(t for t in figure.data if t.name == "failed")
    assert sum(failed.x) == len(segments.query("status == 'failed'"))


def settled_run(folder: Path, losses: dict[int, float]) -> Settling:
    """Trials of one segment of an hour each that end one after the other, with these losses."""
    folder.mkdir()
    (folder / "spec.yaml").write_text("metric: loss\nmode: min\nspace: {lr: {uniform: [0.0, 1.0]}}\n")
    with Journal.create(folder / "journal") as journal:
        for k, (trial, loss) in enumerate(losses.items()):
            segment = Segment(segment_id(trial, 0), trial, None, {"lr": 0.5}, 0, 1, 0, "sample")
            at = 1e6 + 3600.0 * (k + 1)
            curve = {"loss": [loss]}
            journal.append([Outcome(segment, Status.COMPLETED, curve, None, 3600.0, "w", "", False, at)])
    return settling(raysearch.load(folder).digest)


def test_what_settling_for_the_second_best_saves_is_the_training_after_it(tmp_path: Path) -> None:
    found = settled_run(tmp_path / "sooner", {0: 0.9, 1: 0.5, 2: 0.7, 3: 0.3, 4: 0.8})
    assert (found.trials[:2].tolist(), found.spent[:2].tolist(), found.total) == ([3, 1], [4.0, 2.0], 5.0)
    assert "trial 1 with 0.5000, was there after 40% of the training" in found.words
    assert "saved 3h 00m of training and been worse by 0.200" in found.words
    later = settled_run(tmp_path / "later", {0: 0.9, 1: 0.3, 2: 0.5})
    assert "no sooner than the best, trial 1 with 0.3000" in later.words
    assert settled_run(tmp_path / "alone", {0: 0.9}).words == ""


def test_what_matters_is_found_and_what_does_not_is_not(results: raysearch.Results) -> None:
    found = results.plot.importances
    assert found is not None
    assert next(iter(found.shares)) == "lr", "the made-up loss depends on the learning rate the most"
    assert found.shares["lr"] > 0.6 > 0.1 > found.shares["width"]
    assert found.explained > 0.5
    assert sum(found.shares.values()) == pytest.approx(1.0)


def test_the_best_trial_stands_out_in_parallel_coordinates_and_a_sample_is_called_one(
    results: raysearch.Results,
) -> None:
    figure = results.plot.parallel()
    thick = [t for t in figure.data if t.line.width > 3]
    assert [t.hovertext.split("<br>")[0] for t in thick] == [f"<b>trial {results.best.trial:,}</b>"]
    assert note_of(figure).startswith(
        f"{len(figure.data):,} of {len(results.digest.ranking):,} trials are drawn"
    )


def test_a_worker_is_busy_for_the_seconds_it_trained(results: raysearch.Results) -> None:
    share, hours, workers = cluster.utilisation(results.digest)
    segments = results.segments()
    assert workers == segments["worker"].nunique() == 64
    assert hours == pytest.approx(segments["seconds"].sum() / 3600)
    assert 0.5 < share < 1.0
    heat = results.plot.timeline().data[0]
    assert heat.type == "heatmap"
    length = segments["finished_at"].max() - (segments["finished_at"] - segments["seconds"]).min()
    drawn = np.asarray(heat.z).sum() / 120 * length * 64 / len(heat.y)
    assert drawn == pytest.approx(segments["seconds"].sum(), rel=0.02)


def test_a_schedule_has_the_values_that_held_and_the_tree_its_reasons(tmp_path: Path) -> None:
    results = raised(tmp_path / "run")
    assert len(changes(results.digest)) == 2
    figure = results.plot.schedules()
    winner = next(t for t in figure.data if t.name == "winner")
    assert list(winner.x) == [0, 5, 10]
    assert list(winner.y) == [0.1, 0.05, 0.05]
    assert winner.hovertext[1] == "iteration 5: lr 0.05<br>accept: lr x0.5, gain 0.1 &gt; noise"
    nodes = results.plot.lineage().data[-1]
    assert [round(float(x)) for x in nodes.x] == [5, 8, 10]
    assert "nudge: lr x2 beside &lt;b&gt;trial 0&lt;/b&gt;" in nodes.hovertext[1], (
        "a reason is text, not markup"
    )


def forked(folder: Path) -> raysearch.Results:
    """A nudge was rejected; another was accepted, spiked, and was taken back from iteration 25 to 10."""
    folder.mkdir()
    (folder / "spec.yaml").write_text(
        "metric: loss\nmode: min\nstrategy: {name: panda, max_iterations: 30}\n"
        "space: {lr: {loguniform: [1.0e-4, 1.0]}}\n"
    )
    planned = [  # trial, ordinal, parent, lr, start, stop, loss, event
        (0, 0, None, 0.1, 0, 5, 0.9, Event.START),
        (0, 1, (0, 0), 0.1, 5, 6, 0.8, Event.HOLD),
        (1, 0, (0, 0), 0.4, 5, 6, 2.0, Event.NUDGE),
        (0, 2, (0, 1), 0.1, 6, 10, 0.7, Event.REJECT),
        (0, 3, (0, 2), 0.1, 10, 12, 0.65, Event.HOLD),
        (2, 0, (0, 2), 0.2, 10, 12, 0.6, Event.NUDGE),
        (2, 1, (2, 0), 0.2, 12, 25, 50.0, Event.ACCEPT),
        (3, 0, (0, 2), 0.1, 10, 25, 0.5, Event.ROLLBACK),
        (3, 1, (3, 0), 0.05, 25, 30, 0.4, Event.DECAY),
    ]
    with Journal.create(folder / "journal") as journal:
        for at, (trial, ordinal, parent, lr, start, stop, loss, event) in enumerate(planned):
            mother = None if parent is None else segment_id(*parent)
            number = segment_id(trial, ordinal)
            words = f"{event}: {event} {at}"
            one = Segment(number, trial, mother, {"lr": lr}, start, stop, 0, words, event=event)
            curve = {"loss": [loss] * (stop - start)}
            journal.append(
                [Outcome(one, Status.COMPLETED, curve, None, 1.0, "worker-0", "", False, 1000.0 + at)]
            )
    return raysearch.load(folder)


def test_decisions_are_marked_on_the_schedule_with_their_words(tmp_path: Path) -> None:
    figure = forked(tmp_path / "run").plot.schedules()
    rejected = next(t for t in figure.data if t.name == "rejected")
    assert (list(rejected.x), list(rejected.y)) == ([6], [0.4]), "at the value that was tried"
    assert rejected.hovertext[0] == "<b>rejected</b> at iteration 6: lr 0.4<br>reject 3"
    back = [t for t in figure.data if t.name == "put back"]
    assert [list(t.x) for t in back] == [[10], [10]], "in the panel of lr and in the metric's"
    assert back[0].hovertext[0].endswith("rollback 7")
    lost = next(t for t in figure.data if t.name == "taken back")
    assert (min(lost.x), max(lost.x), max(lost.y)) == (11, 25, 50.0)
    low, high = figure.layout.yaxis2.range
    assert low < 0.4 < 0.9 < high < 2.0, "the spike does not flatten the winner's curve"


def test_the_report_has_the_decisions_as_a_table_below_the_picture(tmp_path: Path) -> None:
    results = forked(tmp_path / "run")
    section = raised_section(results, None)
    assert section is not None
    assert [picture.name for picture in section.pictures] == ["schedules", "lineage"]
    (table,) = section.tables
    assert [(row[0], row[1], row[2]) for row in table.rows] == [
        ("0-5", "start", "lr 0.1"),
        ("5-10", "rejected", ""),
        ("10-25", "put back", ""),
        ("25-30", "decay", "lr 0.05"),
    ]


def test_a_run_by_halving_has_no_schedule(results: raysearch.Results) -> None:
    assert len(changes(results.digest)) == 0
    assert results.plot.schedules().layout.annotations[0].text.startswith("No hyper-parameter changed")


def test_a_metric_that_spans_decades_is_drawn_on_a_log_scale_and_others_are_not() -> None:
    assert metric_axis([0.01, 0.1, 1.0, 2.0], "min")["type"] == "log"
    assert "type" not in metric_axis([-0.1, 0.1, 1.0, 2.0], "min")
    assert "type" not in metric_axis([0.01, 0.5, 0.99], "max")


def test_users_text_is_escaped_for_plotly() -> None:
    assert escape("<a href='x'>&\nb") == "&lt;a href='x'&gt;&amp;<br>b"


def test_runs_side_by_side_say_what_each_found_and_how_soon(
    results: raysearch.Results, tmp_path: Path
) -> None:
    write_run(tmp_path / "small", 50)
    small = raysearch.load(tmp_path / "small")
    one, other = compare([results, small])
    assert (one.trials, other.trials) == (3000, 50)
    assert one.best == results.best.value < other.best
    assert one.reached_s is not None
    assert other.reached_s is not None
    assert 0 < one.reached_s <= one.wall_s


def test_runs_with_another_metric_are_not_compared(results: raysearch.Results, tmp_path: Path) -> None:
    write_run(tmp_path / "other", 20)
    with pytest.raises(RunError, match="search for different things"):
        compare([results, raysearch.Results(tmp_path / "other", metric="acc", mode="max")])
    with pytest.raises(RunError, match="two runs"):
        compare([results])
