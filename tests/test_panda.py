"""Panda: what one model, or a few, do in a small world whose truth is known; disasters that are planted."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from raysearch.core.segment import Outcome, Segment, Status, segment_id
from raysearch.errors import SpecError
from raysearch.space import Space
from raysearch.strategies.panda import Panda
from raysearch.strategies.panda.pacing import decayed
from raysearch.strategies.panda.parallel_lines import shares_of
from raysearch.strategies.seeding import fresh_seed

SPACE = Space.from_dict({"lr": {"loguniform": [1e-5, 1.0]}, "momentum": {"uniform": [0.0, 0.99]}})
BASELINE = {"lr": 3e-4, "momentum": 0.5}
BEST_LR = 0.03
LIMIT = 0.2
HORIZON = 400
PARTS = 8

Disaster = Callable[[Segment, int, float], float]  # (segment, iteration, loss) -> what is reported


def calm(segment: Segment, iteration: int, loss: float) -> float:
    return loss


class World:
    """A noisy quadratic: a higher rate falls faster and hovers higher; above LIMIT it explodes."""

    def __init__(self, disaster: Disaster = calm, ignores: tuple[str, ...] = ()) -> None:
        self.ends: dict[int, float] = {}
        self.told: list[Outcome] = []
        self._disaster = disaster
        self._ignores = ignores

    def train(self, segment: Segment) -> Outcome:
        loss = self.ends[segment.parent] if segment.parent is not None else 2.3
        lr = 1e-2 if "lr" in self._ignores else segment.config["lr"]
        pace = 0.03 * lr / (lr + BEST_LR)
        values = []
        for iteration in range(segment.start + 1, segment.stop + 1):
            loss = loss * 1.3 if lr > LIMIT else loss - pace * (loss - 0.1)
            loss = self._disaster(segment, iteration, loss)
            values.append(loss + lr + 1e-3 * (fresh_seed(segment.seed, iteration) / 2**31 - 0.5))
        self.ends[segment.id] = loss
        curve: dict[str, list[float]] = {"loss": values}
        for part in range(PARTS):
            wobble = 1e-3 * (fresh_seed(segment.id, part) / 2**31 - 0.5)
            curve[f"loss_parts/{part}"] = [value * (0.9 + 0.02 * part) + wobble for value in values]
        if not all(map(math.isfinite, values)):
            return Outcome(segment, Status.DIVERGED, {"loss": values})
        return Outcome(segment, Status.COMPLETED, curve, checkpoint=f"c{segment.id}")

    def run(self, strategy: Any, until: int | None = None) -> list[Outcome]:
        """Trains until the strategy has finished, or so many outcomes are told."""
        while not strategy.finished and (until is None or len(self.told) < until):
            segments = strategy.ask(1)
            assert segments
            for segment in segments:
                self.told.append(self.train(segment))
                strategy.tell(self.told[-1])
        return self.told


def begin(**settings: Any) -> Any:
    recipe = Panda(**{"max_iterations": HORIZON, **settings})
    return recipe.start(SPACE, metric="loss", mode="min", seed=1, baseline=BASELINE)


def trained(told: list[Outcome]) -> int:
    return sum(o.reached - o.segment.start for o in told)


def path(told: list[Outcome]) -> list[Segment]:
    """The segments that led to where the training ended."""
    by_id = {o.segment.id: o.segment for o in told}
    good = [o for o in told if o.status is Status.COMPLETED]
    last = max((o for o in good), key=lambda o: (o.segment.stop, -o.curve["loss"][-1])).segment
    found = [last]
    while found[-1].parent is not None:
        found.append(by_id[found[-1].parent])
    return found[::-1]


def reasons(told: list[Outcome], event: str) -> list[str]:
    found = dict.fromkeys(o.segment.reason for o in told)
    return [reason for reason in found if reason.startswith(f"{event}: ")]


def test_one_model_finds_its_learning_rate_within_its_budget() -> None:
    told = World().run(begin())
    line = path(told)
    assert line[-1].stop == HORIZON
    assert trained(told) <= 1.25 * HORIZON
    in_the_middle = next(s for s in line if s.stop >= HORIZON // 2)
    assert BEST_LR / 3 < in_the_middle.config["lr"] <= LIMIT
    assert reasons(told, "accept")
    assert reasons(told, "reject")


def test_the_learning_rate_falls_to_the_lower_bound_at_the_end() -> None:
    line = path(World().run(begin(decay=0.2, decay_steps=8)))
    last = [s.config["lr"] for s in line if s.start >= 0.8 * HORIZON]
    assert last == sorted(last, reverse=True)
    assert last[-1] < 0.1 * last[0]
    assert len(last) == 8


def test_both_arms_of_a_fork_see_the_same_examples() -> None:
    told = World().run(begin())
    forks: dict[tuple[int, int], list[Segment]] = {}
    for outcome in told:
        if outcome.segment.parent is not None:
            forks.setdefault((outcome.segment.parent, outcome.segment.stop), []).append(outcome.segment)
    pairs = [arms for arms in forks.values() if len(arms) == 2]
    assert pairs
    assert all(a.seed == b.seed and a.config != b.config for a, b in pairs)


# ---- disasters


def off_path(told: list[Outcome]) -> int:
    """Iterations that led nowhere, those of probes apart."""
    line = {s.id for s in path(told)}
    lost = [o for o in told if o.segment.id not in line]
    probes = [o for o in lost if o.segment.reason.startswith(("hold: ", "nudge: "))]
    return trained(lost) - trained(probes)


def test_a_nudge_that_explodes_later_is_undone_within_two_intervals() -> None:
    born: dict[float, int] = {}

    def explodes(segment: Segment, iteration: int, loss: float) -> float:
        lr = segment.config["lr"]
        if lr <= 0.02:
            return loss
        begun = born.setdefault(lr, iteration)
        return loss * 1.5 if iteration > begun + 25 else loss

    told = World(explodes).run(begin(interval=20))
    (back, *_) = reasons(told, "rollback")
    assert "undone: lr" in back
    assert path(told)[-1].stop == HORIZON
    assert max(s.config["lr"] for s in path(told)[-3:]) <= 0.02
    per_rollback = off_path(told) / len(reasons(told, "rollback"))
    assert per_rollback <= 2 * 20


def test_a_nan_costs_at_most_two_intervals_and_is_explained() -> None:
    hurt: list[int] = []

    def diverges(segment: Segment, iteration: int, loss: float) -> float:
        is_stretch = not segment.reason.startswith(("hold: ", "nudge: "))
        if iteration == 207 and is_stretch and not hurt:
            hurt.append(segment.id)
        return math.nan if segment.id in hurt else loss

    told = World(diverges).run(begin(interval=20))
    (back,) = reasons(told, "rollback")
    assert "diverged" in back
    lost = re.search(r"iteration \d+, (\d+) lost: ", back)
    assert lost is not None, back
    assert 0 < off_path(told) <= int(lost[1]) <= 2 * 20, "and the arm that led there"
    assert path(told)[-1].stop == HORIZON


def test_a_corrupted_batch_is_left_behind() -> None:
    first: list[int] = []

    def corrupted(segment: Segment, iteration: int, loss: float) -> float:
        if not first:
            first.append(segment.seed)
        return loss + 3.0 if iteration == 211 and segment.seed == first[0] else loss

    told = World(corrupted).run(begin(interval=20))
    backs = reasons(told, "rollback")
    assert backs
    assert "reports running above" in backs[0]
    assert off_path(told) <= 2 * 20 * len(backs)
    assert World().run(begin(interval=20))[-1].curve["loss"][-1] == pytest.approx(
        told[-1].curve["loss"][-1], abs=0.05
    )


def test_a_model_that_always_diverges_is_given_up_with_a_reason() -> None:
    strategy = begin()
    told = World(lambda segment, iteration, loss: math.nan).run(strategy)
    assert len(told) < 40
    assert any("given up" in note for note in strategy.notes)


def test_above_a_learning_rate_that_spiked_nothing_is_tried_again() -> None:
    def spikes(segment: Segment, iteration: int, loss: float) -> float:
        is_stretch = not segment.reason.startswith(("hold: ", "nudge: "))
        return loss + 5.0 if is_stretch and segment.config["lr"] > 0.04 else loss

    told = World(spikes).run(begin())
    backs = [i for i, o in enumerate(told) if o.segment.reason.startswith("rollback: ")]
    assert backs
    after = [o.segment.config["lr"] for o in told[backs[-1] :]]
    assert max(after) <= 0.04
    assert len(reasons(told, "rollback")) <= 3


def test_a_hyper_parameter_that_changes_nothing_is_said_to_be_ignored() -> None:
    strategy = Panda(max_iterations=HORIZON, nudge=["lr"]).start(
        SPACE, metric="loss", mode="min", seed=1, baseline=BASELINE
    )

    class Deaf(World):
        def train(self, segment: Segment) -> Outcome:
            outcome = super().train(segment)
            values = list(outcome.curve["loss"])
            return dataclasses.replace(outcome, curve={"loss": values})

    told = Deaf(ignores=("lr",)).run(strategy)
    assert any(note.startswith("lr is ignored") for note in strategy.notes)
    nudges = [o.segment for o in told if o.segment.reason.startswith("nudge: ")]
    assert [s.parent is None for s in nudges] == [True, False, False, False]  # a fresh model says nothing


# ---- people


def test_a_persons_nudge_holds_from_the_next_decision_on() -> None:
    strategy, world = begin(), World()
    world.run(strategy, until=20)
    stamped = strategy.plan_intervention({"kind": "nudge", "values": {"lr": 0.5}})
    assert "-> 0.5" in stamped["words"]
    strategy.intervene(stamped)
    world.run(strategy)
    (first,) = reasons(world.told, "order")
    assert first == f"order: {stamped['words']}"
    ordered = next(o.segment for o in world.told if o.segment.reason == first)
    assert ordered.config["lr"] == 0.5


def test_a_persons_rollback_grows_from_that_segment() -> None:
    strategy, world = begin(), World()
    world.run(strategy, until=40)
    target = path(world.told)[-6]
    strategy.intervene(strategy.plan_intervention({"kind": "rollback", "segment": target.id}))
    assert target.id in strategy.kept()
    world.run(strategy)
    ordered = next(o.segment for o in world.told if o.segment.reason.startswith("order: rollback"))
    assert ordered.parent == target.id


def test_orders_given_at_one_time_are_obeyed_in_turn_and_all_are_told() -> None:
    strategy, world = begin(), World()
    world.run(strategy, until=20)
    stamped = [strategy.plan_intervention({"kind": "nudge", "values": {"lr": lr}}) for lr in (0.5, 0.25)]
    for order in stamped:
        strategy.intervene(order)
    world.run(strategy)
    (reason,) = reasons(world.told, "order")
    assert reason == f"order: {stamped[0]['words']}; then {stamped[1]['words']}"
    ordered = next(o.segment for o in world.told if o.segment.reason == reason)
    assert ordered.config["lr"] == 0.25


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"kind": "nudge", "values": {"lt": 1.0}}, "'lt'; known: lr, momentum"),
        ({"kind": "nudge", "values": {"lr": 9.0}}, "outside"),
        ({"kind": "rollback", "segment": segment_id(900, 1)}, "900.1 did not end well"),
        ({"kind": "pray"}, "known: nudge, rollback"),
    ],
)
@pytest.mark.parametrize("population", [1, 4, 8])
def test_orders_that_make_no_sense_are_refused(population: int, order: dict[str, Any], words: str) -> None:
    strategy, world = begin(population=population), World()
    world.run(strategy, until=20)
    with pytest.raises(SpecError, match=words):
        strategy.plan_intervention(order)


@pytest.mark.parametrize("population", [1, 4, 8])
def test_a_life_after_an_order_replays_to_the_same_decisions(population: int) -> None:
    strategy, world = begin(population=population), World()
    world.run(strategy, until=30)
    stamped = strategy.plan_intervention({"kind": "nudge", "values": {"lr": 0.01}})
    strategy.intervene(stamped)
    world.run(strategy, until=60)
    reborn = begin(population=population)
    reborn.intervene(stamped)
    for outcome in world.told:
        reborn.tell(outcome)
    assert reborn.ask(8) == strategy.ask(8)


def test_an_order_for_many_models_is_every_ones() -> None:
    strategy, world = begin(population=8, interval=20), World()
    world.run(strategy, until=40)
    strategy.intervene(strategy.plan_intervention({"kind": "nudge", "values": {"lr": 0.01}}))
    world.run(strategy, until=80)
    nudged = [o.segment for o in world.told if o.segment.reason.startswith("order: nudge lr")]
    assert [s.config["lr"] for s in nudged] == [0.01] * 8
    target = world.told[60].segment
    strategy.intervene(strategy.plan_intervention({"kind": "rollback", "segment": target.id}))
    assert target.id in strategy.kept()
    world.run(strategy)
    back = [o.segment for o in world.told if o.segment.reason.startswith("order: rollback")]
    assert [s.parent for s in back] == [target.id] * 8


def test_a_model_trained_before_goes_on_from_where_it_stands() -> None:
    adopted = Segment(segment_id(0, 0), 0, None, BASELINE, 0, 120, 0, "adopt: ...", role="adopted")
    for population in (1, 4):
        strategy, world = begin(population=population), World()
        world.ends[adopted.id] = 1.0
        nothing = [math.nan] * 120
        strategy.tell(Outcome(adopted, Status.COMPLETED, {"loss": nothing}, checkpoint="c0"))
        told = world.run(strategy)
        assert {o.segment.start for o in told if o.segment.parent == adopted.id} == {120}
        assert min(o.segment.start for o in told) == 120
        assert path([*told, Outcome(adopted, Status.COMPLETED, {"loss": [1.0]})])[-1].stop == HORIZON


# ---- a few, and many


def test_four_lines_take_no_more_than_four_trainings_and_the_worst_is_given_up() -> None:
    told = World().run(begin(population=4))
    assert trained(told) <= 4 * HORIZON
    shares = shares_of(4, HORIZON)
    assert shares.whole == 3
    assert shares.gate > 0
    reached: dict[int, int] = {}
    for outcome in told:
        line = outcome.segment.trial % 4
        reached[line] = max(reached.get(line, 0), outcome.segment.stop)
    assert sorted(reached.values())[1:] == [HORIZON] * 3
    assert shares.gate <= min(reached.values()) < HORIZON


def test_members_of_truncation_copy_the_best_and_explore() -> None:
    told = World().run(begin(population=4, exploit="truncation", interval=20))
    assert reasons(told, "clone")
    assert trained(told) == 4 * HORIZON


def test_sub_populations_clone_only_beyond_noise() -> None:
    told = World().run(begin(population=8, interval=10))
    assert trained(told) <= 8 * HORIZON
    for reason in reasons(told, "clone"):
        assert "gain +" in reason


# ---- settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"nudge": ["lt"]}, "'lt'; known: lr, momentum"),
        ({"nudge": []}, "nudge"),
        ({"max_iterations": 1}, "max_iterations = 1"),
        ({"population": 0}, "population = 0"),
        ({"interval": 400}, "leaves no decision"),
        ({"budget": 0.5}, "budget = 0.5"),
        ({"budget": float("inf")}, "budget = .*inf must be a finite number of at least 1"),
        ({"decay": 0.95}, "decay = 0.95"),
        ({"exploit": "trunc"}, "did you mean 'truncation'"),
        ({"exploit": "truncation"}, "at least 2"),
        ({"exploit": "challenge"}, "population of 2 to 7"),
        ({"suggest": "gp"}, "population of 8"),
        ({"base_schedule": "cosin"}, "cosin"),
        ({"factor": "big"}, "factor = 'big'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        begin(**settings)


def test_a_space_without_real_hyper_parameters_has_nothing_to_nudge() -> None:
    space = Space.from_dict({"optimizer": {"choice": ["sgd", "adamw"]}})
    with pytest.raises(SpecError, match="nudge"):
        Panda(max_iterations=10).start(space, metric="loss", mode="min")


def test_a_longer_training_is_decided_as_before_up_to_where_the_decay_began() -> None:
    recipe = Panda(max_iterations=HORIZON)
    longer = recipe.extended(max_iterations=2 * HORIZON)
    assert longer.interval_iterations == recipe.interval_iterations
    with pytest.raises(SpecError, match="--max-iterations"):
        recipe.extended(samples=3)


@pytest.mark.parametrize("shape", ["cosine", "linear", {"name": "cosine", "warmup": 0.1}])
def test_a_base_schedule_is_multiplied_by_what_is_learnt(shape: Any) -> None:
    told = World().run(begin(base_schedule=shape, decay=0.0))
    line = path(told)
    assert line[-1].config["lr"] < 0.1 * max(s.config["lr"] for s in line)


def test_half_way_through_the_decay_less_than_a_quarter_of_the_rate_is_left() -> None:
    last = [s.config["lr"] for s in path(World().run(begin(decay=0.2, decay_steps=80))) if s.start >= 320]
    assert len(last) == 80
    assert last[40] / last[0] == pytest.approx(0.22, abs=0.02)
    assert decayed(1.0) == 0.0
