"""The contract of `raysearch.strategies.base`, as tests of a strategy; see `raysearch.testing`."""

from __future__ import annotations

import copy
import dataclasses
import math
import random
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from raysearch.core.segment import ORDINAL_BITS, Config, Outcome, Segment, Status, segment_id
from raysearch.space.space import Space
from raysearch.strategies import registry
from raysearch.strategies.base import (
    Abilities,
    Closing,
    Recipe,
    Strategy,
    abilities_of,
    cost_of,
    notes_of,
)
from raysearch.testing import worlds
from raysearch.testing.worlds import by_id, run, steps, tell_all, train, unlucky

SMALL: dict[str, Any] = {"samples": 14, "max_iterations": 9}
CASES: dict[str, tuple[Any, ...]] = {
    "seed": tuple(range(5)),
    "free": (1, 2, 7, 64),
    "share": (0.2, 0.5, 0.8),
}


@runtime_checkable
class Exemplified(Protocol):
    """A recipe class that names small recipes of its own, for the suite."""

    @classmethod
    def examples(cls) -> Mapping[str, Recipe]:
        """Recipes by label, each of which ends after some dozens of segments."""
        ...


def small_recipes(names: Iterable[str] | None = None) -> dict[str, Recipe]:
    """Small recipes of registered strategies: `caviar`, `panda-one`, ...

    A recipe class with a class method `examples()` names its own; of another the required fields are set as
    in SMALL.

    Args:
        names: of strategies, as a spec names them; every registered one if None.
    """
    found: dict[str, Recipe] = {}
    for name in registry.names() if names is None else names:
        cls: Any = registry.recipe_class(name)
        if isinstance(cls, Exemplified):
            found.update({f"{name}-{label}": recipe for label, recipe in cls.examples().items()})
            continue
        required = [f.name for f in dataclasses.fields(cls) if f.init and f.default is dataclasses.MISSING]
        found[name] = registry.recipe(name, {f: SMALL[f] for f in required if f in SMALL})
    return found


class Begins:
    """What the parts of the suite share; subclasses may set what is tested.

    Attributes:
        recipes: small recipes by label; those of every registered strategy if empty.
        space, baseline: where they search. Trainings are those of `raysearch.testing.worlds`, which need `lr`
            and `layers`.
    """

    recipes: ClassVar[Mapping[str, Recipe]] = {}
    space: ClassVar[Space] = worlds.SPACE
    baseline: ClassVar[Config] = worlds.BASELINE

    @classmethod
    def pytest_generate_tests(cls, metafunc: Any) -> None:
        """Runs each test on every recipe, and on each of its CASES."""
        names = metafunc.fixturenames
        if "name" in names:
            metafunc.parametrize("name", list(cls._recipes()))
        for argument, values in CASES.items():
            if argument in names:
                metafunc.parametrize(argument, values)

    def begin(self, name: str, seed: int = 1, mode: Any = "min") -> Strategy:
        """The strategy of a recipe at its beginning."""
        recipe = self._recipes()[name]
        return recipe.start(self.space, metric="loss", mode=mode, seed=seed, baseline=self.baseline)

    @classmethod
    def _recipes(cls) -> Mapping[str, Recipe]:
        return cls.recipes or small_recipes()


class SegmentsSuite(Begins):
    """What a strategy asks for."""

    def test_a_recipe_is_frozen_and_has_its_name(self, name: str) -> None:
        recipe = self._recipes()[name]
        assert isinstance(recipe, Recipe)
        assert recipe.name
        unfrozen: Any = recipe
        try:
            unfrozen.name = "other"
        except (dataclasses.FrozenInstanceError, AttributeError):
            return
        raise AssertionError("a recipe must be a frozen dataclass")

    def test_it_declares_what_it_can_do(self, name: str) -> None:
        recipe = self._recipes()[name]
        assert isinstance(abilities_of(recipe), Abilities)
        cost = cost_of(recipe, has_baseline=True)
        assert cost is None or (cost.iterations >= 1 and cost.horizon >= 1)

    def test_it_finishes_and_asks_for_every_segment_once(self, name: str) -> None:
        told = run(self.begin(name))
        assert len(told) >= 2
        assert len(by_id(told)) == len(told)

    def test_segments_are_sound(self, name: str) -> None:
        known: set[int] = set()
        for segment in (o.segment for o in run(self.begin(name))):
            assert 0 <= segment.start < segment.stop
            assert segment.id >> ORDINAL_BITS == segment.trial
            assert segment.reason.strip() == segment.reason != ""
            assert 0 <= segment.seed < 1 << 63
            assert segment.parent is None or segment.parent in known
            assert (segment.start == 0) == (segment.parent is None)
            assert self.space.why_not(segment.config) is None
            known.add(segment.id)

    def test_a_child_begins_where_its_parent_stopped(self, name: str) -> None:
        segments = by_id(run(self.begin(name)))
        for segment in segments.values():
            if segment.parent is not None:
                assert segments[segment.parent].stop == segment.start

    def test_the_baseline_is_trained_first(self, name: str) -> None:
        assert self.begin(name).ask(1)[0].config == self.baseline

    def test_ask_gives_no_more_than_there_are_free_slots(self, name: str, free: int) -> None:
        strategy = self.begin(name)
        assert strategy.ask(0) == []
        assert 1 <= len(strategy.ask(free)) <= free

    def test_same_seed_and_outcomes_give_the_same_decisions(self, name: str) -> None:
        first = run(self.begin(name), unlucky, free=5, order=random.Random(3))
        second = run(self.begin(name), unlucky, free=5, order=random.Random(3))
        assert [o.segment for o in first] == [o.segment for o in second]

    def test_another_seed_gives_other_configurations_or_trainings(self, name: str) -> None:
        trainings = [(str(s.config), s.seed) for s in self.begin(name, seed=1).ask(4)]
        others = [(str(s.config), s.seed) for s in self.begin(name, seed=2).ask(4)]
        assert trainings != others

    def test_max_is_min_of_the_negative(self, name: str) -> None:
        def negative(segment: Segment) -> Outcome:
            outcome = unlucky(segment)
            return dataclasses.replace(outcome, curve={"loss": [-v for v in outcome.curve.get("loss", ())]})

        upward = run(self.begin(name, mode="max"), negative)
        assert [o.segment for o in upward] == [o.segment for o in run(self.begin(name), unlucky)]

    def test_queries_change_nothing(self, name: str) -> None:
        asked, polled = self.begin(name), self.begin(name)
        orders = random.Random(4), random.Random(4)
        others = steps(asked, unlucky, 4, orders[0])
        for outcome in steps(polled, unlucky, 4, orders[1]):
            assert outcome.segment == next(others).segment
            for _ in range(2):
                before = (polled.finished, set(polled.kept()), list(notes_of(polled)))
                assert before == (polled.finished, set(polled.kept()), list(notes_of(polled)))


class ReplaySuite(Begins):
    """That its state is a fold over outcomes, in whatever order and from whatever life."""

    def test_outcomes_may_arrive_in_any_order(self, name: str, seed: int) -> None:
        told = run(self.begin(name), free=8, order=random.Random(seed))
        assert len(by_id(told)) == len(told)

    def test_a_replayed_finished_search_is_finished_in_any_order(self, name: str, seed: int) -> None:
        told = run(self.begin(name), unlucky)
        random.Random(seed).shuffle(told)
        again = run(tell_all(self.begin(name), told), unlucky)
        assert not set(by_id(again)) & set(by_id(told)), "asked again for what was told"

    def test_replay_in_order_equals_live(self, name: str, share: float) -> None:
        whole = run(self.begin(name), unlucky, free=1)
        told = whole[: int(share * len(whole))]
        replayed = tell_all(self.begin(name), told)
        assert [s.id for s in replayed.ask(1)] == [whole[len(told)].segment.id]

    def test_a_finished_search_replayed_in_order_has_nothing_left_to_do(self, name: str) -> None:
        told = run(self.begin(name), unlucky, free=4, order=random.Random(2))
        replayed = tell_all(self.begin(name), told)
        assert replayed.finished
        assert replayed.ask(8) == []

    def test_an_outcome_told_twice_counts_once(self, name: str) -> None:
        once, twice = self.begin(name), self.begin(name)
        for _ in range(8):
            for segment, same in zip(once.ask(2), twice.ask(2), strict=True):
                assert segment == same
                once.tell(train(segment))
                twice.tell(train(segment))
                twice.tell(train(segment))
        assert once.ask(4) == twice.ask(4)

    def test_an_outcome_of_a_segment_never_asked_for_is_accepted(self, name: str) -> None:
        foreign = self._foreign("from another life", lr=0.03)
        strategy = tell_all(self.begin(name), [train(foreign)])
        assert foreign.id not in by_id(run(strategy))

    def test_outcomes_whose_config_no_longer_fits_the_space_are_ignored(self, name: str) -> None:
        foreign = self._foreign("before the edit", lr=7.0)
        told = run(tell_all(self.begin(name), [train(foreign)]))
        assert foreign.id not in by_id(told)
        assert all(o.segment.config != foreign.config for o in told)

    def _foreign(self, reason: str, **values: Any) -> Segment:
        config = {**copy.deepcopy(dict(self.baseline)), **values}
        return Segment(segment_id(5, 0), 5, None, config, 0, 1, seed=9, reason=reason)


class FaultsSuite(Begins):
    """That losses, failures and NaN have their ends, and that checkpoints are kept as long as they must."""

    def test_a_lost_segment_is_asked_for_again_unchanged(self, name: str) -> None:
        strategy = self.begin(name)
        segment = strategy.ask(2)[-1]
        strategy.tell(Outcome(segment, Status.LOST, error="worker gone"))
        assert not strategy.finished
        assert strategy.ask(1) == [segment]

    def test_one_that_is_closed_asks_only_for_what_was_lost_and_for_its_finish(self, name: str) -> None:
        strategy = self.begin(name)
        assert isinstance(strategy, Closing) == abilities_of(self._recipes()[name]).closes
        if not isinstance(strategy, Closing):
            return
        first = strategy.ask(6)
        tell_all(strategy, map(train, first[:-1]))
        strategy.close()
        strategy.tell(Outcome(first[-1], Status.LOST))
        searched = {o.segment.id for o in run(strategy) if not o.segment.is_final}
        assert searched == {first[-1].id}
        assert strategy.finished
        assert strategy.ask(1) == []

    def test_losing_every_segment_once_changes_nothing_but_time(self, name: str) -> None:
        told = run(self.begin(name), worlds.losing_each_once(), free=1)
        kept = [o for o in told if o.status is not Status.LOST]
        assert [o.segment for o in kept] == [o.segment for o in run(self.begin(name), free=1)]

    def test_a_search_in_which_everything_fails_ends(self, name: str) -> None:
        told = run(self.begin(name), worlds.failing)
        assert all(o.segment.parent is None for o in told)

    def test_nothing_goes_on_from_a_segment_that_did_not_complete(self, name: str) -> None:
        told = run(self.begin(name), unlucky, free=4, order=random.Random(1))
        bad = {o.segment.id for o in told if o.status is not Status.COMPLETED}
        nan = {o.segment.id for o in told if any(math.isnan(v) for v in o.curve.get("loss", ()))}
        assert bad
        assert not (bad | nan) & {o.segment.parent for o in told}

    def test_a_trial_that_says_done_is_not_trained_on(self, name: str) -> None:
        told = run(self.begin(name), worlds.short)
        done = {o.segment.id for o in told if o.done}
        assert done
        assert not done & {o.segment.parent for o in told}

    def test_it_keeps_every_checkpoint_that_it_still_needs(self, name: str, seed: int) -> None:
        strategy, order = self.begin(name), random.Random(seed)
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


class StrategySuite(SegmentsSuite, ReplaySuite, FaultsSuite):
    """The whole contract; see `raysearch.testing` for how it is run."""
