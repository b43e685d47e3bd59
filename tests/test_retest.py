"""Retest: its bounds against an oracle, its verdicts on trainings made to measure, and its error rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from raysearch.bench.retest import many
from raysearch.core.segment import Outcome, Segment, Status
from raysearch.errors import SpecError
from raysearch.space import Space
from raysearch.strategies.retest import Retest, RetestSearch
from raysearch.strategies.retest.conclusion import drifted
from raysearch.strategies.retest.paired_test import LOOKS, Rules, look, pairs_needed, pooled_sd

SPACE = Space.from_dict({"lr": {"loguniform": [1e-4, 1.0]}})
IN_USE = {"lr": 0.01}
OTHERS = [{"config": {"lr": lr}, "why": f"lr {lr}"} for lr in (0.02, 0.005, 0.1)]
Loss = Callable[[float, int], float]  # (lr, seed) -> loss


def run(loss: Loss, mode: Any = "min", **settings: Any) -> tuple[RetestSearch, list[Segment]]:
    """A retest to its end; a loss of NaN diverges, one of inf fails."""
    recipe = Retest(9, OTHERS, **settings)
    strategy = recipe.start(SPACE, metric="loss", mode=mode, seed=3, baseline=IN_USE)
    done = []
    while not strategy.finished:
        for segment in strategy.ask(50):
            value = loss(segment.config["lr"], segment.seed)
            status = (
                Status.DIVERGED
                if value != value
                else Status.FAILED
                if value == math.inf
                else Status.COMPLETED
            )
            curve = {} if status is Status.FAILED else {"loss": [value] * segment.stop}
            strategy.tell(Outcome(segment, status, curve, error="boom" if status is Status.FAILED else ""))
            done.append(segment)
    return strategy, done


def noise(lr: float, seed: int) -> float:
    return float(np.random.default_rng((round(lr * 1e6), seed)).normal())


def distance(lr: float, best: float) -> float:
    return abs(math.log10(lr / best))


def test_the_shares_of_alpha_add_up_to_one_whatever_the_number_of_pairs() -> None:
    assert sum(share for _, share in LOOKS) == pytest.approx(1.0)
    for pairs in (4, 5, 7, 10, 20):
        looks = Rules(pairs=pairs).looks
        assert sum(share for _, share in looks) == pytest.approx(1.0)
        assert looks[-1][0] == pairs
        assert [n for n, _ in looks] == sorted({n for n, _ in looks})


@pytest.mark.parametrize("seed", range(20))
def test_bounds_are_those_of_students_t(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains = {arm: rng.normal(arm - 2, 1, 6).tolist() for arm in (1, 2, 3)}
    rules = Rules(alpha=0.05, margin=0.5)
    found = look(gains, 0.2, rules, 4)
    variances = [np.var(g, ddof=1) for g in gains.values()]
    pooled, freedom = math.sqrt(np.mean(variances)), 15
    assert pooled_sd(list(gains.values())) == (pytest.approx(pooled), freedom)
    for arm, values in gains.items():
        own = float(np.std(values, ddof=1)) / math.sqrt(6)
        lower = np.mean(values) - stats.t.ppf(1 - 0.2 * 0.05 / 4, 5) * own
        upper = np.mean(values) + stats.t.ppf(0.95, freedom) * pooled / math.sqrt(6)
        assert found[arm].lower == pytest.approx(lower)
        assert found[arm].upper == pytest.approx(upper)
        expected = "better" if lower > 0 else "dropped" if upper < 0.5 * pooled else "open"
        assert found[arm].fate == expected


def test_settings_that_are_best_are_fresh_and_the_words_do_not_claim_that_they_are_optimal() -> None:
    strategy, done = run(lambda lr, seed: distance(lr, 0.01) + 0.05 * noise(lr, seed))
    judgement = strategy.judgement
    assert judgement is not None
    assert (judgement.word, judgement.winner) == ("fresh", None)
    assert "Others were not tried" in str(judgement)
    assert len(done) == judgement.runs == 4 * 3


@pytest.mark.parametrize(("mode", "sign"), [("min", 1.0), ("max", -1.0)])
def test_better_settings_make_those_in_use_stale_once_they_win_on_other_seeds_too(
    mode: str, sign: float
) -> None:
    def loss(lr: float, seed: int) -> float:
        return sign * (distance(lr, 0.1) + 0.05 * noise(lr, seed))

    strategy, done = run(loss, mode)
    judgement = strategy.judgement
    assert judgement is not None
    assert (judgement.word, judgement.winner) == ("stale", 3)
    assert judgement.gain == pytest.approx(1.0, abs=0.15)
    assert "lr 0.1 is better" in judgement.text
    pairs = {s.seed for s in done if s.reason.startswith("pair")}
    confirmations = [s for s in done if s.reason.startswith("confirmation")]
    assert len(confirmations) == 6
    assert not pairs & {s.seed for s in confirmations}


def test_all_arms_train_on_the_same_seeds() -> None:
    _, done = run(lambda lr, seed: noise(lr, seed))
    by_arm: dict[float, list[int]] = {}
    for segment in done:
        if segment.reason.startswith("pair"):
            by_arm.setdefault(segment.config["lr"], []).append(segment.seed)
    longest = by_arm[0.01]
    assert all(seeds == longest[: len(seeds)] for seeds in by_arm.values())


def test_what_wins_the_pairs_but_not_whole_trainings_changes_nothing() -> None:
    recipe = Retest(9, OTHERS, screen_iterations=3)
    strategy = recipe.start(SPACE, metric="loss", mode="min", seed=3, baseline=IN_USE)
    while not strategy.finished:
        for s in strategy.ask(50):
            best = 0.1 if s.stop == 3 else 0.01
            value = distance(s.config["lr"], best) + 0.02 * noise(s.config["lr"], s.seed)
            strategy.tell(Outcome(s, Status.COMPLETED, {"loss": [value] * s.stop}))
    assert strategy.judgement is not None
    assert (strategy.judgement.word, strategy.judgement.winner) == ("inconclusive", None)
    assert "do not confirm it" in strategy.judgement.text


def test_seeds_that_change_nothing_are_said_to() -> None:
    strategy, done = run(lambda lr, seed: distance(lr, 0.1))
    judgement = strategy.judgement
    assert judgement is not None
    assert judgement.word == "inconclusive"
    assert "pairs are identical" in judgement.text
    assert "seed_as" in judgement.text
    assert len(done) == 12


def test_a_challenger_that_trains_to_the_same_values_is_dropped() -> None:
    strategy, _ = run(lambda lr, seed: noise(0.01, seed) * (1 + 1e-13 * (lr == 0.02)) + (lr > 0.02))
    assert strategy.judgement is not None
    assert strategy.judgement.word in ("fresh", "inconclusive")
    assert "lr 0.02" not in strategy.judgement.text


def test_noise_that_hides_everything_says_how_many_pairs_it_would_take() -> None:
    strategy, done = run(lambda lr, seed: 5 * noise(lr, seed), margin=0.0, eps=0.5)
    judgement = strategy.judgement
    assert judgement is not None
    assert judgement.word == "inconclusive"
    assert judgement.pairs_needed is not None
    assert judgement.pairs_needed > 10
    assert f"About {judgement.pairs_needed} pairs would decide" in judgement.text
    assert len(done) > 12


def test_settings_that_diverge_now_are_stale_and_an_exception_decides_nothing() -> None:
    diverged, _ = run(lambda lr, seed: math.nan if lr == 0.01 else noise(lr, seed))
    failed, _ = run(lambda lr, seed: math.inf if lr == 0.01 else noise(lr, seed))
    assert diverged.judgement is not None
    assert failed.judgement is not None
    assert diverged.judgement.word == "stale"
    assert "no longer train" in diverged.judgement.text
    assert (failed.judgement.word, "boom" in failed.judgement.text) == ("inconclusive", True)


def test_a_challenger_that_fails_is_dropped_and_named() -> None:
    strategy, _ = run(lambda lr, seed: math.inf if lr == 0.1 else distance(lr, 0.01) + 0.02 * noise(lr, seed))
    assert strategy.judgement is not None
    assert strategy.judgement.word == "fresh"
    assert "lr 0.1 was dropped: boom" in strategy.judgement.text


def test_the_control_chart_tells_drift_from_noise() -> None:
    assert drifted([1.0, 1.1, 0.9], [1.05], "loss")[0] is False
    assert drifted([1.0, 1.1, 0.9], [1.5, 1.6], "loss")[0] is True
    assert drifted([1.0], [1.5], "loss") == (None, "")
    strategy, _ = run(
        lambda lr, seed: 2 + distance(lr, 0.01) + 0.01 * noise(lr, seed), stored=[1.0, 1.01, 0.99]
    )
    assert strategy.judgement is not None
    assert strategy.judgement.drift is True
    assert "more than noise explains" in str(strategy.judgement)


def test_pairs_needed_are_none_where_no_number_would_do() -> None:
    standing = look({1: [0.4, 0.6] * 5}, 0.1, Rules(), 1)[1]
    assert pairs_needed(standing, Rules(eps=standing.mean, margin=0.0), 1.0) is None


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"challengers": []}, "give 1 to 12"),
        ({"challengers": [{"lr": 1}]}, r"challengers\[0\]"),
        ({"eps": 0.0, "margin": 0.0}, "both 0"),
        ({"pairs": 3}, "from 4 to 64"),
        ({"alpha": 0.9}, "alpha = 0.9"),
        ({"screen_iterations": 10}, "from 1 to 9"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        Retest(**{"max_iterations": 9, "challengers": OTHERS, **settings})


def test_a_retest_needs_settings_in_use_and_challengers_in_the_space() -> None:
    with pytest.raises(SpecError, match="settings in use"):
        Retest(9, OTHERS).start(SPACE, metric="loss", mode="min")
    with pytest.raises(SpecError, match="is outside"):
        Retest(9, [{"config": {"lr": 3.0}}]).start(SPACE, metric="loss", mode="min", baseline=IN_USE)
    with pytest.raises(SpecError, match="baseline itself"):
        Retest(9, [{"config": IN_USE}]).start(SPACE, metric="loss", mode="min", baseline=IN_USE)


@pytest.mark.parametrize(("gain", "least", "most"), [(0.0, 0.0, 0.05), (2.0, 0.9, 1.0)])
def test_error_rates_are_what_is_promised(gain: float, least: float, most: float) -> None:
    """150 retests a case: the bounds leave three standard errors of room where the promise is near."""

    def make(rng: np.random.Generator) -> Callable[[int, int], float]:
        drawn = rng.normal(0, math.sqrt(0.5), (5, 64))
        return lambda arm, pair: float(drawn[arm, pair] - (gain if arm == 4 else 0.0))

    tally = many(150, 4, make, "retest")
    right = sum(arm == 4 for arm in tally.replaced) / 150
    wrong = sum(arm not in (None, 4) for arm in tally.replaced) / 150
    assert wrong <= 0.05
    assert least <= right <= most
    if not gain:
        assert np.mean(tally.runs) < 30
