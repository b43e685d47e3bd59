"""Suggestions of Ray's Searchers and Optuna's samplers are used as they are meant; each fall-back is said."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from ray import tune
from ray.tune.search import Searcher

from raysearch.interop.fit import fitted
from raysearch.interop.read_space import read_space
from raysearch.interop.write_space import (
    config_to_optuna,
    optuna_to_config,
    rounded_weights,
    to_optuna,
    to_ray,
)
from raysearch.sources import ATTEMPTS, from_optuna, from_ray_searcher
from raysearch.space import Space
from raysearch.strategies.caviar import Caviar


class Suggests(Searcher):
    """Suggests one point again and again; takes no evaluated points."""

    def __init__(self, point: dict[str, Any]) -> None:
        super().__init__()
        self.point = point
        self.asked = 0

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.asked += 1
        return dict(self.point)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


def proposed(form: Any, point: dict[str, Any]) -> tuple[Any, Any]:
    sampler = from_ray_searcher(Suggests(point)).bind(read_space(form)[0], 0, 9)
    return sampler.propose(0), sampler


@pytest.mark.parametrize(
    ("form", "point", "trained"),
    [
        ({"bs": tune.lograndint(16, 256)}, {"bs": 64.0}, {"bs": 64}),
        ({"bs": tune.randint(0, 9)}, {"bs": np.int64(3)}, {"bs": 3}),
        ({"bs": tune.randint(0, 9)}, {"bs": 3.4}, {"bs": 3}),
        ({"bs": tune.qrandint(8, 64, 8)}, {"bs": 21}, {"bs": 24}),
        ({"lr": tune.qloguniform(1e-4, 1e-1, 5e-5)}, {"lr": 0.0123456}, {"lr": 0.01235}),
        ({"lr": tune.quniform(0, 1, 0.1)}, {"lr": 0.3000001}, {"lr": 0.3}),
        ({"lr": tune.uniform(0, 1)}, {"lr": 1.0000000001}, {"lr": 1.0}),
        ({"lr": tune.uniform(0, 1)}, {"lr": np.float32(0.5)}, {"lr": 0.5}),
        ({"lr": tune.uniform(0, 5)}, {"lr": 2}, {"lr": 2}),
        ({"k": tune.choice([[1, 2], [3]])}, {"k": (1, 2)}, {"k": [1, 2]}),
        ({"k": tune.choice([1, 2])}, {"k": 2.0}, {"k": 2}),
        ({"k": tune.qrandn(0, 1, 0.5)}, {"k": 0.7}, {"k": 0.5}),
        ({"x": tune.uniform(0, 1), "c": 5}, {"x": 0.5}, {"x": 0.5, "c": 5}),
        (
            {"o": tune.choice(["a", "b"]), "g": {"when": {"o": "a"}, "n": tune.randint(1, 9)}},
            {"o": "b", "g": {"n": 2.0}},
            {"o": "b"},
        ),
        (
            {"o": tune.choice(["a", "b"]), "g": {"when": {"o": "a"}, "n": tune.randint(1, 9)}},
            {"o": "a", "g": {"n": 2.0}},
            {"o": "a", "g": {"n": 2}},
        ),
    ],
)
def test_a_suggestion_is_rounded_onto_the_space_and_used(form: Any, point: Any, trained: Any) -> None:
    config, sampler = proposed(form, point)
    assert config == trained
    assert [*map(type, config.values())] == [*map(type, trained.values())]
    assert sampler._searcher.asked == 1
    assert not sampler.fallbacks.counts


def test_a_suggestion_far_outside_is_moved_to_the_bound_and_counted() -> None:
    config, sampler = proposed({"lr": tune.uniform(0, 1)}, {"lr": 7.0})
    assert config == {"lr": 1.0}
    assert sampler.fallbacks.of(0) == "lr was suggested outside its bounds and moved to them"


@pytest.mark.parametrize(
    ("form", "point", "why"),
    [
        ({"k": {"choice": ["a", "b"]}}, {"k": "c"}, "k = 'c' is not one of 'a', 'b'"),
        ({"x": {"uniform": [0, 1]}, "y": {"uniform": [0, 1]}}, {"x": 0.5}, "y is missing"),
        ({"x": {"uniform": [0, 1]}}, {"x": 0.5, "z": 1}, "unknown hyper-parameter 'z'"),
        (
            {"x": {"uniform": [0, 1]}, "constraints": ["x < 0.1"]},
            {"x": 0.5},
            "constraint 'x < 0.1' is not met",
        ),
        ({"x": {"uniform": [0, 1]}}, {"x": float("nan")}, "x = nan is outside"),
        ({"x": {"uniform": [0, 1]}}, {"x": "high"}, "x = 'high' is not a number"),
    ],
)
def test_a_random_point_in_place_of_suggestions_is_counted_with_the_reason(
    form: Any, point: Any, why: str
) -> None:
    config, sampler = proposed(form, point)
    assert config == Space.from_dict(form).sample(0, 0)
    assert sampler._searcher.asked == ATTEMPTS
    assert sampler.fallbacks.of(0).startswith(f"a random point: {ATTEMPTS} suggestions were not in the space")
    assert why in sampler.fallbacks.of(0)


def test_fall_backs_reach_the_reason_and_the_notes_of_a_search() -> None:
    space = Space.from_dict({"k": {"choice": ["a", "b"]}})
    strategy = Caviar(samples=3, max_iterations=1, sampler=from_ray_searcher(Suggests({"k": "c"}))).start(
        space, metric="m", mode="min"
    )
    assert "a random point: 100 suggestions were not in the space" in strategy.ask(1)[0].reason
    assert [note for note in strategy.notes if note.startswith("sampler Suggests, once by trial 0: a random")]


def test_a_random_point_is_one_kind_of_fall_back_whatever_the_values_were() -> None:
    space = Space.from_dict({"x": {"uniform": [0, 1]}, "constraints": ["x < 0.1"]})
    sampler: Any = from_ray_searcher(Suggests({"x": 0.5})).bind(space, 0, 1)
    for trial in range(10):
        sampler._searcher.point = {"x": 0.5 + trial / 100}
        sampler.propose(trial)
    assert [*sampler.fallbacks.counts.values()] == [10]
    assert [note.partition(" by trial")[0] for note in sampler.fallbacks.notes] == [
        "sampler Suggests, once",
        "sampler Suggests, 10 times",
    ]


def test_scores_that_a_searcher_does_not_take_are_said_once() -> None:
    config, sampler = proposed({"lr": tune.uniform(0, 1)}, {"lr": 0.5})
    for iteration in (1, 3, 9):
        sampler.observe(0, config, iteration, 1.0)
    assert sampler.fallbacks.notes == [
        "sampler Suggests: it learns scores of first rungs only: it takes no later ones"
    ]


WEIGHTED = Space.from_dict(
    {
        "o": {"choice": ["sgd", "adamw", "lion"], "weights": [0.9, 0.05, 0.05]},
        "n": {"ordinal": [8, 16], "weights": [3, 1]},
        "l": {"choice": [[1], [2]], "weights": [1, 4]},
    }
)


def shares(configs: list[Any], name: str) -> dict[Any, float]:
    return {v: n / len(configs) for v, n in Counter(str(c[name]) for c in configs).items()}


def test_the_weights_of_choices_survive_into_optunas_samplers() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = from_optuna(optuna.samplers.RandomSampler(seed=1)).bind(WEIGHTED, 0, 9)
    configs = [sampler.propose(i) for i in range(600)]
    assert shares(configs, "o")["sgd"] == pytest.approx(0.9, abs=0.04)
    assert shares(configs, "n")["8"] == pytest.approx(0.75, abs=0.06)
    assert shares(configs, "l")["[2]"] == pytest.approx(0.8, abs=0.06)
    assert sampler.fallbacks.notes == []


def test_the_weights_of_choices_survive_into_rays_searchers() -> None:
    form = to_ray(WEIGHTED)
    assert Counter(form["o"].categories) == {"sgd": 18, "adamw": 1, "lion": 1}
    again, _ = read_space(form)
    assert again.domains["o"].to_unit("sgd") == pytest.approx(0.45)
    from ray.tune.search.optuna import OptunaSearch

    plain = Space({name: WEIGHTED.domains[name] for name in ("o", "n")})
    sampler = from_ray_searcher(OptunaSearch(seed=1)).bind(plain, 0, 9)
    configs = [sampler.propose(i) for i in range(300)]
    assert shares(configs, "o")["sgd"] > 0.75


def test_every_configuration_comes_back_from_optunas_parameters() -> None:
    distributions = to_optuna(WEIGHTED)
    for i in range(50):
        config = WEIGHTED.sample(0, i)
        params = config_to_optuna(WEIGHTED, config)
        assert optuna_to_config(WEIGHTED, params) == config
        assert all(
            distributions[name]._contains(d.to_internal_repr(params[name]))
            for name, d in distributions.items()
        )


def test_weights_that_are_rounded_by_more_than_a_hundredth_are_named() -> None:
    many = Space.from_dict(
        {
            "k": {"choice": [*range(50)], "weights": [1000.0, *[1e-3] * 49]},
            "o": {"choice": [1, 2], "weights": [1, 2]},
        }
    )
    assert rounded_weights(many) == ["k"]


@pytest.mark.parametrize("q", [None, 0.5, 5.0])
def test_the_nearest_value_is_the_nearest(q: float | None) -> None:
    space = Space.from_dict({"x": {"loguniform": [1e-3, 100.0], **({"q": q} if q else {})}})
    rng = np.random.default_rng(0)
    values = [space.sample(0, i)["x"] for i in range(3000)]
    for wanted in np.exp(rng.uniform(np.log(1e-4), np.log(200), 50)).tolist():
        found = fitted(space, {"x": wanted})
        assert found.why_not == ""
        assert abs(found.config["x"] - wanted) <= min(abs(v - wanted) for v in values) + 1e-9
