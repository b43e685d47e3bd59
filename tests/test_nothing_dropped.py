"""What a space or sweep file says is done, or said: sweeps, mixed forms, dotted names, tiny bounds."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune

from raysearch.core.values import TUPLES
from raysearch.errors import LocatedError, SpecError
from raysearch.interop.read_space import read_space
from raysearch.interop.wandb_sweep import read_parameters
from raysearch.space import Space
from raysearch.spec import load_spec, make_spec
from raysearch.spec.search_spec import apply_overrides
from raysearch.strategies.panda.perturb import nudged_names
from raysearch.strategies.samplers.transfer import prior_space

UNIT = {"uniform": [0.0, 1.0]}
SWEEP: dict[str, Any] = {
    "trainable": "tr:train",
    "run_cap": 10,
    "parameters": {"lr": {"min": 0.0, "max": 1.0}},
    "metric": {"name": "loss", "goal": "minimize"},
    "early_terminate": {"type": "hyperband", "max_iter": 9},
}


def parameter(**form: Any) -> dict[str, Any]:
    return {"parameters": {"lr": {"min": 0.0, "max": 1.0}, "b": form}}


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"metric": {"name": "loss", "goal": "minimize", "target": 0.1}}, "metric.target: 0.1"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2}}, "early_terminate.s: 2"),
        (
            {"early_terminate": {"type": "hyperband", "max_iter": 27, "strict": True}},
            "early_terminate.strict",
        ),
        (
            {"early_terminate": {"type": "hyperband", "max_iter": 27, "min_iters": 3}},
            "early_terminate.min_iters: 3 of the W&B sweep is ignored: unknown key 'min_iters'; did you mean",
        ),
        (
            {"early_terminate": {"type": "envelope"}, "strategy": {"max_iterations": 9}},
            "early_terminate: {'type': 'envelope'}",
        ),
        ({"run_cap": 50, "strategy": {"name": "panda", "max_iterations": 30}}, "run_cap: 50"),
        (
            {"strategy": {"name": "panda", "max_iterations": 30}},
            "early_terminate.max_iter: 9 of the W&B sweep is ignored: it is a limit of caviar, not of panda",
        ),
        ({"strategy": {"samples": 4}}, "run_cap: 10 of the W&B sweep is ignored: strategy.samples says 4"),
        ({"mode": "max"}, "metric.goal: 'minimize' of the W&B sweep is ignored: mode says 'max'"),
        (parameter(distribution="uniform", min=0.0, max=1.0, q=0.1), "parameters.b.q: 0.1 is ignored"),
        (parameter(value=5, values=[1, 2]), "parameters.b.values: [1, 2] is ignored"),
        (parameter(distribution="normal", mu=0, sigma=1, min=0, max=1), "parameters.b.max: 1 is ignored"),
        (parameter(values=[1, 2], min=0), "parameters.b.min: 0 is ignored"),
        (parameter(min=0, max=9, probabilities=[1]), "parameters.b.probabilities"),
        (parameter(min=0, max=9, mu=3), "parameters.b.mu: 3 is ignored: distribution int_uniform has no mu"),
        (parameter(parameters={"c": {"min": 0.0, "max": 1.0}}, value=3), "parameters.b.value: 3 is ignored"),
        ({"method": "grid"}, "method: 'grid'"),
    ],
)
def test_each_entry_of_a_sweep_that_has_no_effect_is_a_note(
    tmp_path: Path, change: dict[str, Any], note: str
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({**SWEEP, **change}))
    assert [n for n in load_spec(file).notes if note in n]


@pytest.mark.parametrize("odd", [["minimize"], {"a": "minimize"}, True, 3, None, float("nan")])
@pytest.mark.parametrize(
    "key", ["metric.goal", "method", "early_terminate.type", "parameters.b.distribution"]
)
def test_an_entry_of_a_sweep_of_another_type_is_refused_or_noted_in_words(
    tmp_path: Path, key: str, odd: Any
) -> None:
    sweep = copy.deepcopy({**SWEEP, **parameter(min=0, max=9)})
    *groups, last = key.split(".")
    into: Any = sweep
    for group in groups:
        into = into.setdefault(group, {})
    into[last] = odd
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep))
    said = ""
    try:
        said = " ".join(load_spec(file, {"strategy.max_iterations": 9}).notes)
    except SpecError as error:
        said = str(error)
    assert last in said


def test_a_sweep_whose_entries_all_have_an_effect_has_no_notes(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({**SWEEP, **parameter(distribution="q_uniform", min=0, max=9, q=3)}))
    spec = load_spec(file)
    assert spec.notes == ()
    assert (spec.strategy.samples, spec.strategy.max_iterations) == (10, 9)  # type: ignore[attr-defined]


def test_a_sweep_given_as_a_space_says_that_only_its_parameters_are_read() -> None:
    _, notes = read_space({**SWEEP, "method": "random"})
    assert [note.partition(":")[0] for note in notes] == ["trainable", "run_cap", "metric", "early_terminate"]


@pytest.mark.parametrize(
    "form",
    [
        {"x": tune.uniform(0, 1), "lr": {"loguniform": [1e-4, 1]}},
        {"x": tune.uniform(0, 1), "lr": {"uniform": {"low": 0.0, "high": 1.0, "q": 0.5}}},
        {"x": tune.uniform(0, 1), "opt": {"choice": ["a", "b"], "weights": [1, 2]}},
        {"x": tune.uniform(0, 1), "n": {"ordinal": [8, 16]}, "d": {"fixed": {"a": 1}}},
        {"opt": tune.choice(["a", "b", "c"]), "g": {"when": {"opt": ["a", "b"]}, "m": tune.uniform(0, 1)}},
        {"opt": tune.choice([1, 2]), "m": {"uniform": [0, 1], "when": {"opt": [1, 2]}}},
        {"a": tune.uniform(0, 1), "b": tune.uniform(0, 1), "constraints": ["a < b"]},
        {"a": tune.uniform(0, 1), "b": {"uniform": [0, 1]}, "constraints": "a < b"},
        {"model": {"normal": {"lr": tune.uniform(0, 1), "on": True}, "x": tune.choice([1, 2])}},
        {"model": {"normal": {"lr": UNIT, "m": {"randint": [1, 9]}}}},
        {"choice": {"lr": tune.uniform(0, 1)}, "fixed": {"a": {"uniform": [0, 1]}}},
        {"x": tune.uniform(0, 1), "hidden": {"sizes": [64, 64]}},
    ],
)
def test_domains_of_rays_stand_beside_native_forms(form: dict[str, Any]) -> None:
    space, notes = read_space(form)
    assert notes == []
    for i in range(5):
        config = space.sample(1, i)
        assert space.allows(config)
        assert set(config) <= {*form} - {"constraints"}
    assert Space.from_dict(space.to_dict()) == space


def test_the_parts_of_a_mixed_space_mean_what_they_mean_alone() -> None:
    space, _ = read_space(
        {
            "opt": tune.choice(["a", "b"]),
            "g": {"when": {"opt": ["a"]}, "m": tune.uniform(0, 1)},
            "normal": {"normal": {"lr": tune.loguniform(1e-4, 1)}},
            "constraints": ["g.m < 0.5"],
        }
    )
    assert space.names == ("opt", "g/m", "normal/normal/lr")
    configs = space.sample_many(0, 0, 50)
    assert {("g" in c) is (c["opt"] == "a") for c in configs} == {True}
    assert max(c["g"]["m"] for c in configs if "g" in c) < 0.5


def test_a_misspelt_domain_beside_rays_is_refused() -> None:
    with pytest.raises(LocatedError, match="unknown domain 'logunifrom'; did you mean 'loguniform'"):
        read_space({"x": tune.uniform(0, 1), "y": {"logunifrom": [1, 2]}})


@pytest.mark.parametrize("make", [tune.choice, tune.grid_search])
@pytest.mark.parametrize("values", [[1, 1.0, "sqrt"], [0.0, 0], [[1], [1.0]], [{"a": 2}, {"a": 2.0}]])
def test_a_choice_of_1_and_1_0_is_refused_by_a_spec_and_noted_by_a_reader(make: Any, values: Any) -> None:
    _, notes = read_space({"k": make(values)})
    assert "are one value here" in notes[0]
    with pytest.raises(LocatedError, match="are one value here; where the code tells them apart, list names"):
        make_spec(
            trainable="t:t", metric="m", mode="min", strategy={"name": "panda", "max_iterations": 9},
            space={"k": make(values)},
        )  # fmt: skip


def test_true_and_1_are_two_values_and_a_repeated_one_is_likelier() -> None:
    space, notes = read_space({"k": tune.choice([True, 1, 1])})
    assert space.to_dict() == {"k": {"choice": [True, 1], "weights": [1.0, 2.0]}}
    assert notes == []


@pytest.mark.parametrize(
    "form",
    [
        tune.choice([(0.9, 0.999), (0.8, 0.99)]),
        tune.choice([["a", (1, 2)], None]),
        tune.grid_search([(1, 2), (3, 4)]),
        {"choice": [(1, 2), (3, 4)]},
        {"ordinal": [(1, 2), (3, 4)]},
        {"fixed": (1, 2)},
        {"fixed": {"betas": (1, 2)}},
    ],
)
def test_tuples_that_become_lists_are_said(form: Any) -> None:
    assert f"space.k: {TUPLES}" in read_space({"k": form})[1]


@pytest.mark.parametrize(
    "form", [{"choice": (1, 2)}, {"uniform": (0, 1)}, {"choice": [[1], [2]]}, {"fixed": [1]}]
)
def test_forms_without_tuples_among_the_values_are_not_remarked_on(form: Any) -> None:
    assert read_space({"k": form})[1] == []


DOTTED = Space.from_dict(
    {
        "trainer.lr": {"loguniform": [1e-3, 0.5]},
        "opt.name": {"choice": ["a", "b"]},
        "mom": {"uniform": [0, 1], "when": {"opt.name": "a"}},
        "g": {"a.b": UNIT, "c": {"uniform": [0, 1], "when": {"a.b": {"ge": 0.5}}}},
        "constraints": ["trainer.lr < 0.1", "config['trainer.lr'] < 0.09", "g.a.b < 0.9"],
    }
)


def test_names_with_dots_work_in_constraints_and_conditions() -> None:
    assert Space.from_dict(DOTTED.to_dict()) == DOTTED
    configs = DOTTED.sample_many(0, 0, 60)
    assert max(c["trainer.lr"] for c in configs) < 0.09
    assert max(c["g"]["a.b"] for c in configs) < 0.9
    assert {("mom" in c) is (c["opt.name"] == "a") for c in configs} == {True}
    assert {("c" in c["g"]) is (c["g"]["a.b"] >= 0.5) for c in configs} == {True}
    with pytest.raises(SpecError, match="unknown name 'trainer/rl'"):
        Space(DOTTED.domains, {}, ["trainer.rl < 1"])


def test_names_with_dots_work_where_panda_and_priors_take_names() -> None:
    assert nudged_names(DOTTED, ["trainer.lr", "g.a.b", "g/c"]) == ("trainer.lr", "g/a.b", "g/c")
    believed = prior_space(DOTTED, {"trainer.lr": {"loguniform": [1e-3, 1e-2]}, "g.a.b": UNIT})
    assert believed.domains["trainer.lr"].describe() == "loguniform [0.001, 0.01]"


def test_overrides_find_keys_that_have_dots() -> None:
    settings_: dict[str, Any] = {"space": {"trainer.lr": UNIT, "g": {"a.b": UNIT}}, "strategy": "caviar"}
    apply_overrides(
        settings_,
        ["space.trainer.lr=0.5", "space.g.a.b.uniform=[0, 2]", "baseline.trainer.lr=0.5", "baseline.g.a.b=1",
         "priors.trainer.lr={uniform: [0, 1]}", "strategy.samples=4", "space.new.x=1"],
    )  # fmt: skip
    assert settings_ == {
        "space": {"trainer.lr": 0.5, "g": {"a.b": {"uniform": [0, 2]}}, "new": {"x": 1}},
        "baseline": {"trainer.lr": 0.5, "g": {"a.b": 1}},
        "priors": {"trainer.lr": {"uniform": [0, 1]}},
        "strategy": {"name": "caviar", "samples": 4},
    }


def test_a_name_with_a_dot_and_a_group_that_are_written_alike_are_refused() -> None:
    with pytest.raises(SpecError, match=r"'a/b' and 'a.b' are both written a.b; rename one"):
        Space.from_dict({"a.b": UNIT, "a": {"b": UNIT}})


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ({"loguniform": [1e-12, 10], "q": 1}, set(map(float, range(1, 11)))),
        ({"loguniform": [1e-300, 2], "q": 0.5}, {0.5, 1.0, 1.5, 2.0}),
        ({"lognormal": [0, 1], "low": 1e-12, "high": 3, "q": 1}, {1.0, 2.0, 3.0}),
    ],
)
def test_steps_on_a_log_scale_begin_above_zero(form: dict[str, Any], values: set[float]) -> None:
    space = Space.from_dict({"x": form})
    assert {space.sample(0, i)["x"] for i in range(2000)} == values


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"distribution": "q_uniform", "min": 0, "max": 10, "q": float("inf")}, "q must be a finite number"),
        ({"distribution": "q_uniform", "min": 0, "max": 10, "q": float("nan")}, "q must be a finite number"),
        ({"distribution": "q_normal", "q": float("inf")}, "q must be a finite number"),
        ({"distribution": "q_log_uniform", "min": -1000, "max": 1, "q": 1}, None),
        ({"distribution": "q_log_normal", "mu": 800, "q": 1}, "reaches beyond floating point"),
        ({"distribution": "q_uniform", "min": 0.2, "max": 0.8, "q": 1}, "is above high"),
    ],
)
def test_odd_steps_of_a_sweep_are_read_or_said(form: dict[str, Any], words: str | None) -> None:
    if words is None:
        space = Space.from_dict(read_parameters({"x": form}))
        assert {space.sample(0, i)["x"] for i in range(50)} == {1, 2}
        return
    with pytest.raises(SpecError, match=words):
        Space.from_dict(read_parameters({"x": form}))


BOUND = st.one_of(st.sampled_from([0.0, 1e-320, 1e-300, 1e-12, 1.0, 10.0, 1e300]), st.floats(-5, 20))
STEP = st.sampled_from([None, 1e-320, 1e-9, 0.1, 0.3, 1, 2.5, 1e300, float("inf")])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["uniform", "loguniform", "randint", "lograndint"]), BOUND, BOUND, STEP)
def test_an_interval_is_refused_in_words_or_draws_only_its_own_values(
    kind: str, low: float, high: float, q: float | None
) -> None:
    check({kind: [low, high], **({} if q is None else {"q": q})})


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["normal", "lognormal"]), st.sampled_from([0.0, -700.0, 1e300, 3.0]),
    st.sampled_from([1e-300, 1.0, 200.0, 1e300]), st.none() | BOUND, st.none() | BOUND, STEP,
)  # fmt: skip
def test_a_bell_is_refused_in_words_or_draws_only_its_own_values(
    kind: str, mean: float, sd: float, low: float | None, high: float | None, q: float | None
) -> None:
    more = {"low": low, "high": high, "q": q}
    check({kind: [mean, sd], **{k: v for k, v in more.items() if v is not None}})


def check(form: dict[str, Any]) -> None:
    try:
        space = Space.from_dict({"x": form})
    except SpecError:
        return
    for config in [space.decode([0.0]), space.decode([1.0]), *space.sample_many(0, 0, 20)]:
        assert space.why_not(config) is None
        assert 0.0 <= space.encode(config)[0] <= 1.0
