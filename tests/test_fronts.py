"""Caviar with several objectives and limits: who goes on, who is on the podium, what the sampler learns."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest

from raysearch.core.hypervolume import hypervolume
from raysearch.core.pareto import fronts, ranking
from raysearch.core.segment import Outcome, Segment, Status
from raysearch.errors import SpecError
from raysearch.sources import from_optuna, optuna_limits
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives, Standing
from raysearch.space.space import Space
from raysearch.strategies.base import Strategy
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.caviar.fronts import EXACT, FrontPodium, FrontRung
from raysearch.testing import worlds

optuna.logging.set_verbosity(optuna.logging.WARNING)
SPACE = Space.from_dict({"x": {"uniform": [0.0, 1.0]}, "y": {"uniform": [0.0, 1.0]}})
GOALS = Objectives({"loss": "min", "speed": "max"}, (Limit("memory <= 0.8"),))


def train(segment: Segment) -> Outcome:
    """A loss that falls towards a front of x against speed; y is waste. Memory grows with x."""
    x, y = segment.config["x"], segment.config["y"]
    points = range(segment.start + 1, segment.stop + 1)
    curve = {
        "loss": [(1 - math.sqrt(x)) + y + 1.0 / i for i in points],
        "speed": [-x - y for _ in points],
        "memory": [x for _ in points],
    }
    return Outcome(segment, Status.COMPLETED, curve, checkpoint=f"c{segment.id}", seconds=1.0)


def unlucky(segment: Segment) -> Outcome:
    """As `train`, but some diverge in one of the objectives or in what the limit speaks of."""
    outcome = train(segment)
    broken = {1: "loss", 3: "speed", 5: "memory"}.get(segment.trial % 9)
    if segment.trial % 9 == 7:
        return Outcome(segment, Status.FAILED, error="boom")
    if broken is None:
        return outcome
    curve = {**outcome.curve, broken: [math.nan] * (segment.stop - segment.start)}
    return Outcome(segment, Status.COMPLETED, curve)


def begin(goals: Objectives = GOALS, seed: int = 1, **settings: Any) -> Strategy:
    recipe = Caviar(**{"samples": 40, "max_iterations": 9, "sampler": "sobol", **settings})
    lead = goals.leading
    return recipe.start(SPACE, metric=lead, mode=goals.modes[lead], seed=seed, objectives=goals)


def scored(outcome: Outcome, goals: Objectives = GOALS) -> float:
    return goals.standing(outcome.curve)


# ---- a rung


def drawn(seed: int, n: int, m: int) -> list[Standing]:
    rng = np.random.default_rng(seed)
    beyond = np.where(rng.random(n) < 0.3, rng.random(n), -1.0)
    rows = zip(rng.normal(size=(n, m)).tolist(), beyond.tolist(), strict=True)
    return [Standing(values, (excess,)) for values, excess in rows]


def order_of(rung: FrontRung) -> list[int]:
    return [trial for _, trial in rung.entries]


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_rung_ranks_by_limits_then_fronts_then_spread_in_whatever_order_scores_come(
    seed: int, m: int
) -> None:
    scores = drawn(seed, 80, m)
    trials = list(range(80))
    random.Random(seed).shuffle(trials)
    rung = FrontRung(3, 3, m)
    for trial in trials:
        assert rung.record(scores[trial], trial) == order_of(rung).index(trial)
    beyond = np.array([max(0.0, one.excesses[0]) for one in scores])
    assert order_of(rung) == ranking(beyond, np.array([one.values for one in scores])).tolist()


def test_a_failure_is_behind_whatever_is_beyond_the_limits() -> None:
    rung = FrontRung(3, 3, 2)
    rung.record(math.inf, 0)
    rung.record(Standing((5.0, 5.0), (9.0,)), 1)
    rung.record(Standing((6.0, 6.0), (-1.0,)), 2)
    assert order_of(rung) == [2, 1, 0]
    assert rung.standing(math.inf, 0) == math.inf
    assert rung.standing(6.0, 2).values == (6.0, 6.0)  # type: ignore[union-attr]
    assert rung.standing(0.0, 7) is None


def test_an_outcome_moves_those_that_it_dominates_down() -> None:
    rung = FrontRung(3, 2, 2)
    for trial, values in enumerate([(1.0, 3.0), (3.0, 1.0), (2.0, 2.5)]):
        rung.record(Standing(values), trial)
    assert order_of(rung) == [0, 1, 2]
    rung.wait(1.0, 0, 0)
    rung.record(Standing((0.5, 0.5)), 3)
    assert order_of(rung)[0] == 3
    assert rung.promotable() == (0, 1)
    rung.leave(1.0, 0)
    assert rung.promotable() is None


@pytest.mark.parametrize("m", [2, 3])
def test_between_rankings_of_a_large_rung_places_are_nearly_those_of_a_full_ranking(m: int) -> None:
    scores = drawn(5, 1500, m)
    rung = FrontRung(3, 3, m)
    for trial, one in enumerate(scores):
        rung.record(one, trial)
    beyond = np.array([max(0.0, one.excesses[0]) for one in scores])
    best = set(ranking(beyond, np.array([one.values for one in scores]))[:500].tolist())
    assert len(scores) > 4 * EXACT
    assert len(best & set(order_of(rung)[:500])) >= 480


# ---- the podium


def test_the_podium_is_the_front_within_the_limits_and_covers_it() -> None:
    podium = FrontPodium(3)
    for trial, (values, excess) in enumerate(
        [((0.0, 1.0), -1.0), ((0.1, 0.9), -1.0), ((1.0, 0.0), -1.0), ((0.5, 0.5), -1.0), ((0.0, 0.0), 1.0)]
    ):
        podium.offer(9, Standing(values, (excess,)), trial, trial, {})
    podium.offer(27, Standing((2.0, 2.0), (-1.0,)), 9, 9, {})
    assert [leader.trial for leader, _ in podium.best()] == [9, 0, 2]
    assert podium.segments() == {9, 0, 2}


def test_the_checkpoints_of_the_whole_front_of_the_highest_level_are_kept() -> None:
    podium = FrontPodium(2)
    for trial in range(6):
        podium.offer(9, Standing((float(trial), -float(trial))), trial, 100 + trial, {})
    podium.offer(9, Standing((7.0, 7.0)), 6, 106, {})
    assert podium.segments() == {100, 101, 102, 103, 104, 105}


def test_a_podium_of_very_many_forgets_the_worse_half_only() -> None:
    podium = FrontPodium(3)
    for trial in range(900):
        podium.offer(9, Standing((float(trial), float(trial))), trial, trial, {})
    assert [leader.trial for leader, _ in podium.best()] == [0, 1, 2]


# ---- whole searches


@pytest.mark.parametrize("variant", ["promotion", "stopping"])
@pytest.mark.parametrize("training", [train, unlucky])
def test_a_search_of_several_objectives_ends_and_trains_its_front_again(
    variant: Any, training: Callable[[Segment], Outcome]
) -> None:
    told = worlds.run(begin(variant=variant), training, free=4, order=random.Random(2))
    whole = [o for o in told if o.segment.stop == 9 and not o.segment.is_final and scored(o) < math.inf]
    finalists = {o.segment.source for o in told if o.segment.is_final}
    assert 1 <= len(finalists) <= 3
    by_trial = {o.segment.trial: GOALS.standing(o.curve) for o in whole}
    within = {t: s for t, s in by_trial.items() if isinstance(s, Standing) and s.violation == 0}
    ranks = fronts(np.array([s.values for s in within.values()]))
    front = {t for t, rank in zip(within, ranks.tolist(), strict=True) if rank == 0}
    assert finalists & front
    assert finalists <= front or front <= finalists


@pytest.mark.parametrize("variant", ["promotion", "stopping"])
def test_trials_within_the_limits_go_on_before_those_beyond(variant: Any) -> None:
    told = worlds.run(begin(variant=variant, finish="off", samples=60), train, free=1)
    ended = [o for o in told if o.segment.stop == 9]
    assert ended
    assert sum(o.curve["memory"][-1] > 0.8 for o in ended) <= len(ended) // 4


@pytest.mark.parametrize("seed", range(3))
def test_a_finished_search_is_finished_when_its_outcomes_are_told_in_any_order(seed: int) -> None:
    told = worlds.run(begin(), unlucky, free=4, order=random.Random(seed))
    random.Random(seed).shuffle(told)
    again = worlds.run(worlds.tell_all(begin(), told), unlucky)
    assert not set(worlds.by_id(again)) & set(worlds.by_id(told))


def test_a_search_that_is_replayed_in_order_goes_on_as_the_live_one() -> None:
    whole = worlds.run(begin(sampler="model"), unlucky, free=1)
    for count in (10, 30, 45):
        replayed = worlds.tell_all(begin(sampler="model"), whole[:count])
        assert replayed.ask(1)[0].id == whole[count].segment.id


def test_one_objective_in_objectives_decides_as_the_metric_does() -> None:
    recipe = Caviar(samples=30, max_iterations=9)
    goals = Objectives({"loss": "min"})
    by_metric = recipe.start(worlds.SPACE, metric="loss", mode="min", seed=3)
    by_goals = recipe.start(worlds.SPACE, metric="loss", mode="min", seed=3, objectives=goals)
    told = worlds.run(by_metric, worlds.unlucky)
    assert [o.segment for o in told] == [o.segment for o in worlds.run(by_goals, worlds.unlucky)]


def test_limits_on_one_objective_pick_the_best_within_them() -> None:
    goals = Objectives({"loss": "min"}, (Limit("memory <= 0.5"),))
    told = worlds.run(begin(goals), train, free=2)
    best = next(o for o in told if o.segment.is_final and "rank 1" in o.segment.reason)
    whole = [o for o in told if o.segment.stop == 9 and o.curve["memory"][-1] <= 0.5]
    assert best.segment.config == min(whole, key=lambda o: o.curve["loss"][-1]).segment.config


# ---- the sampler


def volume_of(told: Sequence[Outcome], goals: Objectives) -> float:
    found = [goals.standing(o.curve) for o in told]
    within = [s.values for s in found if isinstance(s, Standing) and s.violation == 0]
    return hypervolume(np.array(within), np.array([1.5] + [1.0] * (len(goals.modes) - 1)))


def searched(sampler: Any, goals: Objectives, seed: int) -> list[Outcome]:
    recipe = Caviar(samples=60, max_iterations=1, sampler=sampler, finish="off")
    lead = goals.leading
    begun = recipe.start(SPACE_OF_SIX, metric=lead, mode=goals.modes[lead], seed=seed, objectives=goals)
    return worlds.run(begun, train_of_six, free=2)


SPACE_OF_SIX = Space.from_dict({f"x{i}": {"uniform": [0.0, 1.0]} for i in range(6)})


def train_of_six(segment: Segment) -> Outcome:
    """ZDT2 (Zitzler et al. 2000) in six variables, with a third objective and a memory that grows with x0."""
    x = [segment.config[f"x{i}"] for i in range(6)]
    g = 1 + sum(abs(v - 0.3) for v in x[2:])
    f1, f2 = x[0], g * (1 - (x[0] / g) ** 2)
    curve = {"f1": [f1], "f2": [f2 - 1], "f3": [g - 1 + abs(x[1] - x[0])], "memory": [x[0]]}
    return Outcome(segment, Status.COMPLETED, curve)


TWO = Objectives({"f1": "min", "f2": "min"})
THREE = Objectives({"f1": "min", "f2": "min", "f3": "min"})
LIMITED = Objectives({"f1": "min", "f2": "min"}, (Limit("0.4 <= memory <= 0.6"),))


@pytest.mark.parametrize("goals", [TWO, THREE, LIMITED], ids=["two", "three", "limited"])
def test_the_model_dominates_more_than_random_configurations(goals: Objectives) -> None:
    ours = sum(volume_of(searched("model", goals, seed), goals) for seed in (1, 2))
    assert ours > sum(volume_of(searched("random", goals, seed), goals) for seed in (1, 2))


def test_the_model_stays_within_limits_where_random_configurations_do_not() -> None:
    def beyond(sampler: str) -> int:
        later = [o for seed in (3, 4, 5) for o in searched(sampler, LIMITED, seed)[25:]]
        return sum(not 0.4 <= o.curve["memory"][0] <= 0.6 for o in later)

    assert beyond("model") < 0.6 * beyond("random")


def test_an_optuna_sampler_learns_every_objective_and_the_limits() -> None:
    known = {} if int(optuna.__version__[0]) >= 5 else {"constraints_func": optuna_limits}
    sampler = from_optuna(optuna.samplers.TPESampler(seed=1, **known))
    ours = volume_of(searched(sampler, LIMITED, 1), LIMITED)
    assert ours > volume_of(searched("random", LIMITED, 1), LIMITED)


def test_an_optuna_sampler_that_does_not_know_the_limits_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna, "__version__", "4.8.0")
    begun = begin(sampler=from_optuna(optuna.samplers.RandomSampler(seed=1)))
    assert any("constraints_func=raysearch.sources.optuna_limits" in note for note in begun.notes)  # type: ignore[attr-defined]


def test_a_sampler_that_learns_one_score_is_refused_with_what_to_take() -> None:
    class Own:
        def propose(self, trial: int) -> dict[str, Any]:
            return {"x": 0.5, "y": 0.5}

        def observe(self, trial: int, config: Any, iteration: int, score: float) -> None:
            return None

    with pytest.raises(SpecError, match="Own learns one score, and this search has 2 objectives and limits"):
        begin(sampler=Own())
