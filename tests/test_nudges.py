"""What panda decides with: nudges inside their domains, the guard, the ring, paired gains."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.core.segment import Segment
from raysearch.errors import SpecError
from raysearch.space import Space
from raysearch.strategies.panda.base_schedule import ScheduleShape, shape_setting
from raysearch.strategies.panda.fork_test import gain, needed, noise_of
from raysearch.strategies.panda.loss_guard import Guard, forecast
from raysearch.strategies.panda.perturb import in_words, lowers_noise, moved, nudged_names, scaled
from raysearch.strategies.panda.rollback_points import Ring
from raysearch.strategies.rounds import End

SPACE = Space.from_dict(
    {
        "lr": {"loguniform": [1e-5, 1e-1]},
        "momentum": {"uniform": [0.0, 0.99]},
        "batch_size": {"randint": [1, 64]},
        "width": {"lograndint": [8, 512]},
        "depth": {"ordinal": [1, 2, 4]},
        "act": {"choice": ["relu", "gelu", "silu"]},
        "one": {"choice": ["only"]},
        "fixed": 3,
    }
)
CONFIG = {
    "lr": 1e-3,
    "momentum": 0.5,
    "batch_size": 1,
    "width": 8,
    "depth": 2,
    "act": "silu",
    "one": "only",
    "fixed": 3,
}


def end(at: int, loss: float = 1.0, parts: tuple[float, ...] = (), number: int = 0) -> End:
    return End(Segment(number, 0, None, {}, 0, max(1, at), 0, "a test"), at, loss, parts)


# ---- nudges


@pytest.mark.parametrize(
    ("name", "direction", "factor", "value"),
    [
        ("lr", 1, 2.0, 2e-3),
        ("lr", -1, 4.0, 2.5e-4),
        ("lr", 1, 1e4, 1e-1),
        ("momentum", 1, 2.0, 0.5 + 0.099),
        ("batch_size", 1, 1.01, 2),
        ("batch_size", -1, 2.0, None),
        ("width", 1, 1.1, 9),
        ("width", 1, 2.0, 16),
        ("depth", 1, 2.0, 4),
        ("depth", -1, 2.0, 1),
        ("act", 1, 2.0, "relu"),
        ("act", -1, 2.0, "gelu"),
    ],
)
def test_a_nudge_moves_on_the_domains_own_scale_and_stays_inside(
    name: str, direction: int, factor: float, value: Any
) -> None:
    found = moved(SPACE, CONFIG, name, direction, factor)
    if value is None:
        assert found is None
    else:
        assert found is not None
        assert found == {**CONFIG, name: found[name]}
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value)


@given(
    st.integers(0, 2**31),
    st.sampled_from(["lr", "momentum", "batch_size", "width", "depth", "act"]),
    st.sampled_from([-1, 1]),
    st.floats(1.01, 100.0),
)
def test_every_nudge_lies_in_the_space_and_changes_one_thing(
    number: int, name: str, direction: int, factor: float
) -> None:
    config = SPACE.sample(0, number)
    found = moved(SPACE, config, name, direction, factor)
    if found is not None:
        assert SPACE.allows(found)
        assert [n for n in found if found[n] != config[n]] == [name]
        assert type(found[name]) is type(config[name])
        if name != "act":
            assert (found[name] > config[name]) == (direction > 0)


def test_whole_numbers_walk_from_one_bound_to_the_other() -> None:
    config: Any = CONFIG
    seen = []
    while config is not None:
        seen.append(config["batch_size"])
        config = moved(SPACE, config, "batch_size", 1, 1.1)
    assert seen == list(range(1, 65))


def test_a_share_of_a_value_stays_above_the_lower_bound_and_is_rounded_down() -> None:
    assert scaled(SPACE, CONFIG, "lr", 0.5)["lr"] == 5e-4
    assert scaled(SPACE, CONFIG, "lr", 0.0)["lr"] == 1e-5
    assert scaled(SPACE, {**CONFIG, "batch_size": 7}, "batch_size", 0.5)["batch_size"] == 3
    assert scaled(SPACE, CONFIG, "act", 0.5) == CONFIG


def test_real_valued_names_are_nudged_unless_others_are_named() -> None:
    assert nudged_names(SPACE, None) == ("lr", "momentum")
    assert nudged_names(SPACE, ["act", "act", "lr"]) == ("act", "lr")
    for name, words in (("fixed", "is fixed"), ("one", "is fixed"), ("lrr", "did you mean 'lr'")):
        with pytest.raises(SpecError, match=words):
            nudged_names(SPACE, [name])


def test_a_lower_rate_and_a_larger_batch_lower_the_noise() -> None:
    assert lowers_noise("optimizer/lr", -1)
    assert lowers_noise("batch_size", 1)
    assert not lowers_noise("lr", 1)
    assert not lowers_noise("momentum", -1)
    assert in_words(SPACE, CONFIG, {**CONFIG, "lr": 2e-3}) == "lr 0.001 -> 0.002"


# ---- arms


def test_a_gain_is_paired_over_the_parts_and_its_error_is_that_of_their_mean() -> None:
    hold, nudge = end(5, 1.0, (0.8, 1.0, 1.2)), end(5, 0.9, (0.6, 0.9, 1.2))
    found = gain(hold, nudge, noise=9.0)
    assert found.mean == pytest.approx(0.1)
    assert found.error == pytest.approx(0.1 / math.sqrt(3))
    assert gain(end(5, 1.0), end(5, 0.9), noise=0.3).error == pytest.approx(0.3 * math.sqrt(2))


def test_an_arm_that_failed_loses_whatever_the_other_did() -> None:
    bad = end(5, math.inf)
    assert gain(bad, end(5), 0.1).mean == math.inf
    assert gain(end(5), bad, 0.1).mean == -math.inf
    assert math.isnan(gain(bad, bad, 0.1).mean)


def test_only_a_calming_nudge_has_to_gain_more_than_the_progress() -> None:
    found = gain(end(5, 1.0, (1.0, 1.0)), end(5, 0.8, (0.7, 0.9)), 0.0)
    assert needed(found, 0.5, False, z=1.0, rho=3.0) == pytest.approx(found.error)
    assert needed(found, 0.5, True, z=1.0, rho=3.0) == pytest.approx(found.error + 1.5)
    assert needed(found, -0.5, True, z=1.0, rho=3.0) == pytest.approx(found.error)


def test_noise_is_found_about_a_trend() -> None:
    draws = random.Random(1)
    losses = [5.0 - 0.01 * i + draws.gauss(0.0, 0.1) for i in range(2000)]
    assert noise_of(losses) == pytest.approx(0.1, rel=0.1)
    assert noise_of([*losses[:3], math.nan]) == 0.0


# ---- the guard


def watched(losses: list[float]) -> Guard:
    guard = Guard(interval=10)
    for start in range(0, len(losses), 10):
        guard.note(start + 10, losses[start + 9], losses[start : start + 10])
    return guard


def wavy(count: int) -> list[float]:
    draws = random.Random(2)
    return [1.0 + draws.gauss(0.0, 0.02) for _ in range(count)]


def test_five_reports_above_six_deviations_are_a_spike_and_four_are_none() -> None:
    assert watched(wavy(40)).spike([1.0, 3.0, 3.0, 3.0, 3.0, 1.0]) == ""
    assert "5 reports running above" in watched(wavy(40)).spike([1.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    guard = watched(wavy(40))
    assert guard.spike([3.0, 3.0]) == ""
    guard.note(50, 3.0, [3.0, 3.0])
    assert "5 reports running" in guard.spike([3.0, 3.0, 3.0])


def test_a_bad_day_takes_two_evaluations_above_the_forecast() -> None:
    guard = Guard(interval=10)
    for k in range(1, 13):
        guard.note(10 * k, 2.0 * (10 * k) ** -0.5, [])
    assert guard.bad_day(130, 1.0) == ""
    assert "above the forecast band" in guard.bad_day(140, 1.0)
    assert guard.bad_day(150, 1.0) == ""


def test_a_forecast_holds_the_curve_that_it_was_fitted_to() -> None:
    curve = [(t, 0.5 + 3.0 * t**-0.5) for t in range(10, 130, 10)]
    assert forecast(curve[:7], 200) is None
    band = forecast(curve, 200)
    assert band is not None
    assert band[0] < 0.5 + 3.0 * 200**-0.5 < band[1]


# ---- the ring


def test_the_ring_keeps_few_and_wants_back_none_that_it_gave_up() -> None:
    ring, kept = Ring(), {-1}
    for number in range(500):
        ring.add(end(number, number=number))
        now = {e.segment.id for e in ring}
        assert now <= kept | {number}, "wants one back"
        assert {number - k for k in range(min(4, number + 1))} <= now
        kept = now
    assert len(kept) <= 4 * math.log2(500)
    last, back = ring.back(0), ring.back(100)
    assert last is not None
    assert last.at == 499
    assert back is not None
    assert 300 <= back.at <= 399
    ring.cut(back)
    assert ring.back(0) is back
    ring.cut(None)
    assert ring.back(0) is None


# ---- shapes


def test_shapes_go_from_one_to_zero_after_their_warm_up() -> None:
    for name in ("linear", "cosine"):
        assert ScheduleShape(name).at(0.0) == 1.0
        assert ScheduleShape(name).at(0.5) == pytest.approx(0.5)
        assert ScheduleShape(name).at(1.0) == pytest.approx(0.0)
    warm = shape_setting({"name": "cosine", "warmup": 0.2})
    assert [warm.at(s) for s in (0.0, 0.1, 0.2)] == [0.0, 0.5, 1.0]
    assert shape_setting("warmup") == ScheduleShape("constant", 0.05)
    for wrong in ("cosin", {"name": "cosine", "warm": 1}, {"warmup": 1.0}, 3):
        with pytest.raises(SpecError, match="base_schedule"):
            shape_setting(wrong)
