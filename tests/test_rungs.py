"""Rung levels by multiplication, standings against a sorted list, and who may go on."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.errors import SpecError
from raysearch.strategies.caviar import rungs
from raysearch.strategies.caviar.rungs import Rung, SortedScores, rung_levels


@pytest.mark.parametrize(
    ("first", "last", "eta", "levels"),
    [
        (1, 81, 3, (1, 3, 9, 27, 81)),
        (1, 243, 3, (1, 3, 9, 27, 81, 243)),
        (1, 1000, 10, (1, 10, 100, 1000)),
        (1, 100, 3, (1, 3, 9, 27, 81, 100)),
        (5, 5, 3, (5,)),
        (1, 1, 2, (1,)),
        (1000 / 81, 1000, 3, (12, 37, 111, 333, 1000)),
        (1, 2**20, 2, tuple(2**k for k in range(21))),
    ],
)
def test_levels_are_multiplied_and_end_at_the_last(
    first: float, last: int, eta: int, levels: tuple[int, ...]
) -> None:
    assert rung_levels(first, last, eta) == levels


@pytest.mark.parametrize(("first", "last", "eta"), [(0, 9, 3), (10, 9, 3), (1, 9, 1), (1, 0, 3)])
def test_senseless_levels_are_refused(first: int, last: int, eta: int) -> None:
    with pytest.raises(SpecError):
        rung_levels(first, last, eta)


@given(st.floats(1, 50), st.integers(1, 5000), st.integers(2, 5))
def test_levels_rise_strictly(first: float, last: int, eta: int) -> None:
    levels = rung_levels(min(first, last), last, eta)
    assert list(levels) == sorted(set(levels))
    assert levels[-1] == last


@pytest.mark.parametrize("block", [2, 3, 8, 1024])
@pytest.mark.parametrize("seed", range(5))
def test_standings_agree_with_a_sorted_list(monkeypatch: pytest.MonkeyPatch, block: int, seed: int) -> None:
    monkeypatch.setattr(rungs, "BLOCK", block)
    draw = random.Random(seed)
    standings, oracle = SortedScores(), []
    for trial in range(300):
        score = draw.choice([draw.random(), float(draw.randrange(5)), math.inf])
        standings.add(score, trial)
        oracle.append((score, trial))
        oracle.sort()
        if draw.random() < 0.3:
            gone = oracle.pop(draw.randrange(len(oracle)))
            standings.discard(*gone)
            standings.discard(*gone)
        some = draw.choice(oracle) if oracle else (0.5, 1)
        assert standings.rank(*some) == sum(other < some for other in oracle)
        assert standings.rank(0.5, trial) == sum(other < (0.5, trial) for other in oracle)
    assert list(standings) == oracle
    assert len(standings) == len(oracle)
    assert [standings.nth(i) for i in range(len(oracle))] == oracle
    assert (standings.first(), standings.last()) == (oracle[0], oracle[-1])
    assert standings.nth(len(oracle)) > (math.inf, 1 << 60)


def test_empty_standings_have_no_first_and_no_last() -> None:
    standings = SortedScores()
    standings.discard(1.0, 1)
    assert (len(standings), standings.first(), standings.last(), standings.rank(1.0, 1)) == (0, None, None, 0)


def enter(rung: Rung, score: float, trial: int) -> int:
    rank = rung.record(score, trial)
    if math.isfinite(score):
        rung.wait(score, trial, rank)
    return rank


def test_of_nine_trials_the_best_three_are_promoted_best_first() -> None:
    rung = Rung(1, eta=3)
    for trial, score in enumerate([5.0, 3.0, 8.0, 1.0, 7.0, 2.0, 9.0, 4.0, 6.0]):
        enter(rung, score, trial)
    promoted = []
    while (found := rung.promotable()) is not None:
        promoted.append(found)
        rung.leave({3: 1.0, 5: 2.0, 1: 3.0}[found[0]], found[0])
    assert promoted == [(3, 0), (5, 1), (1, 2)]


def test_the_first_of_a_rung_goes_on_at_once_and_the_second_does_not() -> None:
    rung = Rung(1, eta=3)
    enter(rung, 1.0, 0)
    assert rung.promotable() == (0, 0)
    rung.leave(1.0, 0)
    enter(rung, 2.0, 1)
    assert rung.promotable() is None


def test_diverged_trials_count_in_the_field_and_are_never_promoted() -> None:
    rung = Rung(1, eta=3)
    for trial in range(8):
        enter(rung, math.inf, trial)
    assert rung.promotable() is None
    enter(rung, 5.0, 8)
    assert rung.promotable() == (8, 0)
    assert rung.places == 3


def test_ties_go_to_the_lower_trial_number_and_at_most_a_third_goes_on() -> None:
    rung = Rung(1, eta=3)
    for trial in range(99):
        enter(rung, 0.5, trial)
    promoted = []
    while (found := rung.promotable()) is not None:
        promoted.append(found[0])
        rung.leave(0.5, found[0])
    assert promoted == sorted(promoted)
    assert 1 <= len(promoted) <= 33


def test_the_stopping_rule_stops_nobody_before_there_are_eta_scores() -> None:
    rung = Rung(1, eta=3)
    assert rung.goes_on(rung.record(9.0, 0))
    assert rung.goes_on(rung.record(10.0, 1))
    assert not rung.goes_on(rung.record(11.0, 2))
    assert rung.goes_on(rung.record(1.0, 3))


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_few_trials_wait_and_hardly_a_promotion_is_missed(seed: int) -> None:
    draw = random.Random(seed)
    rung, patient = Rung(1, 3), Rung(1, 3)
    promoted = 0
    for trial in range(3000):
        score = draw.random()
        enter(rung, score, trial)
        rung.hopeless()
        patient.waiting.add(score, trial)
        patient.record(score, trial)
        for one in (rung, patient):
            while one.promotable() is not None:
                best = one.waiting.first()
                assert best is not None
                one.leave(*best)
                promoted += 1 if one is rung else -1
    assert len(rung.waiting) < 300
    assert abs(promoted) <= 10
