"""Spaces of other libraries are read as they are, and written back."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from raysearch.core.values import TUPLES
from raysearch.errors import SpecError
from raysearch.interop import read_space as readers
from raysearch.interop.configspace import from_configspace
from raysearch.interop.read_space import (
    config_to_optuna,
    is_sweep,
    optuna_to_config,
    read_space,
    sweep_to_spec,
    to_configspace,
    to_optuna,
    to_ray,
)
from raysearch.interop.wandb_sweep import read_parameter
from raysearch.space import Space
from raysearch.space.domains import (
    Choice,
    Fixed,
    LogNormal,
    LogRandInt,
    LogUniform,
    Normal,
    Ordinal,
    RandInt,
    Uniform,
)

MIXED = Space.from_dict(
    {
        "lr": {"loguniform": [1e-4, 1.0]},
        "momentum": {"uniform": [0.0, 0.9], "q": 0.1},
        "layers": {"randint": [1, 5]},
        "width": {"lograndint": [8, 64], "q": 8},
        "optimizer": {"choice": ["sgd", "adamw", None, True], "weights": [2, 1, 1, 1]},
        "beta2": {"uniform": [0.9, 0.999], "when": {"optimizer": "adamw"}},
        "net": {"size": {"ordinal": ["s", "m", "l"]}, "kernel": {"choice": [[3, 3], [5, 5]]}},
        "epochs": 3,
    }
)


def test_our_own_spaces_and_forms_pass_through() -> None:
    assert read_space(MIXED) == (MIXED, [])
    assert read_space(MIXED.to_dict()) == (MIXED, [])
    with pytest.raises(SpecError, match="3 is no search space; give a mapping"):
        read_space(3)


# Ray Tune.


def test_each_ray_tune_domain_becomes_ours() -> None:
    from ray import tune

    domains = {
        "a": (tune.uniform(-1, 1), Uniform(-1, 1)),
        "b": (tune.quniform(0, 1, 0.1), Uniform(0, 1, 0.1)),
        "c": (tune.loguniform(1e-4, 1), LogUniform(1e-4, 1)),
        "d": (tune.qloguniform(0.5, 8, 0.5), LogUniform(0.5, 8, 0.5)),
        "e": (tune.randint(1, 5), RandInt(1, 4)),
        "f": (tune.qrandint(2, 8, 2), RandInt(2, 8, 2)),
        "g": (tune.qrandint(2, 8, 1), RandInt(2, 7)),
        "h": (tune.lograndint(8, 64), LogRandInt(8, 63)),
        "i": (tune.qlograndint(8, 64, 8), LogRandInt(8, 64, 8)),
        "j": (tune.choice(["a", None, True]), Choice(("a", None, True))),
        "k": (tune.choice([1, 1, 2]), Choice((1, 2), (2.0, 1.0))),
        "l": (tune.randn(1, 2), Normal(1, 2)),
        "m": (tune.qrandn(1, 2, 0.5), Normal(1, 2, q=0.5)),
        "n": ([64, 64], Fixed([64, 64])),
        "o": ((1, 2), Fixed([1, 2])),
        "p": ({}, Fixed({})),
        "q": ("text", Fixed("text")),
    }
    space, notes = read_space({name: theirs for name, (theirs, _) in domains.items()})
    assert dict(space.domains) == {name: ours for name, (_, ours) in domains.items()}
    assert notes == [f"space.o: {TUPLES}"]


def test_ray_samples_lie_in_the_space_that_was_read() -> None:
    from ray import tune

    theirs = {
        "a": tune.qrandint(2, 9, 3),
        "b": tune.lograndint(1, 3),
        "c": tune.quniform(0, 0.3, 0.1),
        "d": tune.randint(0, 2),
    }
    space, _ = read_space(theirs)
    for name, domain in theirs.items():
        drawn = set(np.round(domain.sample(size=300), 9).tolist())
        ours = set(space.domains[name].column(np.linspace(0, 1, 500)))
        assert drawn == ours, name


def test_nested_ray_dicts_are_groups_and_grids_are_choices_with_a_note() -> None:
    from ray import tune

    space, notes = read_space({"model": {"lr": tune.loguniform(1e-3, 1)}, "seed": tune.grid_search([1, 2])})
    assert space.names == ("model/lr", "seed")
    assert space.sample(1, 0)["model"].keys() == {"lr"}
    assert notes == ["space.seed: grid_search is read as a choice: values are drawn, not enumerated"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda tune: {"m": {"x": tune.sample_from(lambda c: 1)}}, "space.m.x: tune.sample_from runs code"),
        (lambda tune: {"x": tune.randint(3, 3)}, "space.x: Ray's randint(3, 3) leaves its upper bound out"),
        (
            lambda tune: {"x": tune.choice([len])},
            "space.x: <built-in function len> is a builtin_function",
        ),
        (lambda tune: {"x": tune.choice([])}, "space.x: choice needs at least one value"),
        (lambda tune: {"x": tune.uniform(1, 0)}, "space.x: low = 1.0 is above high = 0.0"),
        (lambda tune: {"x": [tune.uniform(0, 1)]}, "space.x: <ray.tune.search.sample.Float"),
        (lambda tune: {"a/b": tune.uniform(0, 1)}, "the name 'a/b' cannot be used"),
        (lambda tune: {"x": tune.uniform(0, 1), "f": len}, "space.f: <built-in function len> is a"),
    ],
)
def test_ray_spaces_that_cannot_be_read_say_where_and_what_instead(make: Any, text: str) -> None:
    from ray import tune

    with pytest.raises(SpecError) as error:
        read_space(make(tune))
    assert text in str(error.value)


def test_a_space_written_for_ray_is_read_back_without_its_conditions() -> None:
    numeric = Space({n: d for n, d in MIXED.domains.items() if n != "net/size"})
    assert read_space(to_ray(numeric))[0] == numeric
    assert read_space(to_ray(Space({"x": Normal(0, 1, q=0.5)})))[0] == Space({"x": Normal(0, 1, q=0.5)})
    with pytest.raises(SpecError, match="Ray Tune has nothing for lognormal"):
        to_ray(Space({"x": LogNormal(0, 1)}))


# Optuna.


def test_optuna_distributions_become_ours() -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space, _ = read_space(
        {
            "a": FloatDistribution(1e-4, 1, log=True),
            "b": FloatDistribution(0, 1, step=0.25),
            "c": FloatDistribution(0.05, 0.35, step=0.1),
            "d": IntDistribution(1, 5),
            "e": IntDistribution(8, 64, log=True),
            "f": IntDistribution(0, 8, step=2),
            "g": IntDistribution(1, 7, step=3),
            "h": CategoricalDistribution(["a", None]),
            "i": IntDistribution(3, 3),
        }
    )
    assert dict(space.domains) == {
        "a": LogUniform(1e-4, 1),
        "b": Uniform(0, 1, 0.25),
        "c": Ordinal((0.05, 0.15000000000000002, 0.25, 0.35000000000000003)),
        "d": RandInt(1, 5),
        "e": LogRandInt(8, 64),
        "f": RandInt(0, 8, 2),
        "g": Ordinal((1, 4, 7)),
        "h": Choice(("a", None)),
        "i": Fixed(3),
    }
    with pytest.raises(SpecError, match="the lower bound must be a multiple of the step"):
        read_space({"x": FloatDistribution(0.05, 1000.05, step=0.1)})


def test_optuna_trials_become_configurations_of_the_space_and_back() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    bells = Space(
        {**MIXED.domains, "n": Normal(0, 1), "ln": LogNormal(0, 1), "cut": Normal(0, 1, -1, 1)},
        MIXED.conditions,
    )
    distributions = to_optuna(bells)
    for _ in range(50):
        trial = study.ask(distributions)
        config = optuna_to_config(bells, trial.params)
        assert bells.why_not(config) is None
        params = config_to_optuna(bells, config)
        assert optuna_to_config(bells, params) == config
        assert all(
            distributions[n]._contains(distributions[n].to_internal_repr(v)) for n, v in params.items()
        )


# ConfigSpace.


def test_configspace_parameters_conditions_and_forbidden_clauses_are_read() -> None:
    import ConfigSpace as CS

    cs = CS.ConfigurationSpace(seed=1)
    opt = CS.Categorical("opt", ["sgd", "adamw", "none"], weights=[1, 3, 0])
    beta = CS.Float("beta", (0.1, 1.0), log=True)
    layers = CS.Integer("layers", (1, 5))
    width = CS.Integer("width", (1, 64), log=True)
    size = CS.OrdinalHyperparameter("size", ["s", "m", "l"])
    bell = CS.NormalFloatHyperparameter("bell", 0, 1, -3, 3)
    odd = CS.BetaFloatHyperparameter("odd:one", 1, 2, 0, 1)
    cs.add(opt, beta, layers, width, size, bell, odd, CS.Constant("k", 5))
    cs.add(
        CS.EqualsCondition(beta, opt, "adamw"),
        CS.OrConjunction(
            CS.AndConjunction(
                CS.GreaterThanCondition(bell, layers, 2), CS.LessThanCondition(bell, size, "l")
            ),
            CS.NotEqualsCondition(bell, width, 3),
        ),
    )
    cs.add(
        CS.ForbiddenAndConjunction(
            CS.ForbiddenEqualsClause(opt, "sgd"), CS.ForbiddenInClause(layers, [4, 5])
        ),
        CS.ForbiddenGreaterThanRelation(layers, width),
        CS.ForbiddenGreaterThanClause(odd, 0.9),
    )
    space, notes = read_space(cs)
    assert notes == ["odd:one: BetaFloatHyperparameter is read as uniform between its bounds"]
    assert space.domains["opt"] == Choice(("sgd", "adamw"), (1.0, 3.0))
    assert space.domains["width"] == LogRandInt(1, 64)
    assert space.domains["bell"] == Normal(0, 1, -3, 3)
    assert space.domains["k"] == Fixed(5)
    assert space.conditions["bell"].form() == [
        {"layers": {"gt": 2}, "size": ["s", "m"]},
        {"width": {"ne": [3]}},
    ]
    assert [c.text for c in space.constraints] == [
        "not ((opt == 'sgd') and (layers in [4, 5]))",
        "not (layers > width)",
        "not (config['odd:one'] > 0.9)",
    ]
    assert [space.why_not(dict(c)) for c in cs.sample_configuration(200)] == [None] * 200
    for config in space.sample_many(1, 0, 100):
        CS.Configuration(cs, values=config).check_valid_configuration()


def test_a_space_written_as_configspace_samples_inside_itself_and_is_read_back() -> None:
    domains = {n: d for n, d in MIXED.domains.items() if n != "net/kernel"}
    extra = {"deep": Uniform(0, 1), "one": RandInt(3, 3), "bell": Normal(0, 1, -2, 2)}
    form = {"deep": {"when": [{"layers": {"ge": 3}}, {"optimizer": {"ne": ["sgd", "adamw"]}}]}}
    condition = Space.from_dict({**MIXED.to_dict(), "deep": {"uniform": [0, 1], **form["deep"]}}).conditions[
        "deep"
    ]
    space = Space({**domains, **extra}, {**MIXED.conditions, "deep": condition})
    theirs = to_configspace(space, seed=1)
    for config in theirs.sample_configuration(100):
        values = {k: v.item() if isinstance(v, np.generic) else v for k, v in dict(config).items()}
        assert space.why_not(space.nest(values)) is None
    plain = Space({"lr": LogUniform(1e-3, 1), "o": Choice(("a", "b")), "n": RandInt(1, 3)})
    again = from_configspace(to_configspace(plain))[0]
    assert dict(again.domains) == dict(plain.domains)


def test_what_configspace_and_we_cannot_say_to_each_other_is_told() -> None:
    import ConfigSpace as CS

    with pytest.raises(SpecError, match="ConfigSpace cannot say 'a > 0'"):
        to_configspace(Space({"a": Uniform(0, 1)}, {}, ["a > 0"]))  # type: ignore[list-item]
    with pytest.raises(SpecError, match="too many to list"):
        to_configspace(Space({"a": Uniform(0, 1, 1e-5)}))
    with pytest.raises(SpecError, match="ConfigSpace has nothing for normal"):
        to_configspace(Space({"a": Normal(0, 1)}))
    with pytest.raises(SpecError, match="holds a '/'"):
        read_space(CS.ConfigurationSpace({"a/b": (0.0, 1.0)}))


# W&B sweeps.


@pytest.mark.parametrize(
    ("parameter", "domain"),
    [
        ({"value": 3}, Fixed(3)),
        ({"distribution": "constant", "value": "x"}, Fixed("x")),
        ({"values": ["a", 1]}, Choice(("a", 1))),
        ({"values": [1, 2], "probabilities": [0.2, 0.8]}, Choice((1, 2), (0.2, 0.8))),
        ({"distribution": "categorical", "values": [1]}, Choice((1,))),
        ({"distribution": "categorical_w_probabilities", "values": [1, 2], "probabilities": [0.5, 0.5]},
         Choice((1, 2), (0.5, 0.5))),
        ({"min": 1, "max": 5}, RandInt(1, 5)),
        ({"min": 1.0, "max": 5}, Uniform(1, 5)),
        ({"distribution": "int_uniform", "min": 1, "max": 5}, RandInt(1, 5)),
        ({"distribution": "uniform", "min": 0, "max": 5}, Uniform(0, 5)),
        ({"distribution": "uniform"}, Uniform(0, 1)),
        ({"distribution": "q_uniform", "min": 0, "max": 10, "q": 2}, RandInt(0, 10, 2)),
        ({"distribution": "q_uniform", "min": 0, "max": 10}, RandInt(0, 10)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.1}, Uniform(0, 1, 0.1)),
        ({"distribution": "log_uniform", "min": -3, "max": 0}, LogUniform(math.exp(-3), 1)),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": "1e-1"}, LogUniform(1e-4, 0.1)),
        ({"distribution": "inv_log_uniform", "min": 0, "max": 3}, LogUniform(math.exp(-3), 1)),
        ({"distribution": "inv_log_uniform_values", "min": 1e-4, "max": 0.1}, LogUniform(1e-4, 0.1)),
        ({"distribution": "q_log_uniform", "min": 0, "max": 3}, LogRandInt(1, 20)),
        ({"distribution": "q_log_uniform_values", "min": 8, "max": 64, "q": 8}, LogRandInt(8, 64, 8)),
        ({"distribution": "q_log_uniform_values", "min": 0.5, "max": 4, "q": 0.5}, LogUniform(0.5, 4, 0.5)),
        ({"distribution": "normal", "mu": 1, "sigma": 2}, Normal(1, 2)),
        ({"mu": 1, "sigma": 2}, Normal(1, 2)),
        ({"distribution": "q_normal", "mu": 1, "sigma": 2, "q": 0.5}, Normal(1, 2, q=0.5)),
        ({"distribution": "log_normal", "mu": 1, "sigma": 2}, LogNormal(1, 2)),
        ({"distribution": "q_log_normal", "mu": 1, "sigma": 2}, LogNormal(1, 2, q=1)),
    ],
)  # fmt: skip
def test_each_sweep_distribution_is_read(parameter: dict[str, Any], domain: Any) -> None:
    assert read_parameter(parameter) == domain


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        ({"distribution": "beta", "a": 1, "b": 2}, "parameters.p: distribution 'beta' is not supported"),
        ({"distribution": "log_unifrom"}, "unknown distribution 'log_unifrom'; did you mean 'log_uniform'?"),
        ({"distribution": "log_uniform", "min": 1, "max": 1000}, "write log_uniform_values"),
        ({"mins": 1}, "unknown key of a sweep parameter 'mins'; did you mean 'min'?"),
        ({"min": 1}, "says neither value, values, min and max, nor a distribution"),
        ({"distribution": "categorical"}, "needs values"),
        ({"distribution": "constant"}, "needs a value"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "low = 0.0 has no logarithm"),
        (3, "must be a mapping, such as {values: [1, 2]} or {value: 3}"),
    ],
)
def test_sweep_parameters_that_cannot_be_read_are_told(parameter: Any, text: str) -> None:
    with pytest.raises(SpecError) as error:
        read_space({"method": "random", "parameters": {"p": parameter}})
    assert str(error.value).startswith("space.parameters.p: ")
    assert text.removeprefix("parameters.p: ") in str(error.value)


def test_a_sweep_becomes_the_settings_of_a_spec() -> None:
    settings: dict[str, Any] = {
        "program": "train.py",
        "method": "bayes",
        "name": "my-sweep",
        "project": "digits",
        "entity": "team",
        "metric": {"name": "val_acc", "goal": "maximize"},
        "run_cap": 40,
        "early_terminate": {"type": "hyperband", "min_iter": 3, "max_iter": 27, "eta": 3},
        "parameters": {
            "lr": {"min": 1e-4, "max": 1.0},
            "opt": {"parameters": {"name": {"values": ["a", "b"]}}},
        },
    }
    assert is_sweep(settings)
    notes = sweep_to_spec(settings)
    assert settings == {
        "program": "train.py",
        "name": "my-sweep",
        "metric": "val_acc",
        "mode": "max",
        "strategy": {"name": "caviar", "samples": 40, "max_iterations": 27, "min_iterations": 3, "eta": 3},
        "wandb": {"project": "digits", "entity": "team"},
        "space": {"lr": Uniform(1e-4, 1.0), "opt": {"name": Choice(("a", "b"))}},
    }
    assert notes == [
        "method: 'bayes' of the W&B sweep is ignored: the strategy decides what to try",
    ]


def test_a_sweep_s_name_of_free_text_becomes_that_of_a_folder() -> None:
    settings: dict[str, Any] = {"name": "my première sweep/1", "parameters": {"lr": {"value": 1}}}
    assert sweep_to_spec(settings) == [
        "name: 'my première sweep/1' of the W&B sweep cannot name a folder; the run is 'my-premi-re-sweep-1'"
    ]
    assert settings["name"] == "my-premi-re-sweep-1"


def test_what_the_settings_say_of_the_strategy_goes_before_the_sweep() -> None:
    given = {"parameters": {}, "run_cap": 5, "strategy": {"samples": 7}}
    sweep_to_spec(given)
    assert given["strategy"] == {"name": "caviar", "samples": 7}
    other = {"parameters": {}, "run_cap": 5, "strategy": {"name": "panda", "members": 4}}
    sweep_to_spec(other)
    assert other["strategy"] == {"name": "panda", "members": 4}


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ({"name": "a", "goal": "up"}, "metric.goal: unknown goal 'up'"),
        ({"nam": "a"}, "metric.nam: unknown key 'nam'"),
    ],
)
def test_a_sweep_metric_that_cannot_be_read_is_told(metric: Any, text: str) -> None:
    with pytest.raises(SpecError) as error:
        sweep_to_spec({"parameters": {}, "metric": metric})
    assert text in str(error.value)


# Costs.


def test_no_library_is_imported_to_read_our_own_form() -> None:
    code = (
        "from raysearch.interop.read_space import read_space as r; import sys; r({'a': {'uniform': [0, 1]}});"
        "print(*(m.split('.')[0] for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"ray", "optuna", "ConfigSpace", "wandb", "torch"} & set(done.stdout.split()) == set()


def test_all_readers_and_writers_are_in_one_place() -> None:
    assert {"to_ray", "to_optuna", "to_configspace", "read_space"} <= set(readers.__all__)
