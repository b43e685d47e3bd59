"""Whatever shows a run of several objectives and limits shows all of them, or says which one leads."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune
from test_goals import TWO, run_of

import raysearch
from raysearch.core.segment import Outcome, Segment, Status, segment_id
from raysearch.report.board_run import WatchedRun
from raysearch.report.compare import compare, rows_of
from raysearch.report.sections.content import content_of
from raysearch.results.goal_table import goal_header, goal_rows
from raysearch.results.plots import front as front_plots
from raysearch.results.plots.progress import best_steps
from raysearch.results.plots.style import note_of
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives
from raysearch.strategies.finish import Finish
from raysearch.tracking.artifacts import _facts
from raysearch.tracking.notify.watch import Watch
from raysearch.tracking.rows import SearchFeed

LIMIT = "latency <= 20"


def model(config: dict[str, Any]) -> None:
    """Loss falls with width, latency grows with it, and a seed moves the loss a little."""
    for i in range(1, 4):
        loss = 1 - config["width"] + config["waste"] + 1 / i + 0.01 * (config["seed"] % 7)
        tune.report(
            {"loss": loss, "latency": 40 * config["width"] + config["waste"], "size": config["width"]}
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> raysearch.Results:
    """Two objectives and a limit that trials and the baseline are beyond; only to be read."""
    return raysearch.search(
        model,
        space={"width": {"uniform": [0.0, 1.0]}, "waste": {"uniform": [0.0, 1.0]}},
        objectives=TWO,
        limits=[LIMIT],
        baseline={"width": 0.9, "waste": 0.5},
        strategy=raysearch.Caviar(
            samples=14, max_iterations=3, sampler="sobol", finish=Finish(top=2, seeds=2)
        ),
        storage=tmp_path_factory.mktemp("readers"),
        name="run",
        seed_as="seed",
        executor="inline",
        progress=False,
        checks=False,
    )


def test_the_table_of_the_finish_has_every_objective_the_limits_and_the_front(run: raysearch.Results) -> None:
    header, rows = goal_header(run.goals), goal_rows(run)
    assert header == (
        *("on fresh seeds", "mean loss (95%)", "mean latency (95%)", "limits", "front", "seeds", "failed"),
    )
    on = {member.name for member in run.front}
    assert {row[0] for row in rows if row[4] == "yes"} == on
    (baseline,) = [row for row in rows if row[0] == "the baseline"]
    assert baseline[3].startswith("beyond latency <= 20 (latency 36.5")
    assert all(row[3] == "within" for row in rows if row[0] in on)
    text = run_of("best", str(run.path))
    assert "within" in text
    assert "loss leads 2 objectives, one of" in text


def test_trials_say_which_are_on_the_front(run: raysearch.Results) -> None:
    frame = run.trials()
    assert set(frame["trial"][frame["front"]]) == {m.trial for m in run.front}
    (table,) = next(s for s in content_of(run).sections if s.key == "trials").tables
    assert table.header[:6] == ("trial", "iterations", "loss", "latency", "limits", "front")
    marks = {row[0]: row[4] for row in table.rows}
    for trial, violation in zip(frame["trial"], frame["violation"], strict=True):
        assert marks[str(trial)] == ("beyond" if violation > 0 else "within")


def test_the_top_of_a_report_has_every_objective_of_the_trial_that_is_taken(run: raysearch.Results) -> None:
    content, knee = content_of(run), run.front.pick()
    assert f"the knee, {knee.name}, has loss " in content.headline
    tiles = {tile.label: tile for tile in content.tiles}
    assert tiles["latency"].below == LIMIT
    assert tiles["best loss"].below.endswith("; it leads")
    assert tiles["front"].value == str(len(run.front))
    assert tiles["beyond limits"].value == str(int((run.trials()["violation"] > 0).sum()))


def test_the_figure_of_the_front_marks_trials_beyond_limits_and_shades_the_limits(
    run: raysearch.Results,
) -> None:
    figure = run.plot.front()
    traces = {trace.name: trace for trace in figure.data}
    frame = run.trials()
    assert len(traces["beyond the limits"].x) == int((frame["violation"] > 0).sum()) > 0
    assert min(traces["beyond the limits"].x) > 20
    assert min(traces["beyond a limit"].x) == pytest.approx(20, abs=0.2)
    front = traces["the front, fresh seeds"]
    assert [*front.text] == [member.name for member in run.front]
    assert max(front.error_y.array) > 0
    assert note_of(figure).startswith("loss leads; ringed is the knee.")
    assert "<script>x" not in figure.to_json()


def test_the_hypervolume_never_falls_and_ends_with_that_of_the_searchs_front(run: raysearch.Results) -> None:
    found = front_plots.volumes(run.digest)
    assert found is not None
    hours, iterations, shares, reference = found
    assert (np.diff(shares) >= 0).all()
    assert (np.diff(hours) >= 0).all()
    assert iterations[-1] == run.digest.segments.points[run.digest.search_rows].sum()
    frame = run.segments().query("role == 'search'")
    loss, latency = frame["value"].to_numpy(), 40 * frame["config.width"] + frame["config.waste"]
    points = [(a, b) for a, b in zip(loss, latency, strict=True) if b <= 20]
    best = [min(p[k] for p in points) for k in range(2)]
    steps = sorted({p[0] for p in points} | {reference[0]})
    area = sum(  # a column for each loss, as high as the least latency at or before it
        (right - left) * max(0.0, reference[1] - min(p[1] for p in points if p[0] <= left))
        for left, right in itertools.pairwise(steps)
        if right <= reference[0]
    )
    assert shares[-1] == pytest.approx(area / np.prod(reference - best))


def test_best_so_far_is_within_the_limits(run: raysearch.Results) -> None:
    _, values, trials = best_steps(run.digest)
    beyond = set(run.trials().query("violation > 0")["trial"])
    assert not beyond & set(trials.tolist())
    assert (
        values[-1]
        == run.segments()
        .query("role == 'search' and `config.width` * 40 + `config.waste` <= 20")["value"]
        .min()
    )


def test_parallel_coordinates_have_an_axis_for_each_objective(run: raysearch.Results) -> None:
    titles = [one.text for one in run.plot.parallel().layout.annotations if one.text.startswith("<b>")]
    assert titles[-2:] == ["<b>latency</b>", "<b>loss</b>"]


def test_the_board_has_the_front_and_the_hypervolume(run: raysearch.Results) -> None:
    names = [one["name"] for one in WatchedRun(run.path).head(0)["figures"]]
    assert names[:3] == ["front", "hypervolume", "progress"]


def test_a_comparison_has_every_objective_and_the_front(run: raysearch.Results) -> None:
    rows = {row[0]: row[1] for row in rows_of([run, run], compare([run, run]))}
    assert rows["latency"] == rows_of([run, run], compare([run, run]))[2][2]
    assert rows["configurations on the front"] == str(len(run.front))


def test_the_searchs_rows_have_the_best_of_each_objective_within_the_limits() -> None:
    feed = SearchFeed("loss", "min", Objectives({"loss": "min", "acc": "max"}, (Limit("ms < 5"),)))
    for i, (loss, acc, ms) in enumerate([(1.0, 0.5, 1.0), (0.1, 0.9, 9.0), (2.0, 0.7, 2.0)]):
        segment = Segment(segment_id(i, 0), i, None, {}, 0, 1, 0, "new")
        curve = {"loss": [loss], "acc": [acc], "ms": [ms]}
        feed.take(Outcome(segment, Status.COMPLETED, curve, finished_at=float(i), seconds=1.0))
    summary = feed.summary()
    assert (summary["search/best_loss"], summary["search/best_acc"]) == (1.0, 0.7)
    assert summary["search/segments_beyond_limits"] == 1


def test_the_summary_at_wandb_has_the_front_and_all_values_of_the_knee(run: raysearch.Results) -> None:
    facts, knee = _facts(run), run.front.pick()
    assert (facts["objectives"], facts["objectives/leading"]) == ("min loss, min latency", "loss")
    assert facts["limits"] == LIMIT
    assert facts["front/members"] == len(run.front)
    assert facts["best/latency"] == knee.values["latency"]


def test_the_panels_at_wandb_draw_each_objective(run: raysearch.Results) -> None:
    report = pytest.importorskip("raysearch.tracking.wandb.report")
    text = json.dumps(report.spec_of(report.build(run, "someone")))
    for panel in ("search/best_loss", "search/best_latency", "figures/front", "figures/hypervolume"):
        assert panel in text


def test_a_message_at_the_end_names_the_objectives(run: raysearch.Results) -> None:
    told = Watch(run.path, run.spec, 0.0).look(1e10)
    (text,) = [message.text for message in told if message.kind == "finished"]
    assert " in loss and latency, on fresh seeds; the knee, " in text


def test_a_dry_run_names_the_objectives_and_the_limits(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "trainable: raysearch.examples.function:train\n"
        "space: {width: {uniform: [0.0, 1.0]}}\n"
        f"objectives: {{loss: min, latency: min}}\nlimits: ['{LIMIT}']\n"
        "strategy: {name: caviar, samples: 4, max_iterations: 3}\n"
    )
    options = ("launch", str(spec), "--dry-run", "--storage", str(tmp_path))
    assert "loss (min), latency (min), loss leads; within latency <= 20" in run_of(*options)
    said = json.loads(run_of(*options, "--json"))
    assert (said["objectives"], said["limits"]) == (TWO, [LIMIT])
