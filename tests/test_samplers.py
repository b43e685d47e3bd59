"""Samplers: functions of (seed, i), the model against random ones, and those of other libraries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad

from raysearch.core.segment import Config, Outcome, Status
from raysearch.errors import RunError, SpecError
from raysearch.sources import from_optuna, from_ray_searcher
from raysearch.space import Space
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.samplers import Sampler, gp_sampler, make_sampler, sobol, uniform
from raysearch.strategies.samplers.gaussian_process import GaussianProcess, normal_scores
from raysearch.strategies.samplers.gp_sampler import ModelSampler

SPACE = Space.from_dict(
    {
        "lr": {"loguniform": [1e-4, 1.0]},
        "layers": {"randint": [1, 5]},
        "optimizer": {"choice": ["sgd", "adamw", "lion"]},
        "beta2": {"uniform": [0.9, 0.999], "when": {"optimizer": "adamw"}},
        "width": 64,
    }
)
SQUARE = Space.from_dict({"a": {"uniform": [0.0, 1.0]}, "b": {"uniform": [0.0, 1.0]}})


def bowl(config: Config, iteration: int = 9) -> float:
    """Least at lr = 0.01, 3 layers, adamw with beta2 = 0.95."""
    penalty = abs(config["beta2"] - 0.95) * 10 if config["optimizer"] == "adamw" else 1.0
    return (math.log10(config["lr"]) + 2) ** 2 + 0.2 * abs(config["layers"] - 3) + penalty + 1 / iteration


def constrained() -> Space:
    return Space(SQUARE.domains, {}, ["a + b <= 0.3"])


@pytest.mark.parametrize("make", [sobol, uniform])
def test_a_proposal_is_a_function_of_seed_and_trial(make: Any) -> None:
    forward = [make(SPACE, 1).propose(i) for i in range(20)]
    sampler = make(SPACE, 1)
    backward = [sampler.propose(i) for i in reversed(range(20))]
    assert forward == backward[::-1]
    assert make(SPACE, 2).propose(3) != forward[3]
    assert make(SPACE, 1).propose(5000) == make(SPACE, 1).propose(5000)


@pytest.mark.parametrize("name", ["model", "sobol", "random"])
def test_proposals_keep_to_conditions_and_constraints(name: str) -> None:
    for space in (SPACE, constrained()):
        sampler = make_sampler(name, space, 1, 9)
        for trial in range(60):
            config = sampler.propose(trial)
            assert config is not None
            assert space.why_not(config) is None
            sampler.observe(trial, config, 1, float(trial % 7))


@pytest.mark.parametrize("name", ["sobol", "random"])
def test_points_that_are_drawn_again_for_a_constraint_are_counted_and_said(name: str) -> None:
    space, free = constrained(), make_sampler(name, SQUARE, 0, 9)
    strategy = Caviar(samples=60, max_iterations=1, sampler=name, finish=None).start(
        space, metric="loss", mode="min"
    )
    segments = strategy.ask(60)
    broken = [space.why_not(free.propose(trial) or {}) is not None for trial in range(60)]
    kind = "does not meet 'a + b <= 0.3'"
    assert 10 < sum(broken) < 60
    assert [segment.reason.endswith(kind) for segment in segments] == broken
    assert all(space.why_not(segment.config) is None for segment in segments)
    assert [note.partition(" by trial")[0] for note in strategy.notes] == [
        f"sampler {name}, once",
        f"sampler {name}, 10 times",
    ]
    assert all(note.endswith(kind) for note in strategy.notes)
    sampler: Any = make_sampler(name, space, 0, 9)
    first = broken.index(True)
    assert sampler.propose(first) == sampler.propose(first)
    assert [*sampler.fallbacks.counts.values()] == [1]


def test_sobol_points_are_spread_better_than_random_ones() -> None:
    def emptiest(sampler: Sampler) -> int:
        points = [sampler.propose(i) for i in range(256)]
        counts, *_ = np.histogram2d([p["a"] for p in points if p], [p["b"] for p in points if p], bins=8)
        return int(counts.min())

    assert emptiest(sobol(SQUARE, 1)) >= 3 > emptiest(uniform(SQUARE, 1))


def test_an_object_with_two_methods_is_a_sampler() -> None:
    seen = []

    class Fixed:
        def propose(self, trial: int) -> Config | None:
            return {"a": 0.5, "b": 0.25} if trial < 3 else None

        def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
            seen.append((trial, iteration, score))

    recipe = Caviar(samples=10, max_iterations=3, sampler=Fixed(), finish=None)
    strategy = recipe.start(SQUARE, metric="m", mode="max")
    while not strategy.finished:
        for s in strategy.ask(1):
            strategy.tell(Outcome(s, Status.COMPLETED, {"m": [float(s.trial)] * (s.stop - s.start)}))
    assert (0, 1, -0.0) in seen
    assert (2, 3, -2.0) in seen
    assert {trial for trial, *_ in seen} == {0, 1, 2}


# ---- the model


def test_the_gradient_of_the_likelihood_is_right() -> None:
    rng = np.random.default_rng(0)
    x, t, trial = rng.random((30, 3)), rng.random(30), rng.integers(10, size=30)
    y = normal_scores(rng.random(30))
    process = GaussianProcess(np.array([False, False, True]))
    apart, same = np.abs(t[:, None] - t[None]), (trial[:, None] == trial[None]).astype(float)
    squares = process._squares(x)
    for _ in range(3):
        theta = rng.normal(size=7) * 0.5 - 0.5
        error = check_grad(
            lambda v: process._loss(v, squares, apart, same, y)[0],
            lambda v: process._loss(v, squares, apart, same, y)[1],
            theta,
        )
        assert error < 1e-3


def test_one_column_of_the_covariance_is_that_of_the_matrix() -> None:
    process = GaussianProcess(np.array([False, True, False]))
    x = np.random.default_rng(0).integers(3, size=(30, 3)) / 3
    assert process.column(x, 7) == pytest.approx(process.covariance(x, x)[7])


def test_the_posterior_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((20, 2)), rng.normal(size=20)
    process = GaussianProcess(np.zeros(2, dtype=bool))
    process.fit(x, np.ones(20), np.arange(20), y, steps=0)
    new = rng.random((5, 2))
    posterior = process.posterior(new, 1.0)
    own = math.exp(process._theta[1])
    k = process.covariance(x, x) + np.eye(20) * (own + process.noise) + 1.0  # the trend's variance
    cross = process.covariance(new, x)
    variance = process.covariance(new, new) - cross @ np.linalg.solve(k, cross.T)
    assert posterior.mean == pytest.approx(cross @ np.linalg.solve(k, y))
    assert posterior.sd**2 == pytest.approx(np.diag(variance) + own)
    before = posterior.sd.copy()
    posterior.try_point(2)
    drop = variance[:, 2] ** 2 / (variance[2, 2] + own + process.noise)
    others = [0, 1, 3, 4]
    assert (before**2 - posterior.sd**2)[others] == pytest.approx(drop[others])


def test_scores_of_all_rungs_lead_to_the_best_at_the_last() -> None:
    found = []
    for seed in range(5):
        sampler, best = ModelSampler(SPACE, seed, 9), math.inf
        for trial in range(120):
            config = sampler.propose(trial)
            for rung in (1, 3, 9)[: 1 + (trial % 3 == 0) + (trial % 9 == 0)]:
                sampler.observe(trial, config, rung, bowl(config, rung))
            best = min(best, bowl(config) - 1 / 9)
        found.append(best)
    random_ones = [min(bowl(SPACE.sample(s, i)) - 1 / 9 for i in range(120)) for s in range(5)]
    assert np.median(found) < 0.2 * np.median(random_ones)


def test_normal_scores_are_monotone_and_tame() -> None:
    scores = normal_scores(np.array([1e30, -5.0, 2.0, 2.0, 3.0]))
    assert scores[1] < scores[2] == scores[3] < scores[4] < scores[0] < 2.0
    assert scores.sum() == pytest.approx(0.0, abs=0.2)


def best_of(sampler: Sampler, n: int) -> float:
    best = math.inf
    for trial in range(n):
        config = sampler.propose(trial)
        assert config is not None
        sampler.observe(trial, config, 9, bowl(config))
        best = min(best, bowl(config))
    return best


def test_the_model_finds_better_than_random_and_sobol() -> None:
    found = [best_of(ModelSampler(SPACE, seed, 9), 100) for seed in range(7)]
    spread = [best_of(sobol(SPACE, seed), 100) for seed in range(7)]
    assert np.median(found) < 0.5 * (np.median(spread) - 1 / 9) + 1 / 9


def test_same_seed_and_scores_give_the_same_proposals() -> None:
    one, two = ModelSampler(SPACE, 1, 9), ModelSampler(SPACE, 1, 9)
    for trial in range(40):
        config = one.propose(trial)
        assert config == two.propose(trial)
        for sampler in (one, two):
            sampler.observe(trial, config, 1, bowl(config))


def test_failures_infinities_and_ties_do_not_stop_the_model() -> None:
    sampler = ModelSampler(SPACE, 1, 9)
    for trial in range(60):
        config = sampler.propose(trial)
        assert SPACE.allows(config)
        sampler.observe(
            trial, config, 1, [math.inf, 1.0, 1e300, -1e300][trial % 4] if trial < 40 else math.inf
        )


def test_a_space_without_axes_is_proposed_as_it_is() -> None:
    space = Space.from_dict({"width": 64})
    assert [ModelSampler(space, 1, 9).propose(i) for i in range(2)] == [{"width": 64}] * 2


def test_the_model_holds_a_bounded_number_of_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gp_sampler, "CAP", 40)
    sampler = ModelSampler(SPACE, 1, 9)
    rng = np.random.default_rng(0)
    scores = rng.random(500)
    for trial in range(500):
        sampler.observe(trial, SPACE.sample(1, trial), int(rng.choice([1, 3, 9])), float(scores[trial]))
    assert 40 <= len(sampler._scores) < 80
    assert sampler._scores.best() == scores.min()
    assert len(sampler._scores.arrays()[3]) == 40


# ---- other libraries


def search(sampler: Any, samples: int = 30, replayed_too: bool = True) -> list[Outcome]:
    recipe = Caviar(samples=samples, max_iterations=9, sampler=sampler, finish=None)
    strategy = recipe.start(SPACE, metric="loss", mode="min", seed=1)
    told = []
    while not strategy.finished:
        for s in strategy.ask(3):
            curve = [bowl(s.config, i) for i in range(s.start + 1, s.stop + 1)]
            status = Status.COMPLETED if s.trial % 5 else Status.DIVERGED
            curve = curve if s.trial % 5 else [math.nan] * len(curve)
            told.append(Outcome(s, status, {"loss": curve}))
            strategy.tell(told[-1])
    if replayed_too:
        replayed = recipe.start(SPACE, metric="loss", mode="min", seed=1)
        for outcome in told:
            replayed.tell(outcome)
        assert replayed.finished
    return told


def test_optuna_samplers_are_sources() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    told = search(from_optuna(optuna.samplers.TPESampler(seed=1)))
    assert len({o.segment.trial for o in told}) == 30
    assert all(SPACE.allows(o.segment.config) for o in told)
    assert told == search(from_optuna(optuna.samplers.TPESampler(seed=1)))


def test_ray_searchers_are_sources() -> None:
    from ray.tune.search.optuna import OptunaSearch

    told = search(from_ray_searcher(OptunaSearch(seed=1)))
    assert len({o.segment.trial for o in told}) == 30
    assert all(SPACE.allows(o.segment.config) for o in told)


def test_a_searcher_with_a_space_of_its_own_is_refused() -> None:
    from optuna.distributions import FloatDistribution
    from ray.tune.search.optuna import OptunaSearch

    own = OptunaSearch({"a": FloatDistribution(0, 1)}, metric="m", mode="min")
    with pytest.raises(SpecError, match="space of its own"):
        Caviar(samples=1, max_iterations=1, sampler=from_ray_searcher(own)).start(
            SPACE, metric="m", mode="min"
        )


def test_what_is_no_searcher_or_sampler_is_refused() -> None:
    with pytest.raises(SpecError, match="no Ray Tune Searcher"):
        from_ray_searcher(7)
    with pytest.raises(SpecError, match="no Optuna sampler"):
        from_optuna("tpe")


def test_classes_in_place_of_objects_are_refused() -> None:
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    with pytest.raises(SpecError, match=r"TPESampler is a class; give an object: from_optuna\(TPESampler"):
        from_optuna(optuna.samplers.TPESampler)
    with pytest.raises(SpecError, match=r"OptunaSearch is a class.*from_ray_searcher\(OptunaSearch"):
        from_ray_searcher(OptunaSearch)
    with pytest.raises(SpecError, match=r"Failing is a class; give an object: Failing"):
        search(Failing)


def test_a_grid_that_has_no_more_points_ends_the_search() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    grid = {"lr": [0.001, 0.1], "layers": [1, 2], "optimizer": ["sgd", "lion"], "beta2": [0.95]}
    told = search(from_optuna(optuna.samplers.GridSampler(grid, seed=1)), replayed_too=False)
    first = [o.segment.config for o in told if o.segment.start == 0]
    assert len({str(sorted(config.items())) for config in first}) == 8
    assert len(first) < 30


def test_a_sampler_that_comes_to_an_end_says_how_far_the_search_came() -> None:
    class Brief:
        def propose(self, trial: int) -> Config | None:
            return SPACE.sample(0, trial) if trial < 4 else None

        def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
            """Learns nothing."""

    recipe = Caviar(samples=1000, max_iterations=3, sampler=Brief(), finish=None)
    strategy = recipe.start(SPACE, metric="loss", mode="min", seed=1)
    while not strategy.finished:
        for part in strategy.ask(2):
            strategy.tell(Outcome(part, Status.COMPLETED, {"loss": [1.0] * (part.stop - part.start)}))
    assert list(strategy.notes) == [
        "sampler Brief: it has no more configurations: 4 of 1,000 samples are tried"
    ]


class Failing:
    """Raises when it is asked for trial 3, or told of it."""

    def __init__(self, where: str = "propose") -> None:
        self.where = where

    def propose(self, trial: int) -> Config:
        if trial == 3 and self.where == "propose":
            raise KeyError("third")
        return SPACE.sample(0, trial)

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        if trial == 3:
            raise ValueError("no score")


class Unbound:
    def bind(self, space: Space, seed: int, iterations: int) -> Sampler:
        raise TypeError("not this space")


def test_a_sampler_that_fails_is_named_with_its_words() -> None:
    with pytest.raises(RunError, match="sampler Failing failed, asked for trial 3: KeyError: 'third'"):
        search(Failing())
    with pytest.raises(RunError, match="told of trial 3 at iteration 1: ValueError: no score"):
        search(Failing("observe"))
    with pytest.raises(SpecError, match="Unbound cannot be used for this space: TypeError: not this space"):
        search(Unbound())


@pytest.mark.parametrize(
    "form", [{"lr": {"uniform": [0.001, 1.0]}}, {"lr": {"uniform": [0, 1]}, "n": {"randint": [1, 900]}}]
)
def test_the_model_never_repeats_a_configuration_that_it_could_avoid(form: dict[str, Any]) -> None:
    strategy = Caviar(samples=60, max_iterations=9, finish=None).start(
        Space.from_dict(form), metric="loss", mode="min", seed=1
    )
    tried: list[tuple[Any, ...]] = []
    while not strategy.finished:
        for segment in strategy.ask(4):
            if segment.start == 0:
                tried.append(tuple(segment.config.values()))
            loss = segment.config["lr"]  # best at the very bound, where proposals pile up
            curve = {"loss": [loss] * (segment.stop - segment.start)}
            strategy.tell(Outcome(segment, Status.COMPLETED, curve))
    assert len(tried) == len(set(tried)) == 60
    assert min(t[0] for t in tried) < 0.02
