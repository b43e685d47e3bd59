"""`min_iterations: auto`: a first rung that says nothing of the next is closed, and nothing else changes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

import raysearch
from raysearch.core.segment import Outcome, Segment, Status
from raysearch.errors import SpecError
from raysearch.space import Space
from raysearch.strategies.caviar.first_rung import COHORT
from raysearch.strategies.caviar.search import CaviarSearch

SPACE = Space.from_dict({"x": {"uniform": [0.0, 1.0]}})


def search(**settings: object) -> CaviarSearch:
    recipe = raysearch.Caviar(
        **{"samples": 60, "max_iterations": 27, "min_iterations": "auto", "finish": None, **settings}  # type: ignore[arg-type]
    )
    return recipe.start(SPACE, metric="loss", mode="min", seed=3)


def blind_at(last: int) -> Callable[[Segment, int], float]:
    """The loss after an iteration: the trial's x plus a little, but at iteration `last` it misleads."""

    def loss(segment: Segment, iteration: int) -> float:
        x = float(segment.config["x"])
        return 1 - x if iteration == last else x + 1 / iteration

    return loss


def walk(strategy: CaviarSearch, loss: Callable[[Segment, int], float], workers: int = 4) -> list[Segment]:
    """All segments of the search, each worker's told in the order asked."""
    segments = []
    while not strategy.finished:
        for segment in strategy.ask(workers):
            values = [loss(segment, i) for i in range(segment.start + 1, segment.stop + 1)]
            ok = all(map(math.isfinite, values))
            status = Status.COMPLETED if ok else Status.DIVERGED
            strategy.tell(Outcome(segment, status, {"loss": values}))
            segments.append(segment)
    return segments


@pytest.mark.parametrize("variant", ["promotion", "stopping"])
@pytest.mark.parametrize(("last", "first"), [(0, 1), (1, 3), (3, 9)])
def test_new_trials_are_trained_past_the_rungs_that_are_blind(last: int, first: int, variant: str) -> None:
    strategy = search(variant=variant)
    segments = walk(strategy, blind_at(last))
    begun = [segment.stop for segment in segments if not segment.start]
    assert begun == sorted(begun)
    assert (len(begun), begun[0], begun[-1]) == (60, 1, first)
    assert len(strategy.notes) == {1: 0, 3: 1, 9: 2}[first]
    if first > 1:
        assert strategy.notes[-1].startswith(
            f"ranks at iteration {first // 3} agree too little with those at"
        )
        assert "new trials are trained to" in strategy.notes[-1]


def test_the_first_trials_go_on_whatever_their_rank_and_say_why() -> None:
    segments = walk(search(), blind_at(0))
    onward = {s.trial: s.reason for s in segments if s.start == 1}
    assert set(range(COHORT)) <= set(onward)
    assert all(onward[t].startswith(f"rung 1: one of the first {COHORT}") for t in range(COHORT))
    later = [trial for trial in onward if trial >= COHORT]
    assert all(onward[trial].endswith("promoted") for trial in later)
    assert 0 < len(later) < 30


def test_a_closed_rung_keeps_no_checkpoint_and_promotes_nobody() -> None:
    strategy = search()
    segments = walk(strategy, blind_at(1), workers=30)  # many wait at the rung when it closes
    closed = next(k for k, s in enumerate(segments) if not s.start and s.stop == 3)
    waited = {s.trial for s in segments[:closed] if s.stop == 1} - {s.trial for s in segments if s.start == 1}
    assert len(waited) > 5
    assert not any(s.start == 1 and s.trial >= COHORT for s in segments[closed:])
    assert not strategy.kept() & {s.id for s in segments if s.trial in waited}


def test_diverged_trials_count_as_neither_agreement_nor_its_lack() -> None:
    def loss(segment: Segment, iteration: int) -> float:
        return math.nan if segment.trial % 2 else segment.config["x"]

    assert walk(search(), loss)[-1].stop == 27
    strategy = search()
    begun = [s.stop for s in walk(strategy, lambda s, i: math.nan if s.trial % 4 else 1.0) if not s.start]
    assert set(begun) == {1}  # three finite scores say nothing


def test_an_outcome_told_again_changes_nothing_and_a_second_life_decides_alike() -> None:
    first = search()
    outcomes = []
    for _ in range(20):
        for s in first.ask(3):
            values = [blind_at(1)(s, i) for i in range(s.start + 1, s.stop + 1)]
            outcomes.append(Outcome(s, Status.COMPLETED, {"loss": values}))
            first.tell(outcomes[-1])
            first.tell(outcomes[-1])
    second = search()
    for outcome in outcomes:
        second.tell(outcome)
    assert list(second.notes) == list(first.notes) != []
    assert [s.stop for s in second.ask(5)] == [s.stop for s in first.ask(5)]


def test_a_larger_search_keeps_what_was_asked_for_where_the_rungs_stay() -> None:
    recipe = raysearch.Caviar(samples=10, max_iterations=27, min_iterations="auto")
    assert recipe.levels == (1, 3, 9, 27)
    assert recipe.extended(samples=20).min_iterations == "auto"
    assert recipe.extended(max_iterations=54).min_iterations == "auto"
    assert recipe.extended(max_iterations=300).levels[0] == 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"min_iterations": "atuo"}, 'whole number or "auto"'), ({"brackets": 2}, "needs brackets = 1")],
)
def test_wrong_settings_are_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        search(**settings)
