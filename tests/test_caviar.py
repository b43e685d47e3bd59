"""Caviar's decisions, one by one; the contract at large is in strategy_suite."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from raysearch.core.segment import Outcome, Segment, Status, segment_id
from raysearch.errors import SpecError
from raysearch.space import Space
from raysearch.strategies import registry
from raysearch.strategies.caviar import Caviar, CaviarSearch, bracket_shares, value_at
from raysearch.strategies.finish import Finish
from raysearch.strategies.seeding import fresh_seed

SPACE = Space.from_dict({"x": {"uniform": [0.0, 1.0]}})


def begin(baseline: dict[str, Any] | None = None, space: Space = SPACE, **fields: Any) -> CaviarSearch:
    settings: dict[str, Any] = {"samples": 9, "max_iterations": 9, "sampler": "random", "finish": None}
    recipe = Caviar(**{**settings, **fields})
    return recipe.start(space, metric="loss", mode="min", seed=1, baseline=baseline)


def done(segment: Segment, values: float | Sequence[float], **more: Any) -> Outcome:
    n = segment.stop - segment.start
    curve = [values] * n if isinstance(values, float) else list(values)
    return Outcome(segment, Status.COMPLETED, {"loss": curve}, **more)


def finish(strategy: CaviarSearch, loss: Callable[[Segment], float], free: int = 1) -> list[Segment]:
    asked: list[Segment] = []
    while not strategy.finished:
        for segment in strategy.ask(free):
            asked.append(segment)
            strategy.tell(done(segment, loss(segment)))
    return asked


# ---- the recipe


def test_the_defaults_are_those_of_the_papers() -> None:
    recipe = Caviar(samples=100, max_iterations=81)
    assert recipe.levels == (1, 3, 9, 27, 81)
    assert (recipe.eta, recipe.brackets, recipe.variant, recipe.sampler) == (3, 1, "auto", "model")
    assert recipe.finish == Finish(top=3, seeds=3)


@pytest.mark.parametrize(
    ("iterations", "first", "levels"),
    [
        (1, None, (1,)),
        (50, None, (1, 3, 9, 27, 50)),
        (1000, None, (12, 37, 111, 333, 1000)),
        (100, 10, (10, 30, 90, 100)),
    ],
)
def test_the_first_rung_is_a_fraction_of_the_last(
    iterations: int, first: int | None, levels: tuple[int, ...]
) -> None:
    assert Caviar(samples=1, max_iterations=iterations, min_iterations=first).levels == levels


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"samples": 0}, "samples = 0"),
        ({"samples": 2.5}, "samples = 2.5"),
        ({"max_iterations": True}, "max_iterations = True"),
        ({"eta": 1}, "eta = 1"),
        ({"min_iterations": 100}, "min_iterations = 100"),
        ({"variant": "stoping"}, "did you mean 'stopping'"),
        ({"sampler": "sobel"}, "did you mean 'sobol'"),
        ({"brackets": 6}, "5 rungs"),
        ({"finish": {"top": 0}}, "finish.top = 0"),
        ({"finish": {"tops": 3}}, "did you mean 'top'"),
        ({"finish": 7}, "finish = 7"),
        ({"finish": {"seeds": 1000}}, "1 to 64"),
    ],
)
def test_a_wrong_field_is_refused_with_its_value(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text.replace("(", r"\(")):
        Caviar(**{"samples": 10, "max_iterations": 81, **fields})


def test_an_object_that_is_no_sampler_is_refused_at_the_start() -> None:
    with pytest.raises(SpecError, match="propose and observe"):
        begin(sampler=object())


@pytest.mark.parametrize("off", [None, False, "off"])
def test_the_finish_can_be_switched_off(off: Any) -> None:
    assert Caviar(samples=1, max_iterations=1, finish=off).finish is None


def test_the_finish_is_read_from_a_mapping() -> None:
    assert Caviar(samples=1, max_iterations=1, finish={"top": 5}).finish == Finish(5, 3)  # type: ignore[arg-type]


def test_the_registry_names_what_is_missing_unknown_or_misspelt() -> None:
    assert "caviar" in registry.names()
    assert registry.recipe("caviar", {"samples": 3, "max_iterations": 9}) == Caviar(3, 9)
    with pytest.raises(SpecError, match="did you mean 'caviar'"):
        registry.recipe("cavier", {})
    with pytest.raises(SpecError, match="did you mean 'samples'"):
        registry.recipe("caviar", {"sample": 3, "max_iterations": 9})
    with pytest.raises(SpecError, match="needs samples and max_iterations"):
        registry.recipe("caviar", {})


# ---- promotion


def test_new_trials_are_asked_for_until_a_rung_has_somebody_to_promote() -> None:
    strategy = begin()
    first, second, third = strategy.ask(3)
    assert [(s.trial, s.start, s.stop, s.parent) for s in (first, second, third)] == [
        (0, 0, 1, None),
        (1, 0, 1, None),
        (2, 0, 1, None),
    ]
    for segment, loss in ((first, 3.0), (second, 1.0), (third, 2.0)):
        strategy.tell(done(segment, loss))
    (promoted,) = strategy.ask(1)
    assert promoted == dataclasses.replace(
        second,
        id=segment_id(1, 1),
        parent=second.id,
        start=1,
        stop=3,
        seed=promoted.seed,
        reason="rung 1: rank 1 of 3, promoted",
    )
    assert [s.trial for s in strategy.ask(2)] == [3, 4]


def test_promotions_come_from_the_top_down_and_before_new_trials() -> None:
    strategy = begin()
    told = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}
    for trial, loss in told.items():
        start = Segment(segment_id(trial, 0), trial, None, {"x": 0.5}, 0, 1, 0, "")
        strategy.tell(done(start, loss))
    up = Segment(segment_id(0, 1), 0, segment_id(0, 0), {"x": 0.5}, 1, 3, 0, "")
    strategy.tell(done(up, 1.0))
    assert [s.reason for s in strategy.ask(3)] == [
        "rung 3: rank 1 of 1, promoted",
        "rung 1: rank 2 of 4, promoted",
        "new trial from sampler random",
    ]


def test_a_search_costs_about_as_much_at_every_rung() -> None:
    strategy = begin(samples=81, max_iterations=81)
    asked = finish(strategy, lambda s: s.config["x"])
    spent = {level: sum(s.stop - s.start for s in asked if s.stop == level) for level in (1, 3, 9, 27, 81)}
    entered = {level: sum(s.stop == level for s in asked) for level in spent}
    assert entered[1] == 81
    assert 27 <= entered[3] <= 40
    assert 1 <= entered[81] <= 8
    assert sum(spent.values()) < 0.2 * 81 * 81


def test_the_best_configuration_gets_to_the_end() -> None:
    strategy = begin(samples=60, max_iterations=27)
    asked = finish(strategy, lambda s: abs(s.config["x"] - 0.3), free=7)
    best = min((s for s in asked), key=lambda s: abs(s.config["x"] - 0.3))
    assert max(s.stop for s in asked if s.trial == best.trial) == 27


def test_the_score_at_a_rung_is_the_last_value_reported_there() -> None:
    nan = math.nan
    assert value_at([3.0, nan, 2.0], 2) == 3.0
    assert value_at([3.0, nan, 2.0], 3) == 2.0
    assert math.isnan(value_at([nan, 1.0], 1))
    assert math.isnan(value_at([], 3))
    assert value_at([1.0, math.inf], 2) == 1.0


def test_a_segment_over_several_rungs_enters_each_with_the_value_there() -> None:
    strategy = begin()
    whole = Segment(segment_id(0, 0), 0, None, {"x": 0.5}, 0, 9, 0, "told from elsewhere")
    strategy.tell(done(whole, [5.0, 4.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0]))
    (segment,) = strategy.ask(1)
    strategy.tell(done(segment, 4.5))  # better than 5.0 at the first rung
    assert strategy.ask(1)[0].reason == "rung 1: rank 1 of 2, promoted"


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.FAILED])
def test_a_trial_that_failed_is_over(status: Status) -> None:
    strategy = begin(samples=1)
    (segment,) = strategy.ask(1)
    strategy.tell(Outcome(segment, status, {"loss": [0.0]}))
    assert strategy.finished
    assert strategy.ask(1) == []
    assert strategy.kept() == set()


def test_a_segment_without_progress_counts_as_failed() -> None:
    strategy = begin(samples=1)
    (segment,) = strategy.ask(1)
    strategy.tell(Outcome(segment, Status.COMPLETED, {"loss": []}))
    assert strategy.finished


def test_a_segment_that_ended_early_is_gone_on_with_from_where_it_is() -> None:
    strategy = begin(samples=1)
    (segment,) = strategy.ask(1)
    strategy.tell(done(segment, 1.0))
    (second,) = strategy.ask(1)
    strategy.tell(done(second, [1.0]))  # 1 of 2 iterations
    (third,) = strategy.ask(1)
    assert (third.start, third.stop, third.parent) == (2, 3, second.id)


def test_a_trial_that_says_done_is_complete_and_can_win() -> None:
    strategy = begin(samples=2, finish={"top": 1, "seeds": 1})
    first, second = strategy.ask(2)
    strategy.tell(done(first, 0.1, done=True))
    strategy.tell(done(second, 5.0))
    asked = finish(strategy, lambda s: 5.0)
    assert [(s.role, s.source) for s in asked if s.role != "search"] == [("finalist", first.trial)]


# ---- stopping


def test_stopping_trains_on_at_once_or_never() -> None:
    strategy = begin(variant="stopping")
    for segment, score in zip(strategy.ask(5), [3.0, 4.0, 5.0, 2.0, 1.0], strict=True):
        strategy.tell(done(segment, score))
    assert [(s.trial, s.reason) for s in strategy.ask(5)] == [
        (0, "rung 1: rank 1 of 1, goes on"),
        (1, "rung 1: rank 2 of 2, goes on"),
        (3, "rung 1: rank 1 of 4, goes on"),
        (4, "rung 1: rank 1 of 5, goes on"),
        (5, "new trial from sampler random"),
    ]


def test_stopping_keeps_no_checkpoint_of_stopped_trials() -> None:
    strategy = begin(variant="stopping", samples=40)
    asked = finish(strategy, lambda s: s.config["x"])
    assert len(strategy.kept()) == 3
    assert {s.id for s in asked if s.stop == 9} >= strategy.kept()


# ---- brackets


def test_brackets_begin_at_different_rungs_in_hyperbands_proportions() -> None:
    strategy = begin(samples=1000, max_iterations=81, brackets=3)
    starts = [s.stop for s in strategy.ask(1000)]
    shares = [starts.count(level) / 1000 for level in (1, 3, 9)]
    weights = [81 / 5, 27 / 4, 9 / 3]
    assert shares == pytest.approx([w / sum(weights) for w in weights], abs=0.005)
    assert bracket_shares(5, 1, 3) == []


def test_brackets_finish() -> None:
    asked = finish(begin(samples=50, max_iterations=27, brackets=3), lambda s: s.config["x"], free=4)
    assert len({s.id for s in asked}) == len(asked)


# ---- the baseline and the finish


def test_the_baseline_is_trial_0_and_one_of_the_samples() -> None:
    strategy = begin(baseline={"x": 0.25}, samples=3)
    assert [(s.trial, s.reason) for s in strategy.ask(9)] == [
        (0, "the baseline"),
        (1, "new trial from sampler random"),
        (2, "new trial from sampler random"),
    ]
    assert begin(samples=3).ask(9)[1].config == begin(baseline={"x": 0.25}, samples=3).ask(9)[1].config


def test_the_finish_trains_the_best_and_the_baseline_on_the_same_fresh_seeds() -> None:
    strategy = begin(baseline={"x": 0.9}, samples=30, finish={"top": 2, "seeds": 2})
    asked = finish(strategy, lambda s: s.config["x"], free=5)
    finals = [s for s in asked if s.role != "search"]
    assert [(s.role, s.start, s.stop, s.parent) for s in finals] == [
        ("finalist", 0, 9, None),
        ("finalist", 0, 9, None),
        ("baseline", 0, 9, None),
    ] * 2
    assert [s.seed for s in finals] == [finals[0].seed] * 3 + [finals[3].seed] * 3
    assert not {s.seed for s in finals} & {s.seed for s in asked if s.role == "search"}
    complete = sorted({s.trial for s in asked if s.stop == 9 and s.role == "search"})
    best = sorted(complete, key=lambda t: next(s.config["x"] for s in asked if s.trial == t))[:2]
    assert [s.source for s in finals] == [*best, 0, *best, 0]
    assert finals[0].reason == "finalist: rank 1 at iteration 9, seed 1 of 2"
    assert finals[5].reason == "baseline, seed 2 of 2"
    assert all(s.id in strategy.kept() for s in finals)


def test_the_finish_takes_the_next_lower_rung_when_few_got_to_the_top() -> None:
    strategy = begin(samples=3, finish={"top": 3, "seeds": 1})
    asked = finish(strategy, lambda s: float(s.trial))
    assert [(s.source, s.reason) for s in asked if s.role == "finalist"] == [
        (0, "finalist: rank 1 at iteration 9, seed 1 of 1"),
        (1, "finalist: rank 2 at iteration 1, seed 1 of 1"),
        (2, "finalist: rank 3 at iteration 1, seed 1 of 1"),
    ]


def test_a_final_that_fails_is_not_trained_again() -> None:
    strategy = begin(samples=1, finish={"top": 1, "seeds": 2})
    while not strategy.finished:
        for segment in strategy.ask(1):
            ok = segment.role == "search"
            strategy.tell(done(segment, 1.0) if ok else Outcome(segment, Status.FAILED, error="boom"))
    assert strategy.ask(1) == []


# ---- going on with an old search


def replayed(old: list[Outcome], **fields: Any) -> CaviarSearch:
    strategy = begin(**fields)
    for outcome in old:
        strategy.tell(outcome)
    return strategy


def outcomes_of(segments: list[Segment], loss: Callable[[Segment], float]) -> list[Outcome]:
    return [done(s, loss(s)) for s in segments]


def test_a_search_with_more_samples_reuses_the_finals_that_still_count() -> None:
    def loss(segment: Segment) -> float:
        return float(segment.config["x"])

    settings: dict[str, Any] = {"finish": {"top": 2, "seeds": 2}, "baseline": {"x": 0.5}}
    asked = finish(begin(samples=20, **settings), loss)
    again = finish(replayed(outcomes_of(asked, loss), samples=40, **settings), loss)
    assert not {s.id for s in again} & {s.id for s in asked}
    assert {s.trial for s in again if s.start == 0 and s.role == "search"} == set(range(20, 40))
    assert not [s for s in again if s.role == "baseline"]
    old = {s.source for s in asked if s.role == "finalist"}
    assert not old & {s.source for s in again if s.role == "finalist"}


def test_a_longer_horizon_trains_the_best_on_and_finishes_anew() -> None:
    def loss(segment: Segment) -> float:
        return float(segment.config["x"])

    recipe = Caviar(20, 9, sampler="random", finish=Finish(1, 1))
    asked = finish(begin(samples=20, finish=recipe.finish), loss)
    longer = recipe.extended(max_iterations=27)
    assert longer.levels == (1, 3, 9, 27)
    strategy = longer.start(SPACE, metric="loss", mode="min", seed=1)
    for outcome in outcomes_of(asked, loss):
        strategy.tell(outcome)
    again = finish(strategy, loss)
    assert {(s.start, s.stop) for s in again} == {(9, 27), (0, 27)}
    assert [s.role for s in again if s.start == 0] == ["finalist"]
    assert all(s.parent in {a.id for a in asked} for s in again if s.start)
    assert not {s.id for s in again} & {s.id for s in asked}


def test_trials_below_a_first_rung_that_was_raised_are_trained_up_to_it() -> None:
    old = Segment(segment_id(0, 0), 0, None, {"x": 0.5}, 0, 1, 0, "")
    strategy = replayed([done(old, 1.0)], min_iterations=3)
    first = strategy.ask(1)[0]
    assert (first.trial, first.start, first.stop, first.parent) == (0, 1, 3, old.id)
    assert first.reason == "from iteration 1 to the first rung, 3"


def test_outcomes_outside_an_edited_space_only_use_up_their_numbers() -> None:
    edited = Space.from_dict({"x": {"uniform": [0.0, 0.4]}})
    old = [
        done(Segment(segment_id(t, 0), t, None, {"x": x}, 0, 1, 0, ""), 0.0) for t, x in enumerate((0.9, 0.3))
    ]
    strategy = replayed(old, space=edited, samples=5)
    assert [(s.trial, s.start) for s in strategy.ask(2)] == [(1, 1), (2, 0)]


def test_children_told_before_their_parents_are_not_promoted_twice() -> None:
    parent = Segment(segment_id(0, 0), 0, None, {"x": 0.5}, 0, 1, 0, "")
    child = Segment(segment_id(0, 1), 0, parent.id, {"x": 0.5}, 1, 3, 0, "")
    strategy = replayed([done(child, 1.0), done(parent, 1.0)])
    (onward,) = strategy.ask(1)
    assert (onward.id, onward.start, onward.stop) == (segment_id(0, 2), 3, 9)


# ---- what is kept


def test_only_trials_that_can_still_be_promoted_are_kept() -> None:
    strategy = begin(samples=9)
    segments = strategy.ask(9)
    for segment in segments:
        strategy.tell(done(segment, float(segment.trial)))
    assert strategy.kept() == {segments[t].id for t in range(3)}
    (promoted,) = strategy.ask(1)
    assert promoted.parent in strategy.kept()


def test_few_checkpoints_are_kept_however_many_trials_there_are() -> None:
    strategy = begin(samples=5000)
    most = 0
    for i in range(6000):
        for segment in strategy.ask(1):
            strategy.tell(done(segment, segment.config["x"]))
        most = max(most, len(strategy.kept())) if i % 50 == 0 else most
    assert most < 200


# ---- seeds


def test_seeds_are_a_function_of_their_key() -> None:
    assert fresh_seed(1, 2, 3) == fresh_seed(1, 2, 3)
    seeds = {fresh_seed(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000
    assert all(0 <= s < 1 << 31 for s in seeds)
