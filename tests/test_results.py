"""Results: what the journal says, in tables, and an honest verdict."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from raysearch.cli import main
from raysearch.cli.trial_table import select
from raysearch.core.segment import (
    Outcome,
    Segment,
    Status,
    segment_id,
    segment_label,
    trial_name,
    trial_number,
)
from raysearch.errors import RunError
from raysearch.report.compare import compare, rows_of
from raysearch.report.sections import content_of
from raysearch.results import Results, load
from raysearch.results.plots.cluster import utilisation
from raysearch.results.verdict import Contender, estimate, judge
from raysearch.run.follower import Follower
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.journal.journal import Journal
from raysearch.storage.paths import RunPaths
from raysearch.tracking.sending import send

FINALS = 1 << 40


def outcome(
    trial: int,
    ordinal: int,
    start: int,
    losses: Sequence[float],
    config: dict[str, Any] | None = None,
    parent: int | None = None,
    **fields: Any,
) -> Outcome:
    if ordinal:
        parent = segment_id(trial, ordinal - 1)
    segment = Segment(
        segment_id(trial, ordinal),
        trial,
        parent,
        {"lr": trial / 10} if config is None else config,
        start,
        start + max(len(losses), 1),
        trial,
        f"rung {ordinal}",
        fields.pop("role", "search"),
        fields.pop("source", None),
    )
    given: dict[str, Any] = {"status": Status.COMPLETED, "curve": {"loss": losses}, "seconds": 1.0} | fields
    return Outcome(segment, **given)


def final(
    source: int, seed: int, loss: float, role: str = "finalist", stop: int = 1, **fields: Any
) -> Outcome:
    trial = FINALS + (1 << 38) * (role == "baseline") + source * 64 + seed + stop * (1 << 30)
    config = {"lr": source / 10 + (role == "baseline")}
    segment = Segment(segment_id(trial, 0), trial, None, config, 0, stop, seed, "final", role, source)
    given: dict[str, Any] = {"status": Status.COMPLETED, "curve": {"loss": [loss] * stop}} | fields
    return Outcome(segment, **given)


def make_run(root: Path, outcomes: Sequence[Outcome], **spec: Any) -> Results:
    paths = RunPaths(root)
    root.mkdir(exist_ok=True)
    lines = {"name": "x", "metric": "loss", "mode": "min"} | spec
    paths.spec.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    with Journal.create(paths.journal) as journal:
        journal.append_event("started", {}, 1.0)
        journal.append(outcomes)
    return load(root)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_list_of_trials_has_those_that_failed_last_whatever_they_reported(
    tmp_path: Path, mode: str
) -> None:
    sign = 1 if mode == "min" else -1
    results = make_run(
        tmp_path / "x",
        [
            outcome(0, 0, 0, [sign * 0.5]),
            outcome(1, 0, 0, [sign * 0.1], status=Status.FAILED, error="boom"),
            outcome(2, 0, 0, [sign * 0.4]),
            outcome(3, 0, 0, [math.nan], status=Status.DIVERGED),
        ],
        mode=mode,
    )
    assert select(results, None, None)["trial"].tolist() == [2, 0, 1, 3]
    assert select(results, None, "-value")["trial"].tolist()[0] == (0 if mode == "min" else 1)


# ---------------------------------------------------------------------------- lives


def test_what_a_run_took_and_how_busy_it_was_count_over_its_lives_only(tmp_path: Path) -> None:
    root = tmp_path / "x"
    make_run(root, [], space="{lr: {uniform: [0, 1]}}")
    hour, paths = 3600.0, RunPaths(root)
    with Journal.open(paths.journal) as journal:
        journal.append_event("start", {}, 1000.0)
        journal.append([outcome(0, 0, 0, [0.9], seconds=8.0, worker="w-0", finished_at=1010.0)])
        journal.append_event("end", {"ending": "paused"}, 1010.0)
        journal.append_event("edit", {}, 1000.0 + hour)  # between two lives
        journal.append_event("start", {}, 1000.0 + hour)  # this one is killed after its last outcome
        journal.append([outcome(1, 0, 0, [0.8], seconds=6.0, worker="w-1", finished_at=1010.0 + hour)])
        journal.append_event("start", {}, 1000.0 + 2 * hour)
        journal.append([outcome(2, 0, 0, [0.7], seconds=4.0, worker="w-0", finished_at=1006.0 + 2 * hour)])
        journal.append_event("end", {"ending": "complete"}, 1007.0 + 2 * hour)
    digest = load(root).digest
    assert digest.lives.count == 3
    assert digest.took_s == pytest.approx(8 + 10 + 6)
    assert digest.ended.tolist() == [1010.0, 1020.0, 1026.0]
    assert utilisation(digest) == (pytest.approx(1.0), pytest.approx(18 / hour), 2)
    assert compare([load(root), load(root)])[0].wall_s == pytest.approx(24)
    took = next(tile for tile in content_of(load(root)).tiles if tile.label == "took")
    assert (took.value, took.below) == ("24s", "in 3 lives, without the time between")
    note = "Of its 3 lives, without the time between them."
    figures = load(root).plot
    assert note in figures.timeline().layout.meta["note"]
    assert max(figures.progress().data[1].x) == pytest.approx(24)
    look = Follower(root).look(1e9)
    snapshot = look.snapshot
    assert (snapshot["seconds"], snapshot["life_s"], look.holder) == (pytest.approx(10 + 10 + 7), 7.0, None)


# ---------------------------------------------------------------------------- the winner


def test_the_best_is_the_best_of_those_trained_longest(tmp_path: Path) -> None:
    results = make_run(
        tmp_path / "x",
        [
            outcome(0, 0, 0, [0.9]),
            outcome(1, 0, 0, [0.1]),  # the lowest loss, but after one iteration only
            outcome(2, 0, 0, [0.8]),
            outcome(0, 1, 1, [0.7, 0.5]),
            outcome(2, 1, 1, [0.2, 0.6]),
        ],
    )
    best = results.best
    assert (best.trial, best.value, best.iteration, best.config) == (0, 0.5, 3, {"lr": 0.0})
    assert (best.mean, best.interval, best.checkpoint) == (None, None, None)
    assert (
        make_run(tmp_path / "y", [outcome(k, 0, 0, [k / 10]) for k in range(4)], mode="max").best.trial == 3
    )


def test_nan_infinite_diverged_failed_and_lost_trials_are_never_best(tmp_path: Path) -> None:
    results = make_run(
        tmp_path / "x",
        [
            outcome(0, 0, 0, [math.nan]),
            outcome(1, 0, 0, [-math.inf]),
            outcome(2, 0, 0, [-5.0], status=Status.DIVERGED),
            outcome(3, 0, 0, [-5.0], status=Status.FAILED, error="ValueError: x"),
            outcome(4, 0, 0, [-5.0], status=Status.LOST),
            outcome(5, 0, 0, [-5.0]),
            outcome(5, 1, 1, [], status=Status.FAILED, error="OSError: y"),
            outcome(6, 0, 0, [0.5]),
        ],
    )
    assert results.best.trial == 6


def test_a_checkpoint_is_given_if_it_is_there(tmp_path: Path) -> None:
    checkpoints = Checkpoints(RunPaths(tmp_path / "x").checkpoints)
    folder = checkpoints.path_for_new(segment_id(1, 0), "a")
    (folder / "model").write_text("weights")
    name = checkpoints.commit(folder)
    results = make_run(tmp_path / "x", [outcome(1, 0, 0, [0.5], checkpoint=name), outcome(2, 0, 0, [0.7])])
    assert results.best.checkpoint == checkpoints.path(name)
    checkpoints.delete([name])
    assert results.best.checkpoint is None


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ([], "no trial has ended yet"),
        (
            [
                outcome(k, 0, 0, [], status=Status.FAILED, error=f"ValueError: {k}", curve={})
                for k in range(3)
            ],
            r"no trial ended well: 3 of 3 failed\. The first error: ValueError: 0",
        ),
        (
            [outcome(0, 0, 0, [], status=Status.DIVERGED), outcome(1, 0, 0, [], status=Status.FAILED)],
            "1 of 2 failed, 1 diverged",
        ),
        (
            [outcome(0, 0, 0, [1.0], curve={"val_loss": [1.0]})],
            "unknown metric 'loss'; did you mean 'val_loss'",
        ),
    ],
)
def test_without_a_winner_best_says_why(tmp_path: Path, outcomes: list[Outcome], words: str) -> None:
    results = make_run(tmp_path / "x", outcomes)
    with pytest.raises(RunError, match=words):
        _ = results.best
    assert len(results.trials()) == len(outcomes)
    assert len(results.curves()) == sum(o.reached - o.segment.start for o in outcomes)


# ---------------------------------------------------------------------------- tables


@pytest.fixture
def forked(tmp_path: Path) -> Results:
    """Trial 1 forks from trial 0's second segment with another config; one segment was lost before."""
    both = {"loss": [0.8, 0.6], "acc": [0.1, 0.2]}
    return make_run(
        tmp_path / "forked",
        [
            outcome(0, 0, 0, [1.0, 0.9], {"lr": 0.1, "layers": 2, "opt": "sgd"}, seconds=2.0),
            outcome(0, 1, 2, [], {"lr": 0.1, "layers": 2, "opt": "sgd"}, status=Status.LOST, error="gone"),
            outcome(0, 1, 2, [0.8, 0.6], {"lr": 0.1, "layers": 2, "opt": "sgd"}, curve=both),
            outcome(1, 0, 4, [0.7], {"lr": 0.3, "net": {"p": 0.5, "sizes": (1, 2)}}, segment_id(0, 1)),
            outcome(1, 1, 5, [0.75, math.nan], {"lr": 0.3, "net": {"p": 0.5, "sizes": (1, 2)}}),
        ],
    )


def test_trials_have_their_last_value_their_best_and_their_config(forked: Results) -> None:
    trials = forked.trials()
    assert trials["trial"].tolist() == [0, 1]
    assert trials["status"].tolist() == ["completed", "completed"]
    assert trials["value"].tolist() == pytest.approx([0.6, math.nan], nan_ok=True)
    assert trials["best_value"].tolist() == [0.6, 0.7]
    assert trials["iterations"].tolist() == [4, 7]
    assert trials["segments"].tolist() == [2, 2]
    assert trials["seconds"].tolist() == [3.0, 2.0]
    assert trials["reason"].tolist() == ["rung 1", "rung 1"]
    assert trials["config.lr"].tolist() == [0.1, 0.3]
    assert trials["config.layers"].tolist() == [2, pd.NA]
    assert trials["config.opt"].tolist() == ["sgd", None]
    assert trials["config.net/p"].tolist() == pytest.approx([math.nan, 0.5], nan_ok=True)
    assert trials["config.net/sizes"].tolist() == [None, (1, 2)]


def test_segments_are_one_row_each_even_if_lost_first(forked: Results) -> None:
    segments = forked.segments()
    assert segments["segment"].tolist() == ["0.0", "0.1", "1.0", "1.1"]
    assert segments["status"].tolist() == ["completed"] * 4
    assert segments["parent"].tolist() == [pd.NA, segment_id(0, 0), segment_id(0, 1), segment_id(1, 0)]
    assert segments["start"].tolist() == [0, 2, 4, 5]
    assert segments["reached"].tolist() == [2, 4, 5, 7]
    assert segments["value"].tolist() == pytest.approx([0.9, 0.6, 0.7, math.nan], nan_ok=True)


def test_every_column_of_every_table_may_be_written_into(forked: Results) -> None:
    tables = (
        forked.segments,
        forked.trials,
        forked.curves,
        forked.lineage,
        lambda: forked.lineage(1),
        lambda: forked.schedule(1),
        lambda: forked.trials(finals=True),
    )
    for table in tables:
        frame, before = table(), table()
        for name in frame.columns:
            last = frame[name].iloc[-1]
            if not isinstance(last, (list, tuple)):  # which pandas would spread over rows
                frame.loc[frame.index == 0, name] = last
        assert before.equals(table())
    frame = forked.segments()
    frame.loc[frame["id"] == frame["id"][0], "seconds"] = 0.0
    assert frame["seconds"][0] == 0.0
    assert forked.segments()["seconds"][0] == 2.0


def test_curves_are_long_with_a_column_for_each_metric(forked: Results) -> None:
    curves = forked.curves()
    assert curves["trial"].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert curves["iteration"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    nan = math.nan
    assert curves["loss"].tolist() == pytest.approx([1.0, 0.9, 0.8, 0.6, 0.7, 0.75, nan], nan_ok=True)
    assert curves["acc"].tolist() == pytest.approx([nan, nan, 0.1, 0.2, nan, nan, nan], nan_ok=True)


def test_lineage_goes_from_the_root_to_the_leaf_across_a_fork(forked: Results) -> None:
    assert forked.lineage(1)["segment"].tolist() == ["0.0", "0.1", "1.0", "1.1"]
    assert forked.lineage(0)["segment"].tolist() == ["0.0", "0.1"]
    with pytest.raises(RunError, match=r"there is no trial 7; raysearch trials .*forked lists them"):
        forked.lineage(7)


def test_the_schedule_joins_segments_of_one_configuration(forked: Results) -> None:
    schedule = forked.schedule(1)
    assert schedule["start"].tolist() == [0, 4]
    assert schedule["stop"].tolist() == [4, 7]
    assert schedule["config.lr"].tolist() == [0.1, 0.3]


def test_tables_agree_with_a_slow_oracle_on_random_runs(tmp_path: Path) -> None:
    for case in range(15):
        rng = np.random.default_rng(case)
        outcomes = random_outcomes(rng)
        mode = ("min", "max")[case % 2]
        trials = make_run(tmp_path / str(case), outcomes, mode=mode).trials()
        for trial in trials.itertuples():
            mine = [o for o in outcomes if o.segment.trial == trial.trial]
            reported = [o for o in mine if o.curve.get("loss")]
            finite = [v for o in reported for v in o.curve["loss"] if math.isfinite(v)]
            pick = min if mode == "min" else max
            assert repr(trial.value) == repr(reported[-1].curve["loss"][-1] if reported else math.nan)
            assert repr(trial.best_value) == repr(pick(finite) if finite else math.nan)
            assert trial.iterations == max(o.reached for o in mine)
            assert trial.status == mine[-1].status.value
        assert len(trials) == len({o.segment.trial for o in outcomes})


def random_outcomes(rng: np.random.Generator) -> list[Outcome]:
    outcomes = []
    for trial in rng.permutation(12).tolist():
        at = 0
        for ordinal in range(int(rng.integers(1, 4))):
            n = int(rng.integers(0, 4))
            losses = rng.choice([0.5, 1.5, -2.0, math.nan, math.inf, -math.inf], n).tolist()
            status = Status(rng.choice(["completed", "failed", "diverged"]))
            curve = {"acc": losses, "loss": losses} if rng.random() < 0.3 else {"loss": losses}
            outcomes.append(outcome(trial, ordinal, at, losses, status=status, curve=curve if n else {}))
            at += max(n, 1)
    return outcomes


def test_results_of_a_run_that_goes_on_need_no_lock(tmp_path: Path) -> None:
    make_run(tmp_path / "x", [outcome(0, 0, 0, [0.5])])
    with Journal.open(RunPaths(tmp_path / "x").journal) as journal:
        journal.append([outcome(1, 0, 0, [0.4])])
        assert load(tmp_path / "x").best.trial == 1


def test_a_run_without_outcomes_has_empty_tables(tmp_path: Path) -> None:
    results = make_run(tmp_path / "x", [])
    for frame in (results.trials(), results.segments(), results.curves(), results.finals()):
        assert len(frame) == 0
    assert "trial" in results.trials().columns
    assert [event.kind for event in results.events()] == ["started"]


# ---------------------------------------------------------------------------- loading


def test_loading_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such folder"):
        load(tmp_path / "nowhere")
    make_run(tmp_path / "digits", [])
    with pytest.raises(RunError, match="not a run, it has no journal; runs in it: digits"):
        load(tmp_path)
    RunPaths(tmp_path / "digits").spec.write_text("metric: [")
    with pytest.raises(RunError, match=r"spec\.yaml: cannot be read"):
        load(tmp_path / "digits")
    RunPaths(tmp_path / "digits").spec.write_text("metric: loss\nmode: lowest\n")
    with pytest.raises(RunError, match="mode = 'lowest'; mode is min or max"):
        load(tmp_path / "digits")
    RunPaths(tmp_path / "digits").spec.unlink()
    assert Results(tmp_path / "digits", metric="loss", mode="max").spec == {}


def test_the_spec_is_at_hand(tmp_path: Path) -> None:
    results = make_run(tmp_path / "x", [], seed=3)
    assert results.spec == {"name": "x", "metric": "loss", "mode": "min", "seed": 3}
    assert (results.metric, results.mode) == ("loss", "min")


def test_pandas_and_scipy_are_imported_only_when_used() -> None:
    heavy = ("pandas", "scipy", "ray", "torch")
    script = f"import sys, raysearch.results; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---------------------------------------------------------------------------- the verdict


def finish(root: Path, losses: dict[tuple[str, int], list[float]], **spec: Any) -> Results:
    search = [outcome(k, 0, 0, [0.5 + k / 100]) for k in range(4)]
    finals = [
        final(source, seed, loss, role)
        for (role, source), values in losses.items()
        for seed, loss in enumerate(values)
    ]
    return make_run(root, [*search, *finals], **spec)


def test_after_a_finish_the_best_is_the_finalist_with_the_best_mean(tmp_path: Path) -> None:
    losses = {("finalist", 0): [0.7, 0.9, 0.8], ("finalist", 1): [0.6, 0.7, 0.65]}
    results = finish(tmp_path / "x", losses)
    best = results.best
    assert (best.trial, best.value, best.seeds) == (1, 0.51, 3)
    assert best.mean == pytest.approx(0.65)
    expected = stats.t.interval(0.95, 2, 0.65, stats.sem([0.6, 0.7, 0.65]))
    assert best.interval == pytest.approx(expected)
    assert len(results.trials()) == 4
    assert len(results.trials(finals=True)) == 10
    assert results.finals()["source"].tolist() == [0, 0, 0, 1, 1, 1]
    assert results.finals()["seed"].tolist() == [0, 1, 2, 0, 1, 2]
    assert "No gain can be stated: no baseline was given." in results.verdict().text


def test_a_winner_that_failed_later_in_the_search_has_the_value_of_before(tmp_path: Path) -> None:
    search = [
        outcome(1, 0, 0, [0.5]),
        outcome(1, 1, 1, [0.4, math.nan], status=Status.DIVERGED, error="loss was nan at iteration 3"),
        outcome(2, 0, 0, [0.6]),
        outcome(2, 1, 1, [], status=Status.FAILED, error="boom"),
    ]
    finals = [final(1, seed, 0.5 + seed / 10) for seed in range(2)]
    best = make_run(tmp_path, [*search, *finals]).best
    assert (best.trial, best.value, best.iteration, best.mean) == (1, 0.5, 1, pytest.approx(0.55))


def test_results_can_be_put_into_sets_and_dicts(forked: Results) -> None:
    again = load(forked.path)
    assert forked == again
    assert {forked, again} == {forked}


def test_a_clear_gain_is_called_one_and_equals_a_paired_t_test(tmp_path: Path) -> None:
    ours, theirs = [0.50, 0.61, 0.55, 0.52], [0.71, 0.80, 0.77, 0.70]
    verdict = finish(tmp_path / "x", {("finalist", 0): ours, ("baseline", 0): theirs}).verdict()
    paired = stats.ttest_rel(theirs, ours).confidence_interval(0.95)
    assert verdict.significant is True
    assert verdict.gain is not None
    assert (verdict.gain.low, verdict.gain.high) == pytest.approx((paired.low, paired.high))
    assert str(verdict) == (
        "Trial 0: loss 0.545 on 4 fresh seeds, 95% interval 0.46869 to 0.62131.\n"
        "Better than the baseline by 0.2 on 4 paired seeds, 95% interval 0.17095 to 0.22905."
    )


def test_noise_is_called_no_significant_gain(tmp_path: Path) -> None:
    losses = {("finalist", 0): [0.5, 0.8, 0.6], ("baseline", 0): [0.7, 0.6, 0.65]}
    verdict = finish(tmp_path / "x", losses).verdict()
    assert verdict.significant is False
    assert "No significant gain over the baseline: 0.016667 on 3 paired seeds" in verdict.text
    assert "the baseline is as good a choice" in verdict.text


def test_a_loss_to_the_baseline_is_said(tmp_path: Path) -> None:
    losses = {("finalist", 0): [0.50, 0.51, 0.50], ("baseline", 0): [0.80, 0.82, 0.81]}
    verdict = finish(tmp_path / "x", losses, mode="max").verdict()
    assert verdict.significant is False
    assert "Worse than the baseline: gain -0.30667" in verdict.text
    assert "Keep the baseline." in verdict.text


def test_the_pick_among_several_finalists_widens_the_interval() -> None:
    values = {0: 0.50, 1: 0.61, 2: 0.55}
    base = Contender("baseline", 9, {"lr": 9.0}, {0: 0.60, 1: 0.70, 2: 0.71})
    worse = [Contender("finalist", k, {}, {0: 1.0, 1: 1.1, 2: 1.2}) for k in (1, 2)]
    alone = judge([Contender("finalist", 0, {}, values), base], "loss", "min")
    picked = judge([Contender("finalist", 0, {}, values), *worse, base], "loss", "min")
    assert alone.gain is not None
    assert picked.gain is not None
    assert picked.gain == estimate([0.60 - 0.50, 0.70 - 0.61, 0.71 - 0.55], 1 - 0.05 / 3)
    assert picked.gain.low < alone.gain.low
    assert "allowing for the pick among 3" in picked.text
    assert [c.source for c in picked.contenders] == [0, 9, 1, 2]


def test_a_baseline_that_wins_is_said_to_have_won_and_stands_in_the_table_once() -> None:
    values = {0: 0.50, 1: 0.61, 2: 0.55}
    twin, base = Contender("finalist", 3, {"lr": 0.1}, values), Contender("baseline", 3, {"lr": 0.1}, values)
    other = Contender("finalist", 1, {"lr": 0.2}, {0: 1.0, 1: 1.1, 2: 1.2})
    verdict = judge([twin, other, base], "loss", "min")
    assert "The baseline won: trial 3 has its configuration, and no other did better." in verdict.text
    assert "no better than the baseline by 0" not in verdict.text
    assert (verdict.winner, verdict.gain, verdict.significant, verdict.baseline_won) == (
        twin,
        None,
        False,
        True,
    )
    assert [c.name for c in verdict.contenders] == ["the baseline", "trial 1"]
    assert verdict.better == "the baseline won"


def test_a_comparison_knows_of_a_gain_what_the_verdict_knows(tmp_path: Path) -> None:
    alike = {("finalist", 0): [0.5] * 3, ("baseline", 0): [0.7] * 3}
    results = [finish(tmp_path / "x", alike), make_run(tmp_path / "y", [outcome(0, 0, 0, [0.5])])]
    rows = {name: cells for name, *cells in rows_of(results, compare(results))}
    assert rows["better than its baseline"] == ["yes, on every seed alike", "not known"]


def test_seeds_that_change_nothing_are_said_and_make_no_interval(tmp_path: Path) -> None:
    losses = {("finalist", 0): [0.5] * 3, ("finalist", 1): [0.6] * 3, ("baseline", 0): [0.7] * 3}
    verdict = finish(tmp_path / "x", losses).verdict()
    assert (verdict.seeds_matter, verdict.significant) == (False, None)
    assert "It is better than the baseline by 0.2 on every seed alike." in verdict.text
    assert "Seeds change nothing" in verdict.text
    assert "interval 0" not in verdict.text


def test_one_seed_says_nothing_of_noise(tmp_path: Path) -> None:
    results = finish(tmp_path / "x", {("finalist", 0): [0.5], ("baseline", 0): [0.7]})
    verdict = results.verdict()
    assert (verdict.gain, verdict.significant, verdict.seeds_matter) == (None, None, None)
    assert "fewer than two seeds" in verdict.text
    assert results.best.interval is None


def test_a_finalist_that_diverged_once_ranks_behind_those_that_never_did(tmp_path: Path) -> None:
    losses = {("finalist", 0): [0.1, math.nan, 0.1], ("finalist", 1): [0.6, 0.7, 0.65]}
    results = finish(tmp_path / "x", losses)
    assert results.best.trial == 1
    assert "1 of 3 trainings of trial 0 failed or diverged" in results.verdict().text


def test_when_all_finals_failed_the_verdict_says_so_and_the_search_names_the_best(tmp_path: Path) -> None:
    failure = {"status": Status.FAILED, "curve": {}}
    finals = [final(0, k, 0.0, **failure, error=f"RuntimeError: out of memory {k}") for k in range(3)]
    results = make_run(tmp_path / "x", [outcome(0, 0, 0, [0.5]), *finals])
    assert results.verdict().text == (
        "All 3 trainings of the finalists failed or diverged, so there is no winner."
        " The first error: RuntimeError: out of memory 0"
    )
    assert (results.best.trial, results.best.mean) == (0, None)


def test_an_earlier_shorter_finish_does_not_count(tmp_path: Path) -> None:
    short = [final(0, k, 0.1 * (k + 1)) for k in range(3)]
    long = [final(1, k, 0.2 + 0.1 * k, stop=3) for k in range(3)]
    results = make_run(tmp_path / "x", [outcome(0, 0, 0, [0.5]), outcome(1, 0, 0, [0.6]), *short, *long])
    assert [c.source for c in results.verdict().contenders] == [1]
    assert results.best.mean == pytest.approx(0.3)
    assert len(results.finals()) == 6


@pytest.mark.parametrize(
    ("trial", "name"),
    [
        (0, "0"),
        (17, "17"),
        ((1 << 32) + 17, "17b"),
        ((4 << 32) + 2, "2e"),
        ((1 << 40) + 3, str((1 << 40) + 3)),
    ],
)
def test_a_trial_that_took_over_a_number_has_a_name_that_can_be_read_and_typed(trial: int, name: str) -> None:
    assert trial_name(trial) == name
    assert trial_number(name) == trial
    assert segment_label(segment_id(trial, 2)) == f"{name}.2"
    for wrong in ("b", "", "1bb", "-1b", "x7"):
        with pytest.raises(ValueError, match="invalid literal"):
            trial_number(wrong)


def test_screens_and_sinks_show_the_names_of_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = outcome((1 << 32) + 17, 0, 0, [0.5])
    results = make_run(tmp_path / "x", [outcome(17, 0, 0, [0.6]), again], strategy="{name: panda}")
    for words in (["trials"], ["best"], ["lineage"], ["status"], ["lineage", "--trial", "17b"]):
        assert main([words[0], str(tmp_path / "x"), *words[1:]]) == 0
        shown = capsys.readouterr().out
        assert "17b" in shown
        assert "4294967313" not in shown
    report = next(s for s in content_of(results).sections if s.key == "trials")
    assert [row[0] for row in report.tables[0].rows] == ["17b", "17"]
    send(tmp_path / "x", ["tensorboard"])
    folders = {p.name for p in (tmp_path / "x" / "tensorboard").iterdir()}
    assert folders == {"member-17", "member-17b"}
    assert main(["export", str(tmp_path / "x"), "--trial", "b"]) == 2
    assert "'b' is no trial; they are like 17, or 17b" in capsys.readouterr().err


def test_one_model_that_was_raised_is_not_called_the_best_of_many(tmp_path: Path) -> None:
    runs = {
        population: make_run(
            tmp_path / f"x{population}",
            [outcome(0, 0, 0, [0.5])],
            strategy=f"{{name: panda, population: {population}}}",
        )
        for population in (1, 4)
    }
    assert "what one model came to in one training, picked from no others" in str(runs[1].verdict())
    assert "the best of 4 models that were raised, so it is a little optimistic" in str(runs[4].verdict())
    assert next(t.below for t in content_of(runs[1]).tiles) == "of one training"


def test_without_finals_the_verdict_warns_of_the_optimistic_value(tmp_path: Path) -> None:
    verdict = make_run(tmp_path / "x", [outcome(0, 0, 0, [0.5])]).verdict()
    assert "No finals were run" in verdict.text
    assert verdict.winner is None
