"""What going on would gain, and `stop_when`: the forecast, the rule, and a search that it ends."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import trainables
from rich.console import Console

import raysearch
from raysearch.bench import stopping
from raysearch.bench.support.stopping import Whole, stop_of, stopped_at
from raysearch.cli import main
from raysearch.core.budget import Budget
from raysearch.core.segment import Mode, Outcome, Role, Segment, Status, segment_id
from raysearch.core.stop_when import CostRate, CostUnit, StopWhen
from raysearch.engine.limits import Limits
from raysearch.engine.search import Search
from raysearch.engine.wind_down import Ended, Ending, ended_of, more_of
from raysearch.errors import SpecError
from raysearch.executors.simulated import Table
from raysearch.report.sections.content import content_of
from raysearch.results.gain_forecast import last_forecast
from raysearch.run.display.panel import Screen
from raysearch.run.display.status_text import About
from raysearch.space import Space
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives
from raysearch.spec import make_spec
from raysearch.strategies.gain_forecast.forecast import SCALE, GainForecast, tail_scale
from raysearch.strategies.gain_forecast.record import LEAST_FULL, SearchRecord
from raysearch.strategies.gain_forecast.stopping import GainWatch
from raysearch.tracking.artifacts import _facts

SPACE = Space.from_dict({"rate": {"uniform": [0.0, 1.0]}})
RULE = {"gain_below": 0.01, "cost": {"hours": 1.0}}


def spec(**fields: Any) -> raysearch.SearchSpec:
    caviar = {"name": "caviar", "samples": 9, "max_iterations": 9}
    usual = {"trainable": trainables.Walk, "space": SPACE, "metric": "loss", "mode": "min"}
    return make_spec(**{**usual, "strategy": caviar, **fields})


def outcome(trial: int, value: float, stop: int = 9, at: float = 0.0, **more: Any) -> Outcome:
    """A trial trained from the start to `stop` in one hour."""
    segment = Segment(segment_id(trial, 0), trial, None, {}, 0, stop, 0, "", more.pop("role", Role.SEARCH))
    fields = {"status": Status.COMPLETED, "curve": {"loss": [value] * stop}, "seconds": 3600.0, **more}
    return Outcome(segment, finished_at=at, **fields)


def record(*outcomes: Outcome, mode: Mode = "min", limits: tuple[Limit, ...] = ()) -> SearchRecord:
    found = SearchRecord(Objectives({"loss": mode}, limits), horizon=9, eta=3)
    for one in outcomes:
        found.tell(one)
    return found


# ---- the field


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"gain_below": 0.002, "cost": 5}, StopWhen(0.002, 5.0, CostUnit.DEVICE_HOURS)),
        ({"gain_below": "1%", "cost": {"hours": 2}}, StopWhen(0.01, 2.0, CostUnit.HOURS, relative=True)),
        ({"gain_below": "1e-3", "cost": {"cpu_hours": 2}}, StopWhen(0.001, 2.0, CostUnit.CPU_HOURS)),
        (StopWhen(0.1, 5.0), StopWhen(0.1, 5.0)),
        ("off", None),
        (False, None),
        (None, None),
    ],
)
def test_a_rule_is_read_and_comes_back_from_the_text_of_its_spec(
    given: Any, rule: StopWhen | None, tmp_path: Path
) -> None:
    made = spec(stop_when=given)
    assert made.stop_when == rule
    (tmp_path / "spec.yaml").write_text(made.to_yaml())
    assert raysearch.load_spec(tmp_path / "spec.yaml").stop_when == rule


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (5, r"stop_when: must be off, or a mapping such as {gain_below: 0.002, .*not 5"),
        ({"cost": 5}, "stop_when: gain_below is missing"),
        ({"gain_below": 0.1}, "stop_when: cost is missing"),
        ({"gain_belw": 0.1, "cost": 5}, "stop_when.gain_belw: unknown field 'gain_belw'; did you mean"),
        ({"gain_below": 0, "cost": 5}, "stop_when.gain_below: must be above zero, not 0"),
        ({"gain_below": "120%", "cost": 5}, "stop_when.gain_below: must be above 0% and below 100%"),
        ({"gain_below": "x%", "cost": 5}, "stop_when.gain_below: 'x%' is neither a number nor a percentage"),
        ({"gain_below": math.nan, "cost": 5}, "stop_when.gain_below: .*finite"),
        ({"gain_below": 0.1, "cost": -1}, "stop_when.cost: must be above zero"),
        ({"gain_below": 0.1, "cost": {"gpu_hour": 1}}, "stop_when.cost.gpu_hour: .*mean 'gpu_hours'"),
        ({"gain_below": 0.1, "cost": {"hours": 1, "kwh": 1}}, "stop_when.cost: must be a number of device"),
        ({"gain_below": 0.1, "cost": {"gpu_hours": 1}}, "stop_when.cost.gpu_hours: no worker holds a GPU"),
        ({"gain_below": 0.1, "cost": {"money": 1}}, r"cost.money: nothing .* has a price \(.*: none\)"),
        ({"gain_below": 0.1, "cost": {"kwh": 1}}, r"cost.kwh: nothing .* has a power \(.*: none\)"),
    ],
)
def test_a_wrong_rule_says_where_it_is_wrong_and_what_is_allowed(given: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        spec(stop_when=given)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"strategy": {"name": "panda", "max_iterations": 9}}, "panda cannot be ended by a forecast; caviar"),
        ({"metric": None, "mode": None, "objectives": {"a": "min", "b": "min"}}, "several objectives"),
    ],
)
def test_what_has_no_forecast_refuses_the_rule(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=f"stop_when: .*{words}"):
        spec(**fields, stop_when=RULE)


def test_a_cost_is_the_same_work_in_every_unit() -> None:
    budget = Budget(prices={"hour": 1.0, "gpu_hour": 2.0}, power={"gpu": 300.0, "worker": 100.0})
    rate = CostRate(cpus=4.0, gpus=0.5, budget=budget)
    costs = rate.of(8 * 3600.0, width=4.0)
    assert {unit.value: round(amount, 9) for unit, amount in costs.items()} == {
        "device_hours": 4.0,  # two workers share a GPU
        "hours": 2.0,
        "gpu_hours": 4.0,
        "cpu_hours": 32.0,
        "money": 1.0 * 2 + 2.0 * 4,
        "kwh": (300 * 4 + 100 * 8) / 1000,
    }
    for unit, amount in costs.items():
        assert rate.worker_seconds(amount, unit, width=4.0) == pytest.approx(8 * 3600.0)
    assert rate.worker_seconds(1.0, CostUnit.MONEY, 1.0) < math.inf
    assert CostRate(1.0, 0.0, Budget()).worker_seconds(1.0, CostUnit.MONEY, 1.0) == math.inf


# ---- the forecast


def test_its_chances_are_those_of_random_draws() -> None:
    """The oracle: draws from an exponential tail, of which the forecast sees the first 40."""
    rng = np.random.default_rng(3)
    better, held, beyond = 0, 0, 0
    for _ in range(2000):
        draws = -rng.exponential(0.1, 60)
        best, gained = np.sort(draws[:40]), draws[:40].min() - draws.min()
        found = GainForecast(tail_scale([*best[:12]]) / SCALE, 20 / 40)
        low, high = found.interval()
        better += gained > 0
        held += low <= gained <= high
        beyond += gained > found.quantile(0.95)
    assert better / 2000 == pytest.approx(20 / 60, abs=0.03)
    assert 0.83 < held / 2000 < 0.95  # the scale itself is estimated, from eleven gaps
    assert 0.03 < beyond / 2000 < 0.09


def test_the_scale_heeds_no_outlier_and_sees_past_ties() -> None:
    even = tail_scale([0.0, 0.1, 0.15, 0.15 + 0.1 / 3, 0.2])
    assert even > 0
    assert tail_scale([0.0, 0.1, 0.15, 0.15 + 0.1 / 3, 1e27]) == pytest.approx(even, rel=0.5)
    assert tail_scale([0.0, 0.0, 0.0, 0.02, 0.02]) == pytest.approx(SCALE * 3 * 0.02 / 4)
    assert tail_scale([0.3] * 5) == 0.0


def test_quantiles_chances_and_the_mean_agree() -> None:
    found = GainForecast(scale=0.02, ratio=3.0)
    for part in (0.3, 0.5, 0.9, 0.99):
        assert found.chance(found.quantile(part)) == pytest.approx(1 - part)
    assert found.quantile(0.1) == 0.0  # no gain at all has a chance of 1/4
    gains = np.linspace(0, 1, 200_001)
    chances = np.array([found.chance(g) for g in gains[::100]])
    assert found.mean == pytest.approx(np.trapezoid(chances, gains[::100]), rel=1e-3)
    assert GainForecast(0.0, 3.0).interval() == (0.0, 0.0)
    assert GainForecast(1e-9, 1.0).chance(1e300) == 0.0


def test_nothing_is_forecast_before_some_trials_reached_full_length() -> None:
    short = [outcome(k, 0.1 * k, stop=3) for k in range(30)]
    few = [outcome(30 + k, 0.1 * k) for k in range(LEAST_FULL - 1)]
    assert record(*short, *few).forecast(3600.0) is None
    assert record(*short, *few, outcome(50, 0.7)).forecast(3600.0) is not None


def test_higher_and_lower_is_better_give_the_same_forecast() -> None:
    values = [0.3, 0.9, 0.1, 0.5, 0.4, 0.8]
    low = record(*(outcome(k, v) for k, v in enumerate(values))).forecast(3600.0)
    high = record(*(outcome(k, -v) for k, v in enumerate(values)), mode="max").forecast(3600.0)
    assert low == high
    assert low is not None
    assert low.ratio == pytest.approx(1 / 6)


def test_what_failed_was_tried_and_is_no_best_and_what_was_lost_only_cost() -> None:
    good = [outcome(k, 0.1 * k) for k in range(6)]
    bad = [
        outcome(10, math.nan),
        outcome(11, 0.0, status=Status.DIVERGED),
        outcome(12, 0.0, status=Status.FAILED, curve={}),
    ]
    base, more = record(*good), record(*good, *bad)
    assert (more.tried, more.best) == (9, base.best)
    first, second = base.forecast(3600.0), more.forecast(3600.0)
    assert first is not None
    assert second is not None
    assert second.scale == first.scale
    sparse = outcome(13, 0.0, curve={"loss": [math.nan, -1.0, *[math.nan] * 7]})  # reported now and then
    assert record(*good, sparse).best == -1.0
    lost = record(*good, outcome(10, 0.0, status=Status.LOST, curve={}))
    assert (lost.tried, lost.outcomes, lost.worker_s) == (6, 6, 7 * 3600.0)
    final = record(*good, outcome(1 << 40, -9.0, role=Role.FINALIST))
    assert (final.best, final.worker_s) == (base.best, base.worker_s)


def test_a_value_beyond_a_limit_is_no_best() -> None:
    limits = (Limit("size <= 1"),)
    fits = [outcome(k, 0.1 * k, curve={"loss": [0.1 * k] * 9, "size": [1.0] * 9}) for k in range(1, 6)]
    large = outcome(9, 0.0, curve={"loss": [0.0] * 9, "size": [2.0] * 9})
    assert record(*fits, large, limits=limits).best == 0.1


def test_trials_that_rungs_still_hold_may_win() -> None:
    """Of 90 trials at the first rung, ten should reach full length; while four have, more is to come."""
    begun = [outcome(k, 1.0 + k, stop=s) for k in range(90) for s in (1 if k % 2 else 3,)]
    early = record(*begun, *(outcome(100 + k, 0.1 * k) for k in range(4)))
    late = record(*begun, *(outcome(100 + k, 0.1 * k) for k in range(11)))
    assert (early.settled, late.settled) == (4 * 9, 99)
    one, other = early.forecast(3600.0), late.forecast(3600.0)
    assert one is not None
    assert other is not None
    assert one.ratio > 10 * other.ratio


def test_the_width_leaves_out_the_time_between_lives() -> None:
    night = 40_000.0
    both = [
        outcome(k, 0.1, at=3600.0 * (1 + k // 2) + night * (k >= 4), worker=f"worker-{k % 2}")
        for k in range(8)
    ]
    assert record(*both).width == pytest.approx(2.0)
    pack = [outcome(k, 0.1, at=4 * 3600.0, worker="worker-0") for k in range(4)]
    assert record(*pack).width == 1.0
    assert record().width == 1.0


# ---- the rule


def watch(gain_below: float, hours: float = 1.0, relative: bool = False) -> GainWatch:
    rule = StopWhen(gain_below, hours, CostUnit.DEVICE_HOURS, relative)
    return GainWatch(SearchRecord(Objectives({"loss": "min"}), 9, 3), CostRate(1.0, 0.0, Budget()), rule)


def values() -> Iterator[float]:
    rng = np.random.default_rng(0)
    return iter((0.5 + 0.1 * rng.random(400)).tolist())


def test_it_stops_once_and_the_same_again_with_the_same_outcomes() -> None:
    told = [outcome(k, v, at=3600.0 * k) for k, v in enumerate(values())]
    first, again = watch(0.01), watch(0.01)
    at = [k for k, one in enumerate(told) if first.tell(one)]
    assert len(at) == 1
    assert 4 < at[0] < 200
    assert [k for k, one in enumerate(told) if again.tell(one)] == at
    assert first.stopped == again.stopped
    assert first.stopped is not None
    assert first.stopped.stops.startswith("the next 1 device hours are forecast to gain ")
    assert "below 0.01 with at least 95%" in first.stopped.stops
    detail = first.stopped.as_detail()
    assert detail["cost"] == {"device_hours": 1.0, "hours": 1.0, "cpu_hours": 1.0}
    assert 0 == detail["low"] <= detail["high"] < 0.01


def test_a_greater_gain_asked_for_or_less_cost_stops_sooner() -> None:
    told = [outcome(k, v) for k, v in enumerate(values())]

    def stop(rule: GainWatch) -> int:
        return next((k for k, one in enumerate(told) if rule.tell(one)), len(told))

    assert stop(watch(0.05)) < stop(watch(0.001)) <= stop(watch(0.001, hours=4.0))
    assert stop(watch(0.02, relative=True)) == stop(watch(0.01))  # of a best of 0.5


def test_a_cost_below_that_of_a_trial_at_full_length_is_taken_as_that() -> None:
    """Else a search would end at once, for want of time to end one more trial."""
    told = [outcome(k, v) for k, v in enumerate(values())]  # an hour each
    hour, second = watch(0.01), watch(0.01 / 3600, hours=1 / 3600)
    at = [[k for k, one in enumerate(told) if rule.tell(one)] for rule in (hour, second)]
    assert at[0] == at[1]
    assert hour.stopped is not None
    assert second.stopped is not None
    assert second.stopped.stops == hour.stopped.stops


def test_the_ending_is_done_and_says_how_to_go_on() -> None:
    ended = Ended(Ending.GAIN, "the next hour is forecast to gain nothing")
    assert ended.is_done
    assert ended_of(ended.as_detail()) == ended
    assert more_of(ended) == ("--stop-when", "off")


# ---- a search that it ends


RARE = StopWhen(0.0005, 1.0)


def trained(segment: Segment) -> Outcome:
    """The lower the rate the better; an hour an iteration."""
    value = 1.0 + float(segment.config["rate"]) / (segment.stop + 1)
    n = segment.stop - segment.start
    return Outcome(segment, Status.COMPLETED, {"loss": [value] * n}, f"c{segment.id}", 3600.0 * n)


def searched(rule: StopWhen | None, kept: list[Outcome] | None = None, deaf: int = 0) -> Search:
    """A search with three workers in turns; of a journal's outcomes first, if there is one.

    `deaf`: it ends, killed, after so many outcomes; 0 lets it come to its end.
    """
    caviar = raysearch.Caviar(samples=400, max_iterations=9, sampler="sobol")
    strategy = caviar.start(SPACE, metric="loss", mode="min", seed=1, baseline={"rate": 0.5})
    search = Search(strategy, metric="loss", mode="min", limits=Limits(stop_when=rule))
    journal = kept if kept is not None else []
    search.replay(journal)
    held: dict[str, Segment] = {}
    now = 3600.0 * len(journal)
    while search.lifetime.ended is None and not (deaf and len(journal) >= deaf):
        for name in ("a", "b", "c"):
            now += 1200.0
            done = [trained(held.pop(name))] if name in held else []
            counting = search.accept(name, done, now)
            journal += counting
            search.record(counting)
            if leases := search.lease(name, 1, now).leases:
                held[name] = leases[0].segment
    return search


def test_a_search_is_closed_and_its_finish_comes_first() -> None:
    kept: list[Outcome] = []
    search = searched(RARE, kept)
    ended = search.lifetime.ended
    assert ended is not None
    assert ended.kind is Ending.GAIN
    status = search.status(0.0)
    assert 20 < status.trials < 200  # of 400
    assert status.finals == 4 * 3  # three seeds of the best three and of the baseline
    first_final = next(k for k, one in enumerate(kept) if one.segment.is_final)
    assert all(one.segment.is_final for one in kept[first_final:])
    assert not status.is_complete
    assert search.strategy.finished
    closed = {one.segment.id for one in kept if one.segment.is_final}
    assert closed <= set(search.strategy.kept())


def test_a_kill_amid_changes_nothing_of_the_decision() -> None:
    whole: list[Outcome] = []
    closed = searched(RARE, whole)
    decided = closed.forecasts.latest
    assert decided is not None
    for cut in (decided.outcomes // 2, decided.outcomes + 1, len(whole) - 3):
        part = [*whole[:cut]]
        again = searched(RARE, part)
        assert again.lifetime.ended == closed.lifetime.ended if cut >= decided.outcomes else True
        assert again.lifetime.ended is not None
        assert again.lifetime.ended.kind is Ending.GAIN
        assert again.status(0.0).finals == 12


def test_without_the_rule_the_same_outcomes_go_on() -> None:
    kept: list[Outcome] = []
    searched(RARE, kept)
    search = searched(None, [*kept], deaf=len(kept) + 30)
    assert search.lifetime.ended is None
    assert search.lifetime.closed is None
    status = search.status(0.0)
    assert status["forecast"].startswith("the next hour is forecast to gain ")
    console = Console(width=150, file=io.StringIO())
    screen = Screen(About("runs/x", "caviar", "loss", "min"), framed=False)
    screen.show(status)
    with console.capture() as shown:
        console.print(screen)
    (line,) = [line for line in shown.get().splitlines() if line.startswith("going on")]
    assert line.split(maxsplit=2)[2].strip() == status["forecast"]


def test_a_closed_search_refuses_new_configurations() -> None:
    search = searched(RARE)
    with pytest.raises(SpecError, match="tries nothing more"):
        search.plan_intervention({"kind": "enqueue", "config": {"rate": 0.3}})


def test_an_inline_search_ends_by_its_rule_and_goes_on_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = raysearch.search(
        trainables.Walk, space=SPACE, metric="loss", mode="min", executor="inline", storage=tmp_path,
        strategy=raysearch.Caviar(samples=40, max_iterations=3, sampler="sobol"), progress=False,
        stop_when={"gain_below": 1e6, "cost": {"hours": 1.0}},
    )  # fmt: skip
    forecasts = [event.detail for event in results.events() if event.kind == "forecast"]
    (end,) = [event.detail for event in results.events() if event.kind == "end"]
    assert end["kind"] == "gain"
    assert [detail["stops"] for detail in forecasts] == [end["ending"]]
    tried = {trial for trial in results.segments()["trial"] if trial < 1 << 40}
    assert len(tried) < 40
    assert results.verdict().contenders
    going_on = last_forecast(results.events())
    assert going_on is not None
    assert going_on.sentence in [text for one in content_of(results).sections for text in one.words]
    (tile,) = [one for one in content_of(results).tiles if one.label == "going on gains"]
    assert tile.below.startswith("90%, in the next ")
    assert _facts(results)["forecast/words"] == end["ending"]  # for the summary at W&B
    how = raysearch.How("inline", progress=False)
    again = raysearch.resume(results.path, how, trainable=trainables.Walk)
    assert len(again.segments()) == len(results.segments())
    assert len([event for event in again.events() if event.kind == "forecast"]) == 1
    assert main(["resume", str(results.path), "--samples", "+5", "--executor", "inline"]) == 2
    assert "its stop_when ended it, and would again; go on with: raysearch resume" in capsys.readouterr().err
    assert main(["status", str(results.path)]) == 0
    assert "with at least 95% (stop_when); raysearch best" in " ".join(capsys.readouterr().out.split())
    more = raysearch.resume(
        results.path,
        how,
        trainable=trainables.Walk,
        edits=lambda old: dataclasses.replace(old, stop_when=None),
    )
    assert len({trial for trial in more.segments()["trial"] if trial < 1 << 40}) == 40
    assert [event.detail["kind"] for event in more.events() if event.kind == "end"][-1] == "complete"


# ---- the bench


def whole() -> Whole:
    """Eight trainings of one hour, four at a time; the best comes at the third and again at the seventh."""
    scores = [0.9, 0.8, 0.4, 0.7, 0.6, 0.5, 0.3, 0.9]
    table = Table(
        SPACE,
        [{"rate": s} for s in scores],
        np.array([[s] for s in scores]),
        np.full((8, 1), 3600.0),
        "loss",
        "min",
    )
    outcomes = tuple(outcome(k, s, stop=1, at=3600.0 * (1 + k // 4)) for k, s in enumerate(scores))
    return Whole(table, outcomes, 3600.0 * np.arange(1.0, 9.0), np.minimum.accumulate(scores), span=0.35)


def test_what_is_in_training_at_a_stop_is_paid_for_and_may_be_the_best() -> None:
    found = stopped_at(whole(), 5, gain_below=0.1, ahead=3600.0)
    assert found.saved == 0.0  # the other two ended at the same time
    assert found.lost == 0.0
    assert found.is_false  # 0.1 of 0.35 was gained in the next hour
    early = stopped_at(whole(), 3, gain_below=0.1, ahead=3600.0)
    assert early.saved == 0.5
    assert early.lost == pytest.approx((0.4 - 0.3) / (0.65 - 0.3))
    assert early.is_false is False
    assert stop_of(whole(), gain_below=1e-9, cost=1.0).is_false is None  # it never stops


def test_the_bench_tells_tuning_tasks_from_those_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    trainings = [
        {"task": task, "hp_x": float(x), "val_loss": (0.1 + abs(x - best) + 1.0 / np.arange(1, 10)).tolist()}
        for task, best in (("a", 0.2), ("b", 0.7))
        for x in rng.random(60)
    ]
    pd.DataFrame(trainings).to_parquet(tmp_path / "curves.parquet")
    arguments = ["--workers", "2", "--full", "30", "--seeds", "1", "--methods", "caviar-sobol", "--json"]
    assert stopping.main([str(tmp_path / "curves.parquet"), *arguments]) == 0
    rows = {row["contender"].strip(): row for row in json.loads(capsys.readouterr().out)["rows"]}
    for part in ("tuning", "held out"):
        row = rows[f"caviar-sobol, {part}"]
        assert row["searches"] == 1
        assert 0 <= row["saved"] < 1
        assert 0 <= row["coverage"] <= 1
        assert rows[f"caviar-sobol, {part}: power law"]["pinball"] >= 0
