"""The contract of raysearch/strategies/base.py, run on every registered strategy.

A strategy of another package, registered through the entry-point group `raysearch.strategies`, is
found too: `pytest path/to/strategy_suite.py -k name`. If its recipe has required fields other than
SMALL knows, it says how to make small ones in a class method `examples()`, a dict by label.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from raysearch.core.segment import ORDINAL_BITS, Outcome, Segment, Status, segment_id
from raysearch.space import Space
from raysearch.strategies import registry
from raysearch.strategies.base import Recipe, Strategy

SMALL: dict[str, Any] = {"samples": 14, "max_iterations": 9}
LIMIT = 5000
SPACE = Space.from_dict(
    {
        "lr": {"loguniform": [1e-4, 1.0]},
        "momentum": {"uniform": [0.0, 0.99]},
        "layers": {"randint": [1, 5]},
        "optimizer": {"choice": ["sgd", "adamw"]},
        "beta2": {"uniform": [0.9, 0.999], "when": {"optimizer": "adamw"}},
    }
)
BASELINE = {"lr": 0.01, "momentum": 0.9, "layers": 2, "optimizer": "sgd"}

Train = Callable[[Segment], Outcome]


def small_recipes() -> dict[str, Recipe]:
    """Recipes of every strategy that end after some dozens of segments: `caviar`, `panda-one`, ..."""
    found: dict[str, Recipe] = {}
    for name in registry.names():
        cls: Any = registry.recipe_class(name)
        if hasattr(cls, "examples"):
            found.update({f"{name}-{label}": recipe for label, recipe in cls.examples().items()})
            continue
        required = [f.name for f in dataclasses.fields(cls) if f.init and f.default is dataclasses.MISSING]
        found[name] = registry.recipe(name, {f: SMALL[f] for f in required if f in SMALL})
    return found


RECIPES = small_recipes()


def loss(config: Any, iteration: int) -> float:
    """Falls with training; best near lr = 0.03."""
    return abs(math.log10(config["lr"]) + 1.5) + 0.1 * config["layers"] + 1.0 / iteration


def train(segment: Segment) -> Outcome:
    """What a healthy worker sends back."""
    curve = [loss(segment.config, i) for i in range(segment.start + 1, segment.stop + 1)]
    return Outcome(segment, Status.COMPLETED, {"loss": curve}, checkpoint=f"c{segment.id}", seconds=1.0)


def unlucky(segment: Segment) -> Outcome:
    """As `train`, but every seventh trial diverges, and others fail or report nothing usable."""
    if segment.trial % 7 == 3:
        values = [math.nan] * (segment.stop - segment.start)
        return Outcome(segment, Status.DIVERGED, {"loss": values})
    if segment.trial % 7 == 4:
        return Outcome(segment, Status.FAILED, error="boom")
    if segment.trial % 7 == 5:
        return Outcome(segment, Status.COMPLETED, {"loss": [math.nan] * (segment.stop - segment.start)})
    return train(segment)


def begin(name: str, seed: int = 1) -> Strategy:
    return RECIPES[name].start(SPACE, metric="loss", mode="min", seed=seed, baseline=BASELINE)


def run(
    strategy: Strategy, train: Train = train, free: int = 3, order: random.Random | None = None
) -> list[Outcome]:
    """Runs to the end with `free` workers; outcomes arrive in a random order if one is given."""
    told: list[Outcome] = []
    flying: list[Segment] = []
    while not strategy.finished:
        flying += strategy.ask(free - len(flying))
        assert flying, "nothing asked for, nothing outstanding, and yet not finished"
        segment = flying.pop(order.randrange(len(flying)) if order else 0)
        told.append(train(segment))
        strategy.tell(told[-1])
        assert len(told) < LIMIT, "a small search does not end"
    assert strategy.ask(free) == []
    return told


def asked(outcomes: Iterable[Outcome]) -> dict[int, Segment]:
    return {o.segment.id: o.segment for o in outcomes}


every_strategy = pytest.mark.parametrize("name", RECIPES)


@every_strategy
def test_a_recipe_is_frozen_and_has_its_name(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name.partition("-")[0]
    assert isinstance(recipe, Recipe)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.name = "other"  # type: ignore[misc]


@every_strategy
def test_it_finishes_and_asks_for_every_segment_once(name: str) -> None:
    told = run(begin(name))
    assert len(told) >= 2
    assert len(asked(told)) == len(told)


@every_strategy
def test_segments_are_sound(name: str) -> None:
    known: set[int] = set()
    for segment in (o.segment for o in run(begin(name))):
        assert 0 <= segment.start < segment.stop
        assert segment.id >> ORDINAL_BITS == segment.trial
        assert segment.reason.strip() == segment.reason != ""
        assert 0 <= segment.seed < 1 << 63
        assert segment.parent is None or segment.parent in known
        assert (segment.start == 0) == (segment.parent is None)
        assert SPACE.why_not(segment.config) is None
        known.add(segment.id)


@every_strategy
def test_a_child_begins_where_its_parent_stopped(name: str) -> None:
    told = run(begin(name))
    segments = asked(told)
    for segment in segments.values():
        if segment.parent is not None:
            assert segments[segment.parent].stop == segment.start


@every_strategy
def test_the_baseline_is_trained_first(name: str) -> None:
    assert begin(name).ask(1)[0].config == BASELINE


@every_strategy
@pytest.mark.parametrize("free", [1, 2, 7, 64])
def test_ask_gives_no_more_than_there_are_free_slots(name: str, free: int) -> None:
    strategy = begin(name)
    assert strategy.ask(0) == []
    assert 1 <= len(strategy.ask(free)) <= free


@every_strategy
@pytest.mark.parametrize("seed", range(5))
def test_outcomes_may_arrive_in_any_order(name: str, seed: int) -> None:
    told = run(begin(name), free=8, order=random.Random(seed))
    assert len(asked(told)) == len(told)


@every_strategy
def test_same_seed_and_outcomes_give_the_same_decisions(name: str) -> None:
    first = run(begin(name), unlucky, free=5, order=random.Random(3))
    second = run(begin(name), unlucky, free=5, order=random.Random(3))
    assert [o.segment for o in first] == [o.segment for o in second]


@every_strategy
def test_another_seed_gives_other_configurations_or_trainings(name: str) -> None:
    trainings = [(str(s.config), s.seed) for s in begin(name, seed=1).ask(4)]
    others = [(str(s.config), s.seed) for s in begin(name, seed=2).ask(4)]
    assert trainings != others


@every_strategy
@pytest.mark.parametrize("seed", range(5))
def test_a_replayed_finished_search_is_finished_in_any_order(name: str, seed: int) -> None:
    told = run(begin(name), unlucky)
    random.Random(seed).shuffle(told)
    replayed = begin(name)
    for outcome in told:
        replayed.tell(outcome)
    again = run(replayed, unlucky)
    assert not set(asked(again)) & set(asked(told)), "asked again for what was told"


@every_strategy
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_replay_in_order_equals_live(name: str, share: float) -> None:
    whole = run(begin(name), unlucky, free=1)
    told = whole[: int(share * len(whole))]
    replayed = begin(name)
    for outcome in told:
        replayed.tell(outcome)
    assert [s.id for s in replayed.ask(1)] == [whole[len(told)].segment.id]


@every_strategy
def test_a_finished_search_replayed_in_order_has_nothing_left_to_do(name: str) -> None:
    told = run(begin(name), unlucky, free=4, order=random.Random(2))
    replayed = begin(name)
    for outcome in told:
        replayed.tell(outcome)
    assert replayed.finished
    assert replayed.ask(8) == []


@every_strategy
def test_an_outcome_told_twice_counts_once(name: str) -> None:
    once, twice = begin(name), begin(name)
    for _ in range(8):
        for segment, copy in zip(once.ask(2), twice.ask(2), strict=True):
            assert segment == copy
            once.tell(train(segment))
            twice.tell(train(segment))
            twice.tell(train(segment))
    assert once.ask(4) == twice.ask(4)


@every_strategy
def test_a_lost_segment_is_asked_for_again_unchanged(name: str) -> None:
    strategy = begin(name)
    segment = strategy.ask(2)[-1]
    strategy.tell(Outcome(segment, Status.LOST, error="worker gone"))
    assert not strategy.finished
    assert strategy.ask(1) == [segment]


@every_strategy
def test_losing_every_segment_once_changes_nothing_but_time(name: str) -> None:
    seen: set[int] = set()

    def fragile(segment: Segment) -> Outcome:
        if segment.id in seen:
            return train(segment)
        seen.add(segment.id)
        return Outcome(segment, Status.LOST, error="worker gone")

    told = run(begin(name), fragile, free=1)
    kept = [o for o in told if o.status is not Status.LOST]
    assert [o.segment for o in kept] == [o.segment for o in run(begin(name), free=1)]


@every_strategy
def test_a_search_in_which_everything_fails_ends(name: str) -> None:
    told = run(begin(name), lambda s: Outcome(s, Status.FAILED, error="boom"))
    assert all(o.segment.parent is None for o in told)


@every_strategy
def test_nothing_goes_on_from_a_segment_that_did_not_complete(name: str) -> None:
    told = run(begin(name), unlucky, free=4, order=random.Random(1))
    bad = {o.segment.id for o in told if o.status is not Status.COMPLETED}
    nan = {o.segment.id for o in told if any(math.isnan(v) for v in o.curve.get("loss", ()))}
    assert bad
    assert not (bad | nan) & {o.segment.parent for o in told}


@every_strategy
def test_a_trial_that_says_done_is_not_trained_on(name: str) -> None:
    def short(segment: Segment) -> Outcome:
        curve = [loss(segment.config, i) for i in range(segment.start + 1, min(2, segment.stop) + 1)]
        return Outcome(segment, Status.COMPLETED, {"loss": curve}, done=segment.stop >= 2)

    told = run(begin(name), short)
    done = {o.segment.id for o in told if o.done}
    assert done
    assert not done & {o.segment.parent for o in told}


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_it_keeps_every_checkpoint_that_it_still_needs(name: str, seed: int) -> None:
    strategy, order = begin(name), random.Random(seed)
    kept: set[int] = set()
    told: set[int] = set()
    flying: list[Segment] = []
    while not strategy.finished:
        for segment in strategy.ask(5 - len(flying)):
            assert segment.parent is None or segment.parent in kept
            flying.append(segment)
        segment = flying.pop(order.randrange(len(flying)))
        strategy.tell(unlucky(segment))
        told.add(segment.id)
        now = set(strategy.kept())
        assert not (now & told) - kept - {segment.id}, "wants a checkpoint back that it gave up"
        kept = now
    assert kept


@every_strategy
def test_max_is_min_of_the_negative(name: str) -> None:
    def negative(segment: Segment) -> Outcome:
        outcome = unlucky(segment)
        return dataclasses.replace(outcome, curve={"loss": [-v for v in outcome.curve.get("loss", ())]})

    recipe = RECIPES[name]
    upward = recipe.start(SPACE, metric="loss", mode="max", seed=1, baseline=BASELINE)
    assert [o.segment for o in run(upward, negative)] == [o.segment for o in run(begin(name), unlucky)]


@every_strategy
def test_an_outcome_of_a_segment_never_asked_for_is_accepted(name: str) -> None:
    strategy = begin(name)
    config = dict(BASELINE, lr=0.03)
    foreign = Segment(segment_id(5, 0), 5, None, config, 0, 1, seed=9, reason="from another life")
    strategy.tell(train(foreign))
    assert foreign.id not in asked(run(strategy))


@every_strategy
def test_outcomes_whose_config_no_longer_fits_the_space_are_ignored(name: str) -> None:
    strategy = begin(name)
    config = dict(BASELINE, lr=7.0)
    foreign = Segment(segment_id(5, 0), 5, None, config, 0, 1, seed=9, reason="before the edit")
    strategy.tell(train(foreign))
    told = run(strategy)
    assert foreign.id not in asked(told)
    assert all(o.segment.config != config for o in told)
