"""Domains map the unit interval to values and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.core.values import as_number, identity, plain, same, show
from raysearch.errors import SpecError
from raysearch.space.domains import (
    KINDS,
    Choice,
    Domain,
    Fixed,
    LogNormal,
    LogRandInt,
    LogUniform,
    Normal,
    Ordinal,
    RandInt,
    Uniform,
)
from raysearch.space.parsing import parse_domain

EVENLY = (np.arange(20_000) + 0.5) / 20_000
finite = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))
positive = st.floats(1e-9, 1e6)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3))
values = st.lists(
    scalars | st.lists(st.integers(0, 3), max_size=2), min_size=1, max_size=6, unique_by=identity
)


def bounds(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    pairs = st.tuples(numbers, numbers).map(lambda p: (min(p), max(p)))
    return pairs.filter(lambda p: p[1] - p[0] > 1e-6 * max(1.0, abs(p[0]), abs(p[1])))


@st.composite
def stepped(draw: st.DrawFn, log: bool) -> Domain:
    q = draw(st.sampled_from([0.1, 0.25, 0.5, 1.0, 1e-3, 7.0, 1e-5]))
    first = draw(st.integers(1 if log else -40, 40))
    last = first + draw(st.integers(1, 50))
    return (LogUniform if log else Uniform)(first * q, last * q, q)


@st.composite
def integers(draw: st.DrawFn, log: bool) -> Domain:
    low = draw(st.integers(1 if log else -1000, 1000))
    high = low + draw(st.integers(0, 1000))
    q = draw(st.sampled_from([None, 1, 2, 8]))
    if q and high // q < -(-low // q):
        q = None
    return (LogRandInt if log else RandInt)(low, high, q)


@st.composite
def bells(draw: st.DrawFn) -> Domain:
    cls = draw(st.sampled_from([Normal, LogNormal]))
    mean, sd = draw(st.floats(-2, 2)), draw(st.floats(0.1, 2))
    centre = math.exp(mean) if cls is LogNormal else mean
    low = draw(st.sampled_from([None, centre / 2 if cls is LogNormal else mean - sd]))
    high = draw(st.sampled_from([None, centre * 2 if cls is LogNormal else mean + sd]))
    return cls(mean, sd, low, high)


domains: st.SearchStrategy[Domain] = st.one_of(
    bounds(finite).map(lambda b: Uniform(*b)),
    bounds(positive).map(lambda b: LogUniform(*b)),
    stepped(False),
    stepped(True),
    integers(False),
    integers(True),
    bells(),
    values.map(Choice),
    values.map(Ordinal),
    st.tuples(values, st.data()).map(lambda v: Choice(v[0], tuple(range(1, len(v[0]) + 1)))),
    scalars.map(Fixed),
)
units = st.floats(0, 1)


@given(domains, units)
def test_what_a_domain_gives_it_contains(domain: Domain, u: float) -> None:
    assert domain.why_not(domain.from_unit(u)) is None


@given(domains, st.lists(units, min_size=1, max_size=20))
def test_one_at_a_time_and_all_at_once_give_the_same_to_the_last_bit(domain: Domain, us: list[float]) -> None:
    together = domain.column(np.array(us))
    assert [identity(domain.from_unit(u)) for u in us] == [identity(v) for v in together]
    assert [type(domain.from_unit(u)) for u in us] == [type(v) for v in together]


@given(domains, units)
def test_a_value_goes_to_the_unit_interval_and_back(domain: Domain, u: float) -> None:
    value = domain.from_unit(u)
    back = domain.from_unit(domain.to_unit(value))
    assert 0.0 <= domain.to_unit(value) <= 1.0
    if domain.cardinality is None and 1e-9 < u < 1 - 1e-9:
        assert back == pytest.approx(value, rel=1e-6, abs=1e-6)
    elif domain.cardinality is None:  # so far out that floats next to one u have values that differ more
        assert domain.to_unit(back) == pytest.approx(domain.to_unit(value), abs=1e-12)
    else:
        assert same(back, value)


@given(domains)
def test_an_ordered_domain_rises_with_u(domain: Domain) -> None:
    if domain.is_ordered:
        column = [domain.to_unit(v) for v in domain.column(np.linspace(0, 1, 50))]
        assert column == sorted(column)


@given(domains)
def test_a_small_cardinality_is_the_number_of_values_seen(domain: Domain) -> None:
    n = domain.cardinality
    if n is not None and n <= 100 and not (isinstance(domain, LogUniform | LogRandInt)):
        assert len({identity(v) for v in domain.column(EVENLY)}) == n


@given(domains)
def test_the_form_is_read_back_as_the_same_domain(domain: Domain) -> None:
    again = parse_domain(domain.form())
    assert again == domain
    assert type(again) is type(domain)
    assert again.form() == domain.form()


@given(domains, st.sampled_from([-1e300, -0.5, 1.5, 1e300]))
def test_points_outside_the_unit_interval_give_the_nearest_value(domain: Domain, u: float) -> None:
    assert identity(domain.from_unit(u)) == identity(domain.from_unit(0.0 if u < 0 else 1.0))


def test_the_ends_of_the_unit_interval_give_the_bounds() -> None:
    for domain in (
        Uniform(-1, 2),
        LogUniform(1e-4, 1),
        RandInt(1, 5),
        LogRandInt(3, 700),
        Uniform(0, 1, 0.1),
    ):
        assert domain.from_unit(0.0) == pytest.approx(domain.low, rel=1e-15)
        assert domain.from_unit(1.0) == pytest.approx(domain.high, rel=1e-15)


def test_python_scalars_come_out_not_numpy_ones() -> None:
    kinds = {type(d.from_unit(0.3)) for d in (Uniform(0, 1), LogUniform(1e-3, 1), Normal(0, 1))}
    assert kinds == {float}
    assert type(RandInt(1, 5).from_unit(0.3)) is int
    assert type(Choice(list(np.array([1, 2]))).from_unit(0.3)) is int
    assert type(LogRandInt(1, 5).column(np.array([0.3]))[0]) is int


def test_loguniform_spends_as_much_on_each_power_of_ten() -> None:
    drawn = LogUniform(1e-4, 1.0).array(EVENLY)
    shares = [np.mean((drawn >= 10.0**-k) & (drawn < 10.0 ** (1 - k))) for k in (4, 3, 2, 1)]
    assert shares == pytest.approx([0.25] * 4, abs=1e-3)


def test_each_integer_is_equally_likely() -> None:
    counts = np.unique(RandInt(1, 5).array(EVENLY), return_counts=True)
    assert counts[0].tolist() == [1, 2, 3, 4, 5]
    assert counts[1].tolist() == [4000] * 5


def test_integers_uniform_in_the_logarithm_get_the_share_of_their_bin() -> None:
    drawn = LogRandInt(1, 3).array(EVENLY)
    width = math.log(3.5 / 0.5)
    expected = [math.log((k + 0.5) / (k - 0.5)) / width for k in (1, 2, 3)]
    assert [np.mean(drawn == k) for k in (1, 2, 3)] == pytest.approx(expected, abs=1e-3)


def test_steps_are_written_as_short_as_they_were_given() -> None:
    assert sorted(set(Uniform(0.0, 0.5, 0.1).column(EVENLY))) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert sorted(set(Uniform(0.05, 0.34, 0.1).column(EVENLY))) == [0.1, 0.2, 0.3]


def test_steps_of_any_size_are_multiples() -> None:
    third = Uniform(0, 1, 1 / 3)
    assert sorted(set(third.column(EVENLY))) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    tiny = Uniform(0, 3e-300, 1e-300)
    assert sorted(set(tiny.column(EVENLY))) == pytest.approx([0, 1e-300, 2e-300, 3e-300])
    assert tiny.from_unit(0.3) == tiny.column(np.array([0.3]))[0] == 1e-300


def test_a_normal_has_its_mean_and_deviation_and_a_cut_one_no_pile_at_the_bound() -> None:
    drawn = Normal(3.0, 2.0).array(EVENLY)
    assert (drawn.mean(), drawn.std()) == pytest.approx((3.0, 2.0), abs=0.01)
    cut = Normal(0.0, 1.0, low=0.0).array(EVENLY)
    assert cut.min() > 0.0
    assert cut.mean() == pytest.approx(math.sqrt(2 / math.pi), abs=1e-3)


def test_a_lognormal_has_a_normal_logarithm() -> None:
    drawn = np.log(LogNormal(-1.0, 0.5).array(EVENLY))
    assert (drawn.mean(), drawn.std()) == pytest.approx((-1.0, 0.5), abs=0.01)


def test_weights_are_the_shares_of_the_values() -> None:
    drawn = Choice(["a", "b"], [3, 1]).column(EVENLY)
    assert drawn.count("a") == 15_000
    assert Choice(["a", "b"], [3, 1]).to_unit("b") == pytest.approx(0.875)


def test_true_is_not_one_and_none_is_a_value() -> None:
    choice = Choice([1, True, None, "1"])
    assert [choice.index(v) for v in (1, True, None, "1", 1.0)] == [0, 1, 2, 3, 0]
    assert not choice.contains(False)
    assert choice.why_not("x") == "is not one of 1, True, None, '1'"


def test_a_list_that_is_a_choice_is_copied_each_time() -> None:
    choice = Choice([[64, 64], [32]])
    choice.from_unit(0.1).append(1)
    choice.column(np.array([0.1]))[0].append(1)
    Fixed([1]).from_unit(0.0).append(2)
    assert choice.from_unit(0.1) == [64, 64]
    assert choice.contains((64, 64))


def test_numbers_out_of_bounds_are_told_with_the_bounds() -> None:
    assert LogUniform(1e-4, 1.0).why_not(2.0) == "is outside [1e-4, 1.0]"
    assert RandInt(1, 5).why_not(6) == "is outside [1, 5]"
    assert RandInt(1, 5).why_not(2.0) == "is not an integer"
    assert RandInt(1, 5).why_not(True) == "is not an integer"
    assert Uniform(0, 1).why_not("0.5") == "is not a number"
    assert Uniform(0, 1).why_not(math.nan) == "is outside [0.0, 1.0]"
    assert Uniform(0, 1, 0.25).why_not(0.3) == "is not a multiple of 0.25"
    assert Normal(0, 1, high=2).why_not(3.0) == "is outside [..., 2.0]"
    assert Normal(0, 1).why_not(math.inf) == "is not a finite number"
    assert LogNormal(0, 1).why_not(-1.0) == "is not above zero"
    assert Fixed(3).why_not(4) == "is not the fixed value 3"
    assert RandInt(1, 5).contains(np.int64(3))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Uniform(2, 1), "low = 2.0 is above high = 1.0"),
        (lambda: Uniform(1, 1), "low and high are both 1.0; for a constant write the bare value"),
        (lambda: Uniform(0, math.nan), "high must be a finite number, not nan"),
        (lambda: Uniform(-math.inf, 0), "low must be a finite number, not -inf"),
        (lambda: Uniform(-1e308, 1e308), "too wide"),
        (lambda: Uniform("a", 1), "low must be a number, not 'a'"),
        (lambda: Uniform(True, 2), "low must be a number, not True"),
        (lambda: LogUniform(0, 1), "low = 0.0 has no logarithm"),
        (lambda: LogUniform(-1, 1), "low = -1.0 has no logarithm"),
        (lambda: LogRandInt(0, 4), "start lograndint at 1"),
        (lambda: RandInt(1.5, 3), "low must be an integer, not 1.5"),
        (lambda: RandInt(0, 2**60), "high must lie between"),
        (lambda: Uniform(0, 1, 0), "q = 0.0 must be above zero"),
        (lambda: Uniform(0.1, 0.2, 1), "no multiple of q = 1.0 lies in"),
        (lambda: RandInt(1, 3, 5), "no multiple of q = 5 lies in [1, 3]"),
        (lambda: Normal(0, 0), "sd = 0.0 must be above zero"),
        (lambda: Normal(0, 1, 2, 1), "low = 2.0 is not below high = 1.0"),
        (lambda: Normal(0, 1, 50, 60), "next to nothing"),
        (lambda: LogNormal(0, 1, low=-1), "always above zero"),
        (lambda: Choice([]), "at least one value"),
        (lambda: Ordinal([]), "ordinal needs at least one value"),
        (lambda: Choice("abc"), "needs a list of values, not 'abc'"),
        (lambda: Choice([1, 1.0]), "lists 1.0 twice; to draw it more often give weights"),
        (lambda: Choice([math.nan]), "nan is not a finite number"),
        (lambda: Choice([print]), "cannot be stored"),
        (lambda: Choice([1, 2], [1]), "a list of 2 numbers"),
        (lambda: Choice([1, 2], [1, 0]), "must be above zero"),
        (lambda: Fixed(math.inf), "inf is not a finite number"),
    ],
)
def test_a_domain_that_cannot_be_is_refused(make: Any, text: str) -> None:
    with pytest.raises(SpecError) as error:
        make()
    assert text in str(error.value)


def test_integers_may_have_equal_bounds() -> None:
    assert RandInt(3, 3).cardinality == 1
    assert RandInt(3, 3).from_unit(0.99) == LogRandInt(3, 3).from_unit(0.0) == 3


def test_numbers_given_as_text_are_numbers() -> None:
    assert LogUniform("1e-4", "1") == LogUniform(0.0001, 1.0)
    assert RandInt("1", 5.0) == RandInt(1, 5)


def test_choices_of_thousands_are_made_and_searched_quickly() -> None:
    choice = Choice(list(range(50_000)))
    assert choice.index(49_999) == 49_999
    assert choice.why_not(-1) == "is not one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ... (50000 in all)"


def test_numbers_are_shown_as_people_write_them() -> None:
    shown = [show(x) for x in (1e-4, 2.5e-7, 0.01, 1.0, 1e8, 5, "a", None, np.float64(0.5), -3e-5, 0.0)]
    assert shown == ["1e-4", "2.5e-7", "0.01", "1.0", "1e8", "5", "'a'", "None", "0.5", "-3e-5", "0.0"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_shown_is_the_number(x: float) -> None:
    assert as_number(show(x), "it") == x


def test_plain_values_lose_numpy_and_tuples() -> None:
    assert plain({"a": (np.float64(1.5), np.int64(2), np.bool_(True))}) == {"a": [1.5, 2, True]}
    with pytest.raises(SpecError, match="look the object up by its name"):
        plain({1: 2})


def test_every_domain_has_a_name_and_says_what_it_is() -> None:
    assert set(KINDS) == {
        "uniform", "loguniform", "randint", "lograndint", "normal", "lognormal", "choice", "ordinal", "fixed"
    }  # fmt: skip
    assert Uniform(0, 1, 0.1).describe() == "uniform [0.0, 1.0] in steps of 0.1"
    assert Normal(0, 1, low=-1).describe() == "normal mean 0.0 sd 1.0 in [-1.0, ...]"
    assert Choice(["a", None]).describe() == "choice of 'a', None"
