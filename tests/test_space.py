"""Spaces: units to configurations and back, conditions, constraints, samples, the YAML form."""

from __future__ import annotations

import math
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from raysearch.errors import LocatedError, SpecError
from raysearch.interop.read_space import read_space
from raysearch.space import Space
from raysearch.space.conditions import Condition, Test
from raysearch.space.constraints import Constraint
from raysearch.space.domains import Choice, Domain, Fixed, LogUniform, RandInt, Uniform

RICH: dict[str, Any] = {
    "lr": {"loguniform": [1e-4, 1.0]},
    "momentum": {"uniform": [0.0, 0.99], "q": 0.01},
    "layers": {"randint": [1, 5]},
    "optimizer": {"choice": ["sgd", "adamw", None], "weights": [2, 1, 1]},
    "beta2": {"uniform": [0.9, 0.999], "when": {"optimizer": "adamw"}},
    "deep": {"choice": [True, False], "when": {"layers": {"ge": 3}}},
    "deeper": {"lograndint": [2, 64], "when": {"deep": True, "layers": {"ne": 4}}},
    "size": {"ordinal": ["s", "m", "l"]},
    "wide": {"normal": [0, 1], "low": -2, "when": [{"size": {"gt": "s"}}, {"optimizer": "sgd"}]},
    "model": {
        "kind": {"choice": ["cnn", "mlp"]},
        "width": {"lograndint": [8, 512], "when": {"kind": "mlp"}},
        "stem": {"when": {"kind": "cnn"}, "kernel": {"choice": [[3, 3], [5, 5]]}, "stride": 2},
    },
    "epochs": 3,
    "constraints": ["layers * model.width <= 1024", "deeper != 7 or lr < 0.5"],
}
rich = Space.from_dict(RICH)
four = Space.from_dict(
    {
        "lr": {"loguniform": [1e-4, 1.0]},
        "momentum": {"uniform": [0.0, 0.99]},
        "layers": {"randint": [1, 5]},
        "decay": {"loguniform": [1e-6, 0.1]},
    }
)
points = st.lists(st.floats(0, 1), min_size=rich.dimension, max_size=rich.dimension).map(np.array)


def error_of(form: Any) -> str:
    with pytest.raises(LocatedError) as error:
        Space.from_dict(form)
    return str(error.value)


# Units and configurations.


@given(points)
def test_a_decoded_point_is_in_the_space_apart_from_constraints(unit: np.ndarray) -> None:
    config = rich.decode(unit)
    free = Space(rich.domains, rich.conditions)
    assert free.why_not(config) is None
    assert rich.allows(config) is rich.satisfies(config)


@given(points)
def test_encoding_what_was_decoded_gives_a_point_that_decodes_to_the_same(unit: np.ndarray) -> None:
    config = rich.decode(unit)
    again = rich.flatten(rich.decode(rich.encode(config)))
    expected = rich.flatten(config)
    assert again.keys() == expected.keys()
    for name, value in expected.items():
        continuous = rich.domains[name].cardinality is None
        assert again[name] == (pytest.approx(value, rel=1e-6, abs=1e-6) if continuous else value)


@given(st.lists(points, max_size=5))
def test_many_points_decode_as_each_one_does(units: list[np.ndarray]) -> None:
    together = rich.decode_many(np.array(units).reshape(-1, rich.dimension))
    assert together == [rich.decode(u) for u in units]


@given(points)
def test_inactive_names_are_absent_and_sit_in_the_middle_of_the_cube(unit: np.ndarray) -> None:
    config = rich.decode(unit)
    assert ("beta2" in config) == (config["optimizer"] == "adamw")
    assert ("width" in config["model"]) == (config["model"]["kind"] == "mlp")
    assert ("deep" in config) == (config["layers"] >= 3)
    assert ("deeper" in config) == (config.get("deep") is True and config["layers"] != 4)
    assert ("wide" in config) == (config["size"] != "s" or config["optimizer"] == "sgd")
    if "beta2" not in config:
        assert rich.encode(config)[rich.free.index("beta2")] == 0.5


def test_a_condition_on_a_whole_group_holds_for_each_member() -> None:
    configs = rich.sample_many(1, 0, 50)
    stems = [c["model"].get("stem") for c in configs if c["model"]["kind"] == "cnn"]
    assert all(s["stride"] == 2 and s["kernel"] in ([3, 3], [5, 5]) for s in stems)
    assert all("stem" not in c["model"] for c in configs if c["model"]["kind"] == "mlp")


def test_axes_are_the_names_that_are_not_fixed() -> None:
    assert "epochs" in rich.names
    assert "epochs" not in rich.free
    assert "model/stem/stride" not in rich.free
    assert rich.dimension == len(rich.free) == 12
    named = [n for n, c in zip(rich.free, rich.is_categorical, strict=True) if c]
    assert named == ["optimizer", "deep", "model/kind", "model/stem/kernel"]


def test_a_space_of_fixed_values_has_one_configuration_and_no_axes() -> None:
    space = Space.from_dict({"a": 1, "b": {"c": "x"}})
    assert space.dimension == 0
    assert space.sample(1, 0) == space.decode(np.empty(0)) == {"a": 1, "b": {"c": "x"}}
    assert space.decode_many(space.sobol_units(1, 0, 3)) == [{"a": 1, "b": {"c": "x"}}] * 3
    assert Space({}).decode_many(np.empty((2, 0))) == [{}, {}]


def test_points_of_another_dimension_are_our_mistake() -> None:
    with pytest.raises(ValueError, match=r"not \(n, 4\)"):
        four.decode_many(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="zip"):
        four.decode(np.zeros(3))


def test_encode_many_stacks_points() -> None:
    configs = four.sample_many(1, 0, 3)
    assert four.encode_many(configs).tolist() == [four.encode(c).tolist() for c in configs]
    assert four.encode_many([]).shape == (0, 4)


# Randomness is a function of (seed, i).


@given(st.integers(0, 2**64), st.integers(0, 10**12), st.integers(1, 600))
@settings(max_examples=30)
def test_a_random_row_depends_on_seed_and_place_alone(seed: int, i: int, n: int) -> None:
    block = rich.random_units(seed, i, n)
    k = n // 2
    assert block.shape == (n, rich.dimension)
    assert block[k].tolist() == rich.random_units(seed, i + k, 1)[0].tolist()
    assert block.min() > 0.0
    assert block.max() < 1.0


@given(st.integers(0, 2**32), st.integers(0, 5000), st.integers(1, 1500))
@settings(max_examples=20, deadline=None)
def test_a_sobol_row_depends_on_seed_and_place_alone(seed: int, i: int, n: int) -> None:
    block = four.sobol_units(seed, i, n)
    assert block[n // 2].tolist() == four.sobol_units(seed, i + n // 2, 1)[0].tolist()


def test_sobol_rows_asked_for_backwards_are_the_same() -> None:
    forwards = four.sobol_units(3, 0, 4000)
    assert [four.sobol_units(3, i, 1)[0].tolist() for i in (3999, 2100, 5)] == forwards[
        [3999, 2100, 5]
    ].tolist()


def test_sobol_rows_fill_each_axis_evenly() -> None:
    rows = np.sort(four.sobol_units(1, 0, 64), axis=0)
    assert np.floor(rows * 64).T.tolist() == [list(range(64))] * 4


def test_seeds_and_axes_have_nothing_in_common() -> None:
    a, b = four.random_units(1, 0, 5000), four.random_units(2, 0, 5000)
    both = np.corrcoef(np.hstack([a, b, np.roll(a, 1, axis=0)]).T)
    assert np.abs(both - np.eye(12)).max() < 0.06
    assert np.abs(a.mean(axis=0) - 0.5).max() < 0.02


def test_an_axis_added_at_the_end_leaves_the_others_as_they_were() -> None:
    more = Space({**four.domains, "dropout": Uniform(0, 1)})
    assert (more.random_units(1, 7, 300)[:, :4] == four.random_units(1, 7, 300)).all()


def test_random_rows_are_the_same_on_every_machine() -> None:
    assert four.random_units(1, 0, 2).tolist() == [
        [0.0668020093396563, 0.07901298235490295, 0.005777118030780293, 0.8065566941349537],
        [0.2451058024204994, 0.30063498951304635, 0.3595581809659053, 0.46409050640493377],
    ]


@given(st.integers(0, 1000), st.integers(0, 10**6))
@settings(max_examples=50)
def test_samples_meet_conditions_and_constraints_and_come_again(seed: int, i: int) -> None:
    config = rich.sample(seed, i)
    assert rich.why_not(config) is None
    assert rich.sample_many(seed, i - i % 5, 5)[i % 5] == config
    assert Space.from_dict(RICH).sample(seed, i) == config


def test_rejection_draws_uniformly_from_what_the_constraints_leave() -> None:
    space = Space.from_dict({"a": {"uniform": [0, 1]}, "b": {"uniform": [0, 1]}, "constraints": ["a < b"]})
    drawn = np.array([(c["a"], c["b"]) for c in space.sample_many(1, 0, 4000)])
    assert (drawn[:, 0] < drawn[:, 1]).all()
    assert drawn.mean(axis=0) == pytest.approx([1 / 3, 2 / 3], abs=0.02)


def test_constraints_that_leave_nothing_are_told() -> None:
    space = Space.from_dict({"a": {"uniform": [0, 1]}, "constraints": ["a > 2", "a < 1"]})
    with pytest.raises(SpecError, match="1000 samples all broke one of: a > 2; a < 1"):
        space.sample(1, 0)


def test_constraints_that_leave_one_in_two_hundred_are_met() -> None:
    space = Space.from_dict({"a": {"uniform": [0, 1]}, "constraints": ["a > 0.995"]})
    assert all(space.sample(1, i)["a"] > 0.995 for i in range(20))


# Membership.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lr": 2.0}, "lr = 2.0 is outside [1e-4, 1.0]"),
        ({"lr": math.nan}, "lr = nan is outside [1e-4, 1.0]"),
        ({"layers": 2.5}, "layers = 2.5 is not an integer"),
        ({"optimizer": "adam"}, "optimizer = 'adam' is not one of 'sgd', 'adamw', None"),
        ({"beta2": 0.95}, "beta2 = 0.95 is given though its condition is not met"),
        ({"lrr": 1}, "unknown hyper-parameter 'lrr'; did you mean 'lr'?"),
        ({"epochs": 4}, "epochs = 4 is not the fixed value 3"),
        ({"model": {"kind": "mlp", "width": 4}}, "model.width = 4 is outside [8, 512]"),
        ({"model": {"kind": "mlp"}}, "model.width is missing; it is lograndint [8, 512]"),
        ({"model": 3}, "unknown hyper-parameter 'model'"),
        ({"layers": 4, "deep": False, "model": {"kind": "mlp", "width": 512}},
         "constraint 'layers * model.width <= 1024' is not met by layers = 4, model.width = 512"),
    ],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_told_why(change: dict[str, Any], text: str) -> None:
    good = {
        "lr": 0.1,
        "momentum": 0.9,
        "layers": 2,
        "optimizer": "sgd",
        "size": "s",
        "wide": 0.0,
        "epochs": 3,
    }
    config = {**good, "model": {"kind": "mlp", "width": 64}}
    assert rich.why_not(config) is None
    wrong = {**config, **change}
    why = rich.why_not(wrong)
    assert why is not None
    assert text in why
    if "constraint" not in text:
        with pytest.raises(SpecError, match="^" + why[:12]):
            rich.encode(wrong)


def test_a_missing_name_is_told() -> None:
    assert four.why_not({"lr": 0.1}) == "momentum is missing; it is uniform [0.0, 0.99]"
    assert not four.allows({})


def test_pruning_takes_out_what_is_inactive() -> None:
    config = rich.sample(1, 0)
    everything = rich.flatten(config) | {
        "beta2": 0.9,
        "optimizer": "sgd",
        "model/kind": "cnn",
        "model/width": 9,
    }
    pruned = rich.prune(rich.nest(everything))
    assert "beta2" not in pruned
    assert "width" not in pruned["model"]


# The YAML form.


def test_the_form_is_read_back_as_an_equal_space() -> None:
    again = Space.from_dict(rich.to_dict())
    assert again == rich
    assert hash(again) == hash(rich)
    assert again.to_dict() == rich.to_dict()
    assert again != four
    assert again.sample(5, 5) == rich.sample(5, 5)


def test_spaces_that_differ_in_true_and_one_are_not_equal() -> None:
    assert Space({"a": Choice([0, 1])}) != Space({"a": Choice([False, True])})


def test_members_of_a_group_stand_together_so_that_axes_keep_their_order() -> None:
    space = Space({"a/x": Uniform(0, 1), "b": Uniform(0, 1), "a/y": Uniform(0, 1)})
    assert space.names == ("a/x", "a/y", "b")
    assert Space.from_dict(space.to_dict()).free == space.free


def test_a_space_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(rich))
    assert again == rich
    assert again.sample(1, 3) == rich.sample(1, 3)


def test_domains_may_stand_in_the_form_as_objects() -> None:
    space = Space.from_dict({"lr": LogUniform(1e-4, 1), "m": {"n": RandInt(1, 2)}})
    assert space == Space({"lr": LogUniform(1e-4, 1), "m/n": RandInt(1, 2)})


def test_positional_and_named_options_are_the_same() -> None:
    named = Space.from_dict({"a": {"uniform": {"low": 0, "high": 1, "q": 0.1}}})
    assert named == Space.from_dict({"a": {"uniform": [0, 1, 0.1]}})
    assert named == Space.from_dict({"a": {"uniform": [0, 1], "q": 0.1}})
    assert named.to_dict() == {"a": {"uniform": [0.0, 1.0], "q": 0.1}}


def test_a_condition_means_the_nearest_name_of_its_group_and_a_slash_the_top() -> None:
    form = {
        "kind": {"choice": ["x", "y"]},
        "net": {
            "kind": {"choice": ["cnn", "mlp"]},
            "a": {"uniform": [0, 1], "when": {"kind": "mlp"}},
            "b": {"uniform": [0, 1], "when": {"/kind": "x"}},
        },
        "c": {"uniform": [0, 1], "when": {"net.kind": "cnn"}},
    }
    space = Space.from_dict(form)
    assert space.conditions["net/a"].names == ("net/kind",)
    assert space.conditions["net/b"].names == ("kind",)
    assert space.conditions["c"].names == ("net/kind",)
    assert Space.from_dict(space.to_dict()) == space


def test_nested_group_conditions_must_all_hold() -> None:
    form = {
        "a": {"choice": [1, 2, 3]},
        "g": {"when": {"a": [1, 2]}, "h": {"when": {"a": [2, 3]}, "x": {"uniform": [0, 1]}}},
    }
    space = Space.from_dict(form)
    assert {c["a"] for c in space.sample_many(1, 0, 50) if "g" in c} == {2}
    assert Space.from_dict(space.to_dict()) == space
    assert space.to_dict()["g"]["h"]["x"]["when"] == {"/a": 2}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"lr": {"logunifrom": [1e-4, 1]}},
         "space.lr: unknown domain 'logunifrom'; did you mean 'loguniform'? known: choice, fixed, "),
        ({"lr": {"logunifrom": {"low": 1, "high": 2}}}, "unknown domain 'logunifrom'; did you mean"),
        ({"lr": {"zipf": [1, 2]}}, "space.lr: unknown domain 'zipf'; known: choice"),
        ({"m": {"lr": {"uniform": [1, 0]}}}, "space.m.lr: low = 1.0 is above high = 0.0"),
        ({"lr": [1, 2]}, "space.lr: is a bare list; write {choice: [1, 2]} to search over its values"),
        ({"lr": {"uniform": [0]}}, "space.lr: uniform takes [low, high] and optionally q; high is missing"),
        ({"lr": {"uniform": 3}}, "space.lr: uniform takes [low, high] and optionally q, not 3"),
        ({"lr": {"uniform": [0, 1, 2, 3]}}, "uniform takes [low, high] and optionally q, not [0, 1, 2, 3]"),
        ({"lr": {"uniform": [0, 1], "qq": 1}},
         "space.lr: unknown option of uniform 'qq'; did you mean 'q'? known: high, low, q, when"),
        ({"lr": {"uniform": [0, 1], "choice": [1]}}, "space.lr: names 2 domains, 'uniform', 'choice'"),
        ({"lr": {"loguniform": [0, 1]}}, "space.lr: low = 0.0 has no logarithm"),
        ({"lr": {"uniform": [math.nan, 1]}}, "space.lr: low must be a finite number, not nan"),
        ({"lr": {"choice": []}}, "space.lr: choice needs at least one value"),
        ({"lr": {}}, "space.lr: is an empty group"),
        ({"a/b": 1}, "the name 'a/b' cannot be used: for a group write a nested mapping"),
        ({"": 1}, "the name '' cannot be used"),
        ({True: 1}, "space.True: the name True is not text; put it in quotes"),
        ({"lr": {"min": 0, "max": 1}}, "space.lr: {'min': 0, 'max': 1} is in the form of a W&B sweep"),
        ({"lr": {"values": [1, 2]}}, "is in the form of a W&B sweep"),
        ({"m": {"when": 3, "a": 1}}, "space.m.a: when must be a mapping such as {optimizer: adamw}, not 3"),
        ([], "space: must be a mapping from names to domains, not []"),
        (3, "space: must be a mapping from names to domains, not 3"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_read_is_told_where_and_why(form: Any, text: str) -> None:
    assert text in error_of(form)


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ({"optimiser": "sgd"}, "space.x: unknown name 'optimiser'; did you mean 'optimizer'?"),
        (
            {"optimizer": "adam"},
            "space.x: optimizer = 'adam' never occurs: 'adam' is not one of 'sgd', 'adamw'",
        ),
        ({"optimizer": {"gt": "sgd"}}, "space.x: optimizer has no order to compare with gt; list the values"),
        ({"optimizer": {"above": 2}}, "space.x: unknown comparison 'above'; known: ge, gt, in, le, lt, ne"),
        ({"optimizer": {}}, "space.x: when: optimizer is compared with nothing"),
        ({"layers": {"ge": "two"}}, "space.x: layers is a number and cannot be compared with 'two'"),
        ({"layers": 9}, "space.x: layers = 9 never occurs: 9 is outside [1, 5]"),
        ({"size": {"ge": "xl"}}, "space.x: size cannot be compared with 'xl': it is not one of"),
        ({3: 1}, "space.x: when: 3 is not text"),
        ([], "space.x: when must be a mapping"),
        ({"x": {"ge": 0}}, "space.x: the conditions go in a circle: x depends on x"),
    ],
)
def test_a_condition_that_cannot_be_is_told(when: Any, text: str) -> None:
    form = {
        "optimizer": {"choice": ["sgd", "adamw"]},
        "layers": {"randint": [1, 5]},
        "size": {"ordinal": ["s", "l"]},
        "x": {"uniform": [0, 1], "when": when},
    }
    assert text in error_of(form)


def test_conditions_in_a_circle_name_the_circle() -> None:
    on = {"choice": [1, 2]}
    form = {
        "a": {**on, "when": {"b": 1}},
        "b": {**on, "when": {"c": 1}},
        "c": {**on, "when": {"b": 2}},
        "d": on,
    }
    assert error_of(form) == "space.b: the conditions go in a circle: b depends on c depends on b"


def test_names_that_would_be_read_otherwise_are_refused() -> None:
    for names in (["a", "a/b"], ["constraints"], ["a/when"], ["a/choice"], ["a//b"], [""]):
        with pytest.raises(LocatedError):
            Space(dict.fromkeys(names, Fixed(1)))
    with pytest.raises(LocatedError, match=r"^a: 3 is not a domain"):
        Space({"a": 3})  # type: ignore[dict-item]


# Constraints.


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("a * b <= 4", {"a": 2, "b": 2}, True),
        ("a * b <= 4", {"a": 2, "b": 3}, False),
        ("a < b < 4 and not a == 1", {"a": 2, "b": 3}, True),
        ("o in ['sgd', 'adamw'] or a > 1", {"o": "x", "a": 1}, False),
        ("max(a, b) - min(a, b) + abs(-a) == 3", {"a": 1, "b": 3}, True),
        ("log(a) > 0 if a > 0 else False", {"a": 0}, False),
        ("m.lr > 0.1", {"m/lr": 0.2}, True),
        ('config["batch-size"] % 8 == 0', {"batch-size": 12}, False),
        ("1 / a > 0", {"a": 0}, False),
        ("log(a) < 1", {"a": -1}, False),
        ("a + b > 9", {"a": 1}, True),
    ],
)
def test_constraints_are_computed(text: str, values: dict[str, Any], holds: bool) -> None:
    assert Constraint(text).holds(values) is holds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a >", "is not an expression"),
        ("a = 3", "equality is =="),
        ("__import__('os').system('ls') == a", "is not allowed"),
        ("open('x') == a", "unknown function 'open'"),
        ("a.__class__", "unknown name 'a/__class__'"),
        ("(lambda: a)()", "is not allowed"),
        ("[x for x in a]", "is not allowed"),
        ("a[0] > 1", "is not allowed"),
        ("f'{a}' == 'x'", "is not allowed"),
        ("max(a, key=b)", "is not allowed"),
        ("1 < 2", "names no hyper-parameter"),
        ("lr > b", "unknown name 'lr'; known: a, b"),
        ("s * s > 1", "cannot be computed for s = 'x'"),
        ("9**9**9 > a", "a whole number in it is beyond 1.8e308"),
        ("a > 10**300 * 10**300", "a whole number in it is beyond 1.8e308"),
        ("s * 10**10 == s", "'x' is no number"),
        ("'%999999999d' % 5 == s", "'%999999999d' is no number"),
        ("[a] * 10**10 == s", "is no number"),
        ("(a > 0) & (b + 1)", "between conditions write and"),
        ("round(a, 10**9) > 0", "at most 300"),
        ("a << 99999999999 > 1", "is not allowed"),
        ("~(a > b)", "for ~ write not"),
        ("a > 1j", "is not allowed"),
        ("+".join(["a"] * 900) + " > 0", "1,801 parts, 901 inside one another; at most 1,000 and 100; split"),
        (" or ".join(["a>2"] * 1000), "3,001 parts"),
        ("not " * 150 + "a", "151 inside one another"),
        ("-" * 9000 + "a", "nested too deeply"),
        ("(" * 300 + "a" + ")" * 300, "is not an expression: too many nested parentheses"),
        ("a > 0 or " * 2000, "is too long: at most 10,000 characters"),
        ("a\0 > 0", "is not an expression"),
        ("a > '\ud800'", "is not an expression"),
        (3, "must be text"),
    ],
)
def test_a_constraint_that_cannot_be_is_told_when_the_space_is_made(text: Any, why: str) -> None:
    form = {"a": {"uniform": [0, 1]}, "b": {"uniform": [0, 1]}, "s": "x", "constraints": [text]}
    if why.startswith("unknown name") and "lr" in text:
        del form["s"]
    message = error_of(form)
    assert message.startswith("space.constraints: constraint")
    assert why in message


def test_a_constraint_that_makes_no_sense_for_a_rare_value_is_told_when_the_space_is_made() -> None:
    assert "cannot be computed for a = 'x'" in error_of(
        {"a": {"choice": [1, 2, 3, "x", 5, 6, 7]}, "constraints": ["a > 0"]}
    )


def test_a_constraint_on_a_name_that_is_not_there_holds() -> None:
    space = Space.from_dict(
        {
            "o": {"choice": ["sgd", "adamw"]},
            "beta": {"uniform": [0, 1], "when": {"o": "adamw"}},
            "constraints": ["beta > 0.5"],
        }
    )
    configs = space.sample_many(1, 0, 100)
    assert {c["o"] for c in configs} == {"sgd", "adamw"}
    assert min(c["beta"] for c in configs if "beta" in c) > 0.5


@pytest.mark.parametrize("seed", range(20))
def test_expressions_come_to_what_python_comes_to(seed: int) -> None:
    rng = random.Random(seed)

    def number(depth: int) -> str:
        simple = [str(rng.randint(0, 5)), repr(rng.random()), "a", "b", "c"]
        if depth == 0:
            return rng.choice(simple)
        one, two = number(depth - 1), number(depth - 1)
        sign = rng.choice(["+", "-", "*", "/", "//", "%"])
        power = f"({one}) ** {rng.randint(0, 3)}"
        return rng.choice(
            [f"({one} {sign} {two})", power, f"-{one}", f"max({one}, {two})", f"abs({one})", *simple]
        )

    def claim(depth: int) -> str:
        one, two, three = (number(2) for _ in range(3))
        if depth == 0:
            signs = [rng.choice(["<", "<=", "==", "!=", ">", ">="]) for _ in range(2)]
            listed = f"{one} not in [{two}, {three}]"
            return rng.choice(
                [f"{one} {signs[0]} {two}", f"{one} {signs[0]} {two} {signs[1]} {three}", listed]
            )
        first, second = claim(depth - 1), claim(depth - 1)
        joined = f"({first} {rng.choice(['and', 'or'])} {second})"
        return rng.choice([joined, f"not {first}", f"({first} if {second} else {one} > a)"])

    for _ in range(50):
        text = f"a == a and {claim(2)}"
        values = {"a": rng.choice([0, 2, -1]), "b": rng.random(), "c": rng.choice([True, 3, -0.5])}
        try:
            expected = eval(text, {**values, "max": max, "abs": abs})
        except (ArithmeticError, ValueError):
            expected = False
        assert Constraint(text).holds(values) is expected, text


# Limits.


def nested(levels: int, inside: Any, times: Callable[[int], dict[str, Any]] = lambda level: {}) -> Any:
    """Mappings inside one another, with what `times` gives for each level beside them."""
    for level in range(levels):
        inside = {f"g{level}": inside, **times(level)}
    return inside


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (nested(330, {"uniform": [0, 1]}), "space: more than 60 lists and mappings stand inside one another"),
        (nested(40, {"uniform": [0, 1]}), "space: more than 30 groups stand inside one another"),
        (
            {"a": {"fixed": nested(2000, 1)}},
            "space: more than 60 lists and mappings stand inside one another",
        ),
        (
            {"o": 0, "x": nested(9, {"uniform": [0, 1]}, lambda level: {"when": [{"o": 0}, {"o": 0}]})},
            "when: 512 cases; at most 256",
        ),
        ({"o": {"choice": [0, 1]}, "b": {"fixed": 1, "when": [{"o": 0}] * 300}}, "space.b: when: 300 cases"),
        ({f"a{i}": 1 for i in range(1001)}, "space: 1,001 hyper-parameters; at most 1,000"),
        ({"a": {"uniform": [10**400, 1]}}, "space.a: low must be a number up to 1.8e308, not 2**1328 and"),
        ({"a": 10**5000}, "space.a: 2**16609 and more is beyond 1.8e308"),
        ({"a": "x\ud800"}, "space.a: 'x\\ud800' cannot be stored as UTF-8"),
        ({"a": {"choice": [1, 2], "weights": [1e308, 1e308]}}, "space.a: weights as large as 1e308 add up"),
    ],
)
def test_what_is_too_much_is_told_in_words(form: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError) as error:
        read_space(form)
    assert why in str(error.value)


def test_a_thousand_conditions_depend_on_each_other_and_a_long_circle_is_told_shortly() -> None:
    links = {f"a{i}": {"choice": [0, 1], "when": {f"a{i - 1}": 1}} for i in range(1, 1000)}
    space = Space.from_dict({"a0": {"choice": [0, 1]}, **links})
    assert list(space.decode(np.full(1000, 0.9))) == [f"a{i}" for i in range(1000)]
    message = error_of({"a0": {"choice": [0, 1], "when": {"a999": 1}}, **links})
    assert message == (
        "space.a0: the conditions go in a circle: a0 depends on a999 depends on a998 depends on a997 "
        "depends on ... depends on a1 depends on a0"
    )


# Objects.


def test_a_test_of_unknown_comparison_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown comparison 'eq'"):
        Test("a", "eq", 1)
    assert Condition.parse({"a": {"ge": 2, "lt": 5}}).form() == {"a": {"ge": 2, "lt": 5}}
    assert Condition.parse({"a": [1, 2]}).form() == {"a": [1, 2]}
    assert Condition.parse({"a": {"ne": [1, 2]}}).form() == {"a": {"ne": [1, 2]}}
    assert Condition.parse([{"a": 1}, {"b": None}]).form() == [{"a": 1}, {"b": None}]


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), min_size=2), st.data())
def test_random_conditions_give_spaces_whose_samples_fit(sizes: dict[str, int], data: st.DataObject) -> None:
    names = list(sizes)
    domains: dict[str, Domain] = {n: RandInt(1, k) for n, k in sizes.items()}
    conditions = {}
    for j, name in enumerate(names[1:], 1):
        parent = data.draw(st.sampled_from(names[:j]))
        op = data.draw(st.sampled_from(["in", "ne", "ge", "lt"]))
        value = data.draw(st.integers(1, sizes[parent]))
        conditions[name] = Condition(((Test(parent, op, (value,) if op in ("in", "ne") else value),),))
    space = Space(domains, conditions)
    assume(space.dimension)
    for config in space.sample_many(0, 0, 5):
        assert space.why_not(config) is None
    assert Space.from_dict(space.to_dict()) == space


# Costs.


def test_decoding_four_axes_takes_less_than_five_microseconds_a_configuration() -> None:
    units = four.random_units(1, 0, 20_000)
    seconds: list[float] = []
    while len(seconds) < 100 and min(seconds, default=1.0) / 20_000 >= 5e-6:  # on a busy processor, at times
        began = time.process_time()
        four.decode_many(units)
        seconds.append(time.process_time() - began)
    assert min(seconds) / 20_000 < 5e-6


def test_importing_the_space_brings_in_numpy_and_nothing_heavy() -> None:
    code = "import raysearch.space, raysearch.spec, sys; print(*(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"ray", "torch", "wandb", "pandas", "pyarrow", "scipy", "ConfigSpace", "optuna"}
    assert heavy & set(done.stdout.split()) == set()
