"""`objectives` and `limits` of a spec: what is refused before anything starts, and whole searches inline."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray import tune

import raysearch
from raysearch.cli.launch import _with_space
from raysearch.cli.result_text import weights_of
from raysearch.cli.status import about_run
from raysearch.core.segment import Event, Mode, Outcome, Segment, Status
from raysearch.errors import LocatedError, RunError, SpecError
from raysearch.report.compare import compare, rows_of
from raysearch.report.report import write_report
from raysearch.report.sections.headline import headline_of
from raysearch.report.standing import Phase, Standing
from raysearch.results.front import Front, FrontMember
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.spec import load_spec, make_spec
from raysearch.strategies.finish import Finish
from raysearch.strategies.panda import Panda
from raysearch.strategies.two_stage import TwoStage
from raysearch.testing import worlds

BASE: dict[str, Any] = {
    "trainable": "raysearch.examples.function:train",
    "space": {"width": {"uniform": [0.0, 1.0]}, "waste": {"uniform": [0.0, 1.0]}},
    "strategy": {"name": "caviar", "samples": 12, "max_iterations": 3, "sampler": "sobol"},
}
TWO: dict[str, Mode] = {"loss": "min", "latency": "min"}
LOSS = {"metric": "loss", "mode": "min"}


def spec_of(**settings: Any) -> raysearch.SearchSpec:
    return make_spec(**{**BASE, **settings})


# ---- the spec


def test_the_first_objective_leads() -> None:
    spec = spec_of(objectives={"loss": "min", "accuracy": "max"}, limits=["latency <= 20"])
    assert (spec.metric, spec.mode) == ("loss", "min")
    assert dict(spec.goals.modes) == {"loss": "min", "accuracy": "max"}
    assert [limit.text for limit in spec.goals.limits] == ["latency <= 20"]


def test_one_objective_is_metric_and_mode() -> None:
    one, plain = spec_of(objectives={"loss": "max"}), spec_of(metric="loss", mode="max")
    assert one == plain
    assert one.to_yaml() == plain.to_yaml()
    assert "objectives" not in one.to_dict()
    assert "limits" not in one.to_dict()


def test_a_spec_with_objectives_and_limits_comes_back_from_its_yaml(tmp_path: Path) -> None:
    spec = spec_of(objectives=TWO, limits="memory < 16 and latency <= 20", name="two")
    (tmp_path / "two.yaml").write_text(spec.to_yaml())
    again = load_spec(tmp_path / "two.yaml")
    assert again == spec
    assert list(again.objectives) == ["loss", "latency"]


@pytest.mark.parametrize(
    ("settings", "place", "words"),
    [
        ({"objectives": TWO, "mode": "min"}, "mode", "stands beside objectives"),
        ({"objectives": TWO, "metric": "loss"}, "metric", "stands beside objectives"),
        ({"objectives": {}}, "objectives", "must be a mapping of metrics to min or max"),
        ({"objectives": ["loss"]}, "objectives", "must be a mapping of metrics to min or max"),
        ({"objectives": {"loss": "least"}}, "objectives", "loss: unknown mode 'least'"),
        ({"objectives": {"pid": "min"}}, "objectives", "is Ray Tune's own entry"),
        ({"objectives": {3: "min"}}, "objectives", "must be text, not 3"),
        (
            {"metric": "loss", "mode": "min", "limits": ["width <= 1"]},
            "limits[0]",
            "'width <= 1': width is a hyper",
        ),
        (
            {"metric": "loss", "mode": "min", "limits": ["a < 1", "1 < 2"]},
            "limits",
            "names no reported value",
        ),
        ({"metric": "loss", "mode": "min", "limits": {"a": 1}}, "limits", "must be a list such as"),
        ({"metric": "loss", "mode": "min", "limits": ["a < 1", "a < 1"]}, "limits", "a limit is given twice"),
        (
            {"metric": "loss", "mode": "min", "limits": ["time_total_s < 1"]},
            "limits",
            "is Ray Tune's own entry",
        ),
        (
            {"metric": "loss", "mode": "min", "limits": ["depth < 1"], "config": {"depth": 3}},
            "limits[0]",
            "depth is a constant",
        ),
        ({"limits": ["latency <= 20"]}, "metric", "is missing"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_place(
    settings: dict[str, Any], place: str, words: str
) -> None:
    with pytest.raises(LocatedError) as caught:
        spec_of(**settings)
    assert caught.value.place == place
    assert words in caught.value.text


def test_an_objective_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("objectives:\n  loss: min\n  loss: max\n")
    with pytest.raises(SpecError, match="'loss' is given twice; it stands on line 2 already"):
        load_spec(tmp_path / "s.yaml")


@pytest.mark.parametrize("name", ["panda", "two_stage"])
def test_a_raised_model_needs_limits_on_the_objectives_after_the_first(name: str) -> None:
    sizes = {"max_iterations": 9, **({"samples": 4} if name == "two_stage" else {})}
    strategy = {"name": name, **sizes}
    with pytest.raises(SpecError, match="give limits for latency, such as 'latency <= 20'"):
        spec_of(objectives=TWO, strategy=strategy).started()
    assert spec_of(objectives=TWO, limits=["latency <= 20"], strategy=strategy).started().ask(1)


def test_a_strategy_that_compares_by_one_metric_says_so() -> None:
    config = {"width": 0.5, "waste": 0.5}
    challengers = [{"config": {"width": 0.6, "waste": 0.5}, "why": "wider"}]
    retest = {"name": "retest", "max_iterations": 9, "challengers": challengers}
    with pytest.raises(SpecError, match="strategy retest compares by one metric, and there are 2 objectives"):
        spec_of(objectives=TWO, strategy=retest, baseline=config).started()
    with pytest.raises(SpecError, match="strategy retest knows no limits"):
        spec_of(metric="loss", mode="min", limits="a < 1", strategy=retest, baseline=config).started()


# ---- panda keeps to limits


SPACE = Space.from_dict({"lr": {"loguniform": [1e-3, 1.0]}})


def costly(segment: Segment) -> Outcome:
    """A loss that falls with the learning rate, and a latency that grows with it."""
    lr = segment.config["lr"]
    span = range(segment.start + 1, segment.stop + 1)
    curve = {
        "loss": [2.0 - math.log10(lr * 1e3) + 1.0 / i for i in span],
        "latency": [100 * lr for _ in span],
    }
    return Outcome(segment, Status.COMPLETED, curve, checkpoint=f"c{segment.id}", seconds=1.0)


def raised(recipe: Any, *limits: str) -> list[Outcome]:
    goals = Objectives({"loss": "min"}, tuple(map(Limit, limits)))
    begun = recipe.start(SPACE, metric="loss", mode="min", seed=1, baseline={"lr": 0.05}, objectives=goals)
    return worlds.run(begun, costly, free=2)


@pytest.mark.parametrize(
    "recipe",
    [
        Panda(max_iterations=40, interval=5),
        Panda(max_iterations=40, interval=3, population=4, exploit="challenge"),
    ],
    ids=["one", "challenge"],
)
def test_a_nudge_that_breaks_a_limit_is_rejected_with_its_numbers(recipe: Panda) -> None:
    def accepted(told: list[Outcome]) -> list[float]:
        return [o.segment.config["lr"] for o in told if o.segment.event is Event.ACCEPT]

    assert max(accepted(raised(recipe))) > 0.2
    told = raised(recipe, "latency <= 20")
    assert all(lr <= 0.2 for lr in accepted(told))
    rejected = [o.segment.reason for o in told if "breaks latency <= 20 (latency " in o.segment.reason]
    assert rejected


def test_members_beyond_limits_rank_behind_those_within() -> None:
    told = raised(Panda(max_iterations=24, population=8, interval=2), "latency <= 20")
    clones = [o.segment.reason for o in told if o.segment.event is Event.CLONE]
    last = [o for o in told if o.segment.stop == 24]
    assert clones
    assert min(o.curve["latency"][-1] for o in last) <= 20


def test_both_stages_keep_to_the_limits() -> None:
    told = raised(TwoStage(samples=12, max_iterations=18, sampler="sobol"), "latency <= 20")
    first = next(o for o in told if o.segment.trial >= 1 << 34)
    assert first.curve["latency"][-1] <= 20


# ---- whole searches


def model(config: dict[str, Any]) -> None:
    """Loss falls with width, latency grows with it; waste makes both worse."""
    for i in range(1, 4):
        loss = 1 - config["width"] + config["waste"] + 1 / i
        tune.report({"loss": loss, "latency": 40 * config["width"] + config["waste"]})


def silent(config: dict[str, Any]) -> None:
    for _ in range(3):
        tune.report({"loss": config["width"]})


def broken(config: dict[str, Any]) -> None:
    for _ in range(3):
        tune.report({"loss": config["width"], "latency": math.nan})


def found(trainable: Any, tmp_path: Path, **settings: Any) -> raysearch.Results:
    strategy = raysearch.Caviar(samples=12, max_iterations=3, sampler="sobol", finish=Finish(top=3, seeds=2))
    given = {"space": BASE["space"], "strategy": strategy, "storage": tmp_path, "name": "run", **settings}
    return raysearch.search(trainable, executor="inline", progress=False, checks=False, retries=0, **given)


def test_an_objective_that_is_never_reported_ends_the_search_with_the_names_that_were(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        found(silent, tmp_path, objectives=TWO)
    why = "objective 'latency' was not reported in iterations 1 to 1: unknown metric 'latency'; known: loss"
    assert why in str(caught.value)


def test_a_limit_on_what_is_never_reported_names_the_limit(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        found(model, tmp_path, **LOSS, limits=["latncy <= 20"])
    assert "'latncy' of the limit 'latncy <= 20' was not reported" in str(caught.value)
    assert "did you mean 'latency'?" in str(caught.value)


def test_an_objective_that_is_nan_makes_a_trial_diverge(tmp_path: Path) -> None:
    results = found(broken, tmp_path, objectives=TWO)
    assert set(results.trials()["status"]) == {"diverged"}
    assert set(results.trials()["error"]) == {"latency was nan at iteration 1, and never finite"}
    assert results.front.members == ()
    with pytest.raises(RunError, match="12 diverged"):
        _ = results.best


# ---- results


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> raysearch.Results:
    """A search of two objectives with a baseline that several of its trials dominate."""
    config = {"width": 0.5, "waste": 0.9}
    return found(noisy, tmp_path_factory.mktemp("two"), objectives=TWO, baseline=config, seed_as="seed")


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> raysearch.Results:
    return found(model, tmp_path_factory.mktemp("limited"), **LOSS, limits=["latency <= 20"])


def noisy(config: dict[str, Any]) -> None:
    """As `model`; the seed moves the loss a little."""
    rng = random.Random(config["seed"])
    for i in range(1, 4):
        loss = 1 - config["width"] + config["waste"] + 1 / i + 0.01 * rng.random()
        tune.report({"loss": loss, "latency": 40 * config["width"] + config["waste"]})


def test_the_front_of_a_search_has_the_trials_that_the_finish_found_undominated(
    two: raysearch.Results,
) -> None:
    front = two.front
    assert front.certified
    assert 1 <= len(front) <= 4  # three finalists and the baseline
    points = [(m.values["loss"], m.values["latency"]) for m in front]
    assert points == sorted(points)
    assert [p[1] for p in points] == sorted((p[1] for p in points), reverse=True)
    assert all(m.seeds == 2 and m.estimates["latency"].n == 2 for m in front)


def test_the_best_of_several_objectives_is_the_knee_and_the_verdict_is_the_front(
    two: raysearch.Results,
) -> None:
    assert two.best.trial == two.front.pick().trial
    assert two.best.seeds == 2
    verdict = two.verdict()
    assert verdict.text.startswith(f"The front has {len(two.front)} member")
    assert verdict.gain is None
    assert not verdict.keeps_baseline
    assert verdict.winner is not None
    assert "; loss leads." in verdict.text


def test_a_front_is_picked_from_by_condition_and_by_weights(two: raysearch.Results) -> None:
    front = two.front
    assert front.pick(weights={"loss": 9, "latency": 0}) == front[0]
    assert front.pick(weights={"loss": 0}) == front[-1]
    least = min(m.values["latency"] for m in front)
    assert front.pick(where=f"latency < {least + 1e-9}").values["latency"] == least
    width = front[0].config["width"]
    assert front.pick(where=f"config.width >= {width} and waste < 2", weights={"latency": 5}) == front[0]


@pytest.mark.parametrize(
    ("picked", "words"),
    [
        ({"where": "latency < 0"}, "no member of the front meets it: trial"),
        ({"where": "latncy < 20"}, "unknown name 'latncy'; did you mean 'latency'"),
        ({"weights": {"memory": 1.0}}, "--weights: unknown objective 'memory'"),
        ({"weights": {"loss": -1.0}}, "must be a number from 0"),
        ({"weights": {"loss": math.nan}}, "must be a number from 0"),
        ({"weights": {"loss": 0.0, "latency": 0.0}}, "at least one objective must count"),
    ],
)
def test_a_pick_that_makes_no_sense_is_refused(
    two: raysearch.Results, picked: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        two.front.pick(**picked)


def test_a_run_of_several_objectives_loads_with_the_leading_one_as_its_metric(two: raysearch.Results) -> None:
    again = raysearch.load(two.path)
    assert (again.metric, again.mode) == ("loss", "min")
    assert dict(again.goals.modes) == TWO
    assert [m.trial for m in again.front] == [m.trial for m in two.front]


def test_a_run_of_several_objectives_goes_on_with_more_samples(
    two: raysearch.Results, tmp_path: Path
) -> None:
    run = shutil.copytree(two.path, tmp_path / "run")
    strategy = raysearch.Caviar(samples=14, max_iterations=3, sampler="sobol", finish=Finish(top=3, seeds=2))
    before = len(two.segments())
    results = raysearch.resume(run, raysearch.How("inline", progress=False), strategy=strategy)
    assert len(results.trials()) == 14
    assert len(results.segments()) > before


def test_the_best_within_limits_is_within_them_and_the_verdict_says_so(limited: raysearch.Results) -> None:
    assert limited.best.config["width"] * 40 + limited.best.config["waste"] <= 20
    trials = limited.trials()
    ended = trials[trials["iterations"] == 3]
    within = ended[ended["config.width"] * 40 + ended["config.waste"] <= 20]
    assert limited.best.trial == within.sort_values("value")["trial"].iloc[0]
    assert limited.verdict().winner is not None


def test_limits_that_nothing_meets_name_the_nearest(tmp_path: Path) -> None:
    results = found(model, tmp_path, **LOSS, limits=["latency <= 0.001"])
    with pytest.raises(
        RunError, match=r"No trial meets the limits; the nearest is trial \d+, [\d,.e]+% beyond: "
    ):
        _ = results.best
    assert "No finalist meets the limits on fresh seeds." in results.verdict().text
    assert "latency <= 0.001 (latency " in results.verdict().text


def test_members_that_the_finish_cannot_tell_apart_are_named_together() -> None:
    goals = Objectives({"a": "min", "b": "min"})
    members = tuple(FrontMember(i, {}, {"a": float(i), "b": -float(i)}, seeds=3) for i in range(4))
    front = Front(members, goals, certified=True, alike=((0, 1), (0, 2), (1, 2)))
    assert "Trial 0, trial 1 and trial 2 cannot be told apart." in front.text()
    assert "trial 3 cannot" not in front.text()
    assert "Every two of them are apart" in Front(members, goals, certified=True).text()


# ---- readers


def run_of(*words: str) -> str:
    from typer.testing import CliRunner

    from raysearch.cli import app

    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.output
    return result.output


def test_best_shows_the_front_and_takes_the_member_that_weights_pick(two: raysearch.Results) -> None:
    run = str(two.path)
    assert f"The front has {len(two.front)} member" in run_of("best", run)
    told = json.loads(run_of("best", run, "--json"))
    assert told["objectives"] == TWO
    assert [one["trial"] for one in told["front"]] == [m.trial for m in two.front]
    picked = json.loads(run_of("best", run, "--weights", "loss=9,latency=0", "--json"))
    assert picked["trial"] == two.front[0].trial
    text = run_of("best", run, "--weights", "loss=9,latency=0")
    assert f"raysearch export {run} --trial {two.front[0].trial} --config -o taken.yaml" in " ".join(
        text.split()
    )


@pytest.mark.parametrize("weights", ["loss", "loss=many", "loss=1,loss=2", "=1"])
def test_weights_that_cannot_be_read_are_refused(two: raysearch.Results, weights: str) -> None:
    with pytest.raises(SpecError, match="--weights"):
        weights_of(weights)


def test_a_member_of_the_front_is_exported_by_its_trial(two: raysearch.Results) -> None:
    member = next(m for m in two.front if not m.is_baseline)
    text = run_of("export", str(two.path), "--trial", str(member.trial), "--config")
    assert yaml.safe_load(text)["width"] == member.config["width"]


def test_tables_of_trials_have_a_column_for_each_objective(
    two: raysearch.Results, limited: raysearch.Results
) -> None:
    frame = two.trials()
    assert frame.columns[2:7].tolist() == ["value", "best_value", "latency", "front", "iterations"]
    assert "violation" not in frame.columns
    within = limited.trials()
    assert ((within["latency"] <= 20) == (within["violation"] == 0)).all()
    listed = json.loads(run_of("trials", str(limited.path), "--json"))
    beyond = [row["violation"] > 0 for row in listed]
    assert beyond == sorted(beyond)
    assert "latency" in run_of("trials", str(two.path))


def test_a_display_says_what_the_value_it_shows_leaves_out(
    two: raysearch.Results, limited: raysearch.Results
) -> None:
    assert about_run(two.path).better == "lower is better; leads 2 objectives"
    assert about_run(limited.path).better == "lower is better; bests are within the limits"
    assert two.digest.better == "lower is better; leads 2 objectives"


def test_the_best_of_a_status_is_within_the_limits(limited: raysearch.Results) -> None:
    status = json.loads(run_of("status", str(limited.path), "--json"))
    config = status["best"]["config"]
    assert 40 * config["width"] + config["waste"] <= 20


def test_the_report_of_several_objectives_is_headed_by_the_front(two: raysearch.Results) -> None:
    headline, tone = headline_of(two, two.best, Standing(Phase.COMPLETE))
    front = f"A front of {len(two.front)} configurations in loss and latency, on fresh seeds"
    assert headline.startswith(f"{front}; the knee, {two.front.pick().name}, has loss ")
    assert tone == "good"
    assert "The front has" in write_report(two)


def test_runs_that_search_for_different_objectives_are_not_compared(
    two: raysearch.Results, limited: raysearch.Results
) -> None:
    with pytest.raises(RunError, match=r"min loss, min latency, .*min loss, latency <= 20"):
        compare([two, limited])
    rows = {row[0] for row in rows_of([two, two], compare([two, two]))}
    assert "best loss (leads 2 objectives)" in rows


PLAIN = {"metric": "loss", "mode": "max"}


@pytest.mark.parametrize(
    "given",
    [
        {"objectives": {"loss": "min", "cost": "max"}},
        PLAIN,
        {**PLAIN, "limits": ["latency <= 20"], "stop_when": {"gain_below": 0.01, "cost": 2}},
        {**PLAIN, "scale": {"size": 64, "target": 256, "dimensions": {"size": "width"}}},
        {**PLAIN, "quota": "2 GB", "workers": {"count": 2, "cpu": 2}, "stall_timeout": "10m", "retries": 3},
    ],
    ids=lambda given: ",".join(given),
)
def test_a_resume_with_another_space_keeps_all_else(tmp_path: Path, given: dict[str, Any]) -> None:
    spec = make_spec(**BASE, **given)
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump({"width": {"uniform": [0.0, 0.5]}, "waste": {"uniform": [0.0, 1.0]}}))
    wider = _with_space(spec, file)
    assert wider.space != spec.space
    changed = {name for name, value in wider.to_dict().items() if value != spec.to_dict()[name]}
    assert changed == {"space"}
