"""Objectives and limits as values: how far beyond a limit, and what a score of several objectives is."""

from __future__ import annotations

import math
import pickle

import pytest

from raysearch.errors import SpecError
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives, Standing, violation

GOALS = Objectives({"loss": "min", "accuracy": "max"}, (Limit("latency_ms <= 20"),))


@pytest.mark.parametrize(
    ("text", "values", "excess"),
    [
        ("a <= 20", {"a": 23.0}, 0.15),
        ("a <= 20", {"a": 10.0}, -0.5),
        ("a <= 20", {"a": 20.0}, 0.0),
        ("a >= 0.5", {"a": 0.4}, 0.2),
        ("20 >= a", {"a": 22.0}, 0.1 * 20 / 22),
        ("a <= 0", {"a": 0.25}, 0.25),
        ("a * 2 <= b", {"a": 3.0, "b": 4.0}, 0.5),
        ("a <= 10 and b <= 10", {"a": 11.0, "b": 12.0}, 0.2),
        ("a <= 10 or b <= 10", {"a": 11.0, "b": 12.0}, 0.1),
        ("not a > 10", {"a": 11.0}, 0.1),
        ("not (a > 10 or b > 10)", {"a": 11.0, "b": 12.0}, 0.2),
        ("1 <= a <= 2", {"a": 3.0}, 0.5),
        ("a == 4", {"a": 5.0}, 0.25),
        ("a != 4", {"a": 4.0}, 1.0),
        ("outer.a <= 2", {"outer/a": 3.0}, 0.5),
    ],
)
def test_the_excess_is_the_share_of_the_limit_that_a_value_is_beyond(
    text: str, values: dict[str, float], excess: float
) -> None:
    assert Limit(text).excess(values) == pytest.approx(excess)


def test_a_value_on_a_strict_limit_is_beyond_it_and_on_one_that_is_not_it_is_within() -> None:
    assert Limit("a < 20").excess({"a": 20.0}) > 0
    assert Limit("a <= 20").excess({"a": 20.0}) <= 0
    assert Limit("not a >= 20").excess({"a": 20.0}) > 0
    assert Limit("a > 20").excess({"a": 20.0}) > 0
    assert Limit("a >= 20").excess({"a": 20.0}) <= 0


@pytest.mark.parametrize("values", [{}, {"a": math.nan}, {"a": 0.0}])
def test_what_is_missing_or_has_no_value_is_beyond_every_limit(values: dict[str, float]) -> None:
    assert Limit("1 / a <= 20").excess(values) == math.inf


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 <= 2", "names no reported value"),
        ("latency", "is no comparison"),
        ("latency <", "is not an expression"),
        ("a in [1, 2]", "only < <= > >= == != compare"),
        ("open('x') < 1", "unknown function 'open'"),
        (3, "must be text"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_one_looks_like(text: object, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Limit(text)  # type: ignore[arg-type]


def test_a_standing_is_the_score_of_the_leading_objective_and_has_the_others() -> None:
    found = GOALS.standing({"loss": [2.0, 1.0], "accuracy": [0.7, 0.9], "latency_ms": [30.0, math.nan]})
    assert isinstance(found, Standing)
    assert (found, found.values, found.violation) == (1.0, (1.0, -0.9), 0.5)
    assert GOALS.standing({"loss": [2.0, 1.0], "accuracy": [0.7], "latency_ms": [30.0]}, 1) == 2.0
    again = pickle.loads(pickle.dumps(found))
    assert (again, again.values, again.excesses) == (found, found.values, found.excesses)


@pytest.mark.parametrize("broken", ["loss", "accuracy", "latency_ms"])
@pytest.mark.parametrize("value", [[math.nan], []])
def test_nan_in_an_objective_or_what_a_limit_speaks_of_is_the_worst_score(
    broken: str, value: list[float]
) -> None:
    curve = {"loss": [1.0], "accuracy": [0.9], "latency_ms": [10.0], broken: value}
    found = GOALS.standing(curve)
    assert found == math.inf
    assert violation(found) == math.inf


def test_one_objective_without_limits_is_a_plain_number() -> None:
    plain = Objectives({"loss": "max"})
    assert plain.is_plain
    assert type(plain.standing({"loss": [1.0, 3.0]})) is float
    assert plain.standing({"loss": [1.0, 3.0]}) == -3.0
    assert violation(-3.0) == 0.0


def test_words_name_the_limit_and_the_value_that_is_beyond_it() -> None:
    values = {"loss": 1.0, "accuracy": 0.5, "latency_ms": 23.125}
    assert GOALS.beyond(values) == "latency_ms <= 20 (latency_ms 23.12)"
    assert GOALS.beyond({**values, "latency_ms": 3.0}) == ""
    assert GOALS.in_words(values) == "loss 1.000, accuracy 0.5000"
    assert GOALS.metrics == ("loss", "accuracy", "latency_ms")
    assert GOALS.unlimited() == ["accuracy"]
