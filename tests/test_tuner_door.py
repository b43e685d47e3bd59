"""Ray Tune's Tuner with one import changed: what it is given is read, and what comes back answers alike."""

from __future__ import annotations

import dataclasses
import inspect
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune import schedulers
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.schedulers.pb2 import PB2
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater
from ray.tune.search.optuna import OptunaSearch
from ray.tune.stopper import (
    CombinedStopper,
    ExperimentPlateauStopper,
    MaximumIterationStopper,
    TimeoutStopper,
)

import raysearch
from raysearch.errors import SpecError
from raysearch.integrations.tune import Tuner
from raysearch.integrations.tune_settings import SETTINGS, Setting, unread
from raysearch.interop.read_space import read_space
from raysearch.strategies.panda.truncation import Truncation

SPACE = {"a": tune.uniform(0.0, 1.0), "b": 3}


def objective(config: dict[str, Any]) -> None:
    """As in Ray's own examples: a score that grows, with a checkpoint each time."""
    first = 0
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            first = int(Path(folder, "step").read_text())
    for step in range(first, 100):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text(str(step + 1))
            score = config["a"] * (step + 1) + config["b"]
            tune.report({"score": score}, checkpoint=tune.Checkpoint.from_directory(folder))


def tuner(storage: Path, space: Any = SPACE, stop: Any = None, **config: Any) -> Tuner:
    return Tuner(
        objective,
        param_space=space,
        tune_config=tune.TuneConfig(metric="score", mode="max", **config),
        run_config=tune.RunConfig(name="run", storage_path=str(storage), stop=stop),
        executor="inline",
        say=lambda line: None,
    )


def strategy_of(made: Tuner) -> Any:
    return made._given["strategy"]


def test_asha_is_searched_and_the_grid_answers_as_rays_does(storage: Path) -> None:
    scheduler = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3)
    made = tuner(storage, num_samples=6, scheduler=scheduler)
    assert strategy_of(made) == raysearch.Caviar(
        6, 9, 3, 1, 1, variant="stopping", finish=None, sampler="random"
    )
    grid = made.fit()
    assert (len(grid), grid.num_errors, grid.num_terminated) == (6, 0, 6)
    best = grid.get_best_result()
    assert best.metrics["training_iteration"] == 9
    assert best.metrics["score"] == pytest.approx(best.config["a"] * 9 + 3)
    assert best.config["b"] == 3
    assert max(result.metrics["score"] for result in grid) == best.metrics["score"]
    assert Path(best.checkpoint.path, "step").read_text() == "9"
    worst = grid.get_best_result(mode="min", scope="all")
    assert worst.config["a"] == min(result.config["a"] for result in grid)
    frame = grid.get_dataframe()
    assert len(frame) == 6
    assert frame["config/a"].tolist() == [result.config["a"] for result in grid]
    assert grid.experiment_path == str(storage / "run")


def test_a_grid_without_a_scheduler_trains_each_point_to_its_end(storage: Path) -> None:
    space = {"a": tune.grid_search([0.1, 0.2]), "b": tune.grid_search([1, 2, 3])}
    grid = tuner(storage, space, stop={"training_iteration": 4}).fit()
    points = sorted((result.config["a"], result.config["b"]) for result in grid)
    assert points == [(a, b) for a in (0.1, 0.2) for b in (1, 2, 3)]
    assert {result.metrics["training_iteration"] for result in grid} == {4}


def test_a_grid_in_a_group_is_enumerated(storage: Path) -> None:
    space = {"a": 0.5, "deep": {"c": tune.grid_search([1, 2]), "er": {"d": tune.grid_search([3, 4]), "e": 5}}}
    made = tuner(storage, {**space, "b": tune.grid_search([6, 7])}, stop={"training_iteration": 1})
    made._given["executor"] = "inline"
    points = [result.config for result in made.fit()]
    found = sorted((p["b"], p["deep"]["c"], p["deep"]["er"]["d"], p["deep"]["er"]["e"]) for p in points)
    assert found == [(b, c, d, 5) for b in (6, 7) for c in (1, 2) for d in (3, 4)]
    assert made.notes == []


def test_trials_that_fail_are_errors_of_the_grid(storage: Path) -> None:
    def fails(config: dict[str, Any]) -> None:
        tune.report({"score": config["a"]})
        raise ValueError("on purpose")

    made = tuner(storage, num_samples=2, stop={"training_iteration": 3})
    made._trainable = fails
    grid = made.fit()
    assert grid.num_errors == 2
    assert "on purpose" in str(grid.errors[0])


def test_populations_become_panda(storage: Path) -> None:
    length = {"training_iteration": 12}
    pbt = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=3,
        hyperparam_mutations={"a": tune.uniform(0.1, 1.0)},
    )
    space = {"a": tune.uniform(0.1, 1.0), "b": 3}
    made = tuner(storage, space, stop=length, num_samples=4, scheduler=pbt)
    rays = Truncation(quantile=0.25, resample=0.25, factors=(1.2, 0.8), burn_in=0, drawn=True)
    assert strategy_of(made) == raysearch.Panda(12, population=4, nudge=["a"], interval=3, exploit=rays)
    assert made.fit().get_best_result().metrics["training_iteration"] == 12
    pb2 = PB2(time_attr="training_iteration", perturbation_interval=3, hyperparam_bounds={"a": [0.1, 1.0]})
    found = strategy_of(tuner(storage, stop=length, num_samples=8, scheduler=pb2))
    assert (found.population, found.suggest) == (8, "gp")


def population(storage: Path, mutations: Any = None, space: Any = None, **settings: Any) -> Tuner:
    """A Tuner of four models that train twelve iterations."""
    given = {"time_attr": "training_iteration", "perturbation_interval": 3, **settings}
    pbt = PopulationBasedTraining(hyperparam_mutations=mutations or {"a": tune.uniform(0.1, 1.0)}, **given)
    return tuner(storage, space or {}, stop={"training_iteration": 12}, num_samples=4, scheduler=pbt)


def test_what_a_population_was_told_of_selection_and_exploration_is_carried(storage: Path) -> None:
    made = population(
        storage, quantile_fraction=0.5, resample_probability=0.1, perturbation_factors=(2.0, 0.5),
        burn_in_period=4.5, perturbation_interval=2.5,
    )  # fmt: skip
    assert strategy_of(made).truncation == Truncation(0.5, 0.1, (2.0, 0.5), 5, drawn=True)
    assert strategy_of(made).interval == 3  # the first whole iteration that is not sooner
    assert made.notes == []


def test_the_grid_has_a_result_a_model_with_the_history_of_its_weights(storage: Path) -> None:
    made = population(storage, space={"b": 3}, quantile_fraction=0.5)
    grid = made.fit()
    assert len(grid.results.trials()) > len(grid) == 4  # some models took over others' weights
    assert [one.metrics_dataframe.training_iteration.tolist() for one in grid] == [[*range(1, 13)]] * 4
    assert (
        grid.get_best_result().metrics["score"] == grid.results.best.value == grid.get_dataframe().score.max()
    )


def test_a_list_of_mutations_has_neighbours_and_a_choice_of_numbers_is_said_to_be_one(storage: Path) -> None:
    lists = population(storage, {"a": [8, 16, 64], "b": ["x", "y", "z"]}, {"a": tune.choice([8, 16, 64])})
    space, _ = read_space(lists._given["space"])
    assert space.to_dict() == {"a": {"ordinal": [8, 16, 64]}, "b": {"ordinal": ["x", "y", "z"]}}
    assert lists.notes == []
    (said,) = population(storage, {"a": tune.choice([8, 16]), "b": tune.choice(["x", "y"])}).notes
    assert said.startswith(
        "PopulationBasedTraining.hyperparam_mutations['a']: a value of tune.choice becomes"
    )


def test_models_differ_in_what_no_mutation_changes_too_as_rays_do(storage: Path) -> None:
    made = population(storage, space={"b": tune.randint(1, 10**6)})
    results = made.fit().results
    assert len({results.configs(trial)[0]["b"] for trial in range(4)}) == 4


def test_limits_and_algorithms_are_read(storage: Path) -> None:
    algorithm = ConcurrencyLimiter(OptunaSearch(seed=1), max_concurrent=2)
    made = tuner(
        storage, num_samples=5, search_alg=algorithm, time_budget_s=1800, stop={"training_iteration": 2}
    )
    assert made._given["budget"] == {"hours": 0.5}
    assert made._given["workers"] == {"max": 2}
    assert strategy_of(made).sampler.library == "ray"
    hyperband = strategy_of(tuner(storage, num_samples=9, scheduler=HyperBandScheduler(max_t=27)))
    assert (hyperband.max_iterations, hyperband.eta, hyperband.brackets) == (27, 3, 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scheduler": MedianStoppingRule()}, "scheduler: MedianStoppingRule has no counterpart"),
        ({"stop": ExperimentPlateauStopper("score")}, "an ExperimentPlateauStopper has no counterpart"),
        ({"stop": {"score": "high"}}, "RunConfig.stop: 'score': 'high' must be a number"),
        ({"num_samples": -1}, "TuneConfig.num_samples: -1 needs time_budget_s"),
        ({"search_alg": OptunaSearch(lambda trial: {})}, "OptunaSearch was given a space of its own"),
        ({"search_alg": Repeater(OptunaSearch())}, "a Repeater has no counterpart"),
        (
            {"search_alg": BasicVariantGenerator(points_to_evaluate=[{"c": 1}])},
            "points_to_evaluate: {'c': 1} leaves out a",
        ),
        ({"scheduler": ASHAScheduler(time_attr="time_total_s")}, "time_attr: 'time_total_s' has no"),
        (
            {
                "scheduler": PopulationBasedTraining(
                    time_attr="training_iteration", hyperparam_mutations={"a": [1]}
                )
            },
            "RunConfig.stop: PopulationBasedTraining needs stop=",
        ),
        (
            {
                "scheduler": PopulationBasedTraining(
                    time_attr="training_iteration", hyperparam_mutations={"a": [1]}
                ),
                "stop": {"training_iteration": 30},
            },
            "PopulationBasedTraining.perturbation_interval: 60 leaves no decision in 30 iterations",
        ),
        (
            {
                "scheduler": PopulationBasedTraining(
                    time_attr="training_iteration", hyperparam_mutations={"a": [1]}, burn_in_period=99
                ),
                "stop": {"training_iteration": 90},
            },
            "PopulationBasedTraining.burn_in_period: 99 leaves no decision in 90 iterations",
        ),
        (
            {
                "scheduler": PB2(
                    time_attr="training_iteration",
                    perturbation_interval=3,
                    quantile_fraction=0.4,
                    hyperparam_bounds={"a": [0.1, 1.0]},
                ),
                "stop": {"training_iteration": 30},
                "num_samples": 8,
            },
            "PB2.quantile_fraction=0.4 has no counterpart: of 8 models and more those of a group of four",
        ),
        (
            {
                "scheduler": PopulationBasedTraining(
                    time_attr="training_iteration", perturbation_interval=3, hyperparam_mutations={"a": [1]}
                ),
                "stop": {"training_iteration": 30},
                "search_alg": OptunaSearch(),
            },
            "TuneConfig.search_alg: PopulationBasedTraining takes none",
        ),
    ],
)
def test_what_has_no_counterpart_is_named_before_anything_starts(
    storage: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        tuner(storage, **given)
    assert [*storage.iterdir()] == []


# ---- every setting


CONFIGS = (tune.TuneConfig, tune.RunConfig, tune.CheckpointConfig, tune.FailureConfig)
ALGORITHMS = (PB2, BasicVariantGenerator, ConcurrencyLimiter)
REFUSED = {"MedianStoppingRule", "PopulationBasedTrainingReplay", "ResourceChangingScheduler"}
RAYS = [
    kind
    for kind in vars(schedulers).values()
    if inspect.isclass(kind) and issubclass(kind, TrialScheduler) and kind is not TrialScheduler
]


@pytest.mark.parametrize("kind", [*CONFIGS, *ALGORITHMS, *RAYS], ids=lambda kind: kind.__name__)
def test_every_setting_of_rays_is_read_named_refused_or_without_effect(kind: type) -> None:
    if kind.__name__ in REFUSED:
        assert kind.__name__ not in SETTINGS
        return
    own = {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else None
    parameters = own or {*inspect.signature(kind).parameters} - {"args", "kwargs"}
    assert {*SETTINGS[kind.__name__]} == parameters


def value_for(name: str) -> Any:
    """A value that is not Ray's default."""
    whole = {"checkpoint_score_order": "min", "storage_path": "/s"}
    unlike = {"stop_last_trials": False, "checkpoint_score_attribute": "m", "callbacks": [tune.Callback()]}
    unlike |= {
        "trial_name_creator": str,
        "trial_dirname_creator": str,
        "custom_explore_fn": dict,
        "batch": True,
    }
    unlike |= {"sync_config": tune.SyncConfig(sync_artifacts=True), "progress_reporter": tune.CLIReporter()}
    unlike |= dict.fromkeys(("checkpoint_at_end", "fail_fast", "constant_grid_search", "log_to_file"), True)
    unlike |= {"storage_filesystem": object(), "num_to_keep": 3, "checkpoint_frequency": 2}
    unlike |= {"random_state": 7}
    return {**whole, **unlike}[name]


def made_with(kind: str, name: str) -> Any:
    """One of Ray's, with another value of that setting than the default."""
    classes = {k.__name__: k for k in (*CONFIGS, *ALGORITHMS, *RAYS)}
    needed: dict[str, Any] = {
        "PB2": {"hyperparam_bounds": {"a": [0.1, 1.0]}},
        "PopulationBasedTraining": {"hyperparam_mutations": {"a": [1, 2]}},
        "ConcurrencyLimiter": {"searcher": OptunaSearch(), "max_concurrent": 2},
    }
    return classes[kind](**needed.get(kind, {}), **{name: value_for(name)})


def of_kind(kind: str) -> list[tuple[str, str]]:
    """The settings of that kind that can be made: (class, name)."""
    gone = {("RunConfig", "local_dir")}  # Ray itself refuses it
    return [
        (of, name)
        for of, table in SETTINGS.items()
        for name, setting in table.items()
        if setting.kind == kind and (of, name) not in gone
    ]


@pytest.mark.parametrize(("of", "name"), of_kind("named"))
def test_a_setting_that_is_not_read_is_named_with_what_happens_instead(of: str, name: str) -> None:
    (said,) = unread(made_with(of, name))
    assert said.startswith(f"{of}.{name}=")
    assert said.endswith(f" is not read: {SETTINGS[of][name].words}")


@pytest.mark.parametrize(("of", "name"), of_kind("refused"))
def test_a_setting_that_would_make_it_another_search_is_refused(of: str, name: str) -> None:
    with pytest.raises(SpecError, match=f"{of}.{name}=.* has no counterpart"):
        unread(made_with(of, name))


def test_what_ray_takes_by_default_needs_no_word() -> None:
    plain = [tune.TuneConfig(), tune.RunConfig(), tune.CheckpointConfig(), tune.FailureConfig()]
    assert [unread(one) for one in (*plain, ASHAScheduler(), HyperBandScheduler(), object())] == [[]] * 7
    assert Setting().kind == "without effect"


# ---- stop


class Counts(tune.Trainable):
    """The score is the iteration times `a`."""

    def setup(self, config: dict[str, Any]) -> None:
        self.at = 0

    def step(self) -> dict[str, Any]:
        self.at += 1
        return {"score": self.at, "inner": {"score": self.at}}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "at").write_text(str(self.at))

    def load_checkpoint(self, folder: str) -> None:
        self.at = int(Path(folder, "at").read_text())


class After(tune.Stopper):
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(trial_id) and result["training_iteration"] >= 3

    def stop_all(self) -> bool:
        return False


@pytest.mark.filterwarnings("ignore:RunConfig.stop=After")
@pytest.mark.parametrize(
    ("stop", "length"),
    [
        ({"score": 4}, 4),
        ({"inner/score": 5, "training_iteration": 9}, 5),
        ({"score": 100, "done": True, "training_iteration": 2}, 2),
        (lambda trial, result: result["score"] > 2, 3),
        (After(), 3),
        (CombinedStopper(MaximumIterationStopper(4), TimeoutStopper(3600)), 4),
    ],
)
@pytest.mark.parametrize("of_function", [True, False])
def test_trials_end_where_ray_would_end_them(
    storage: Path, stop: Any, length: int, of_function: bool
) -> None:
    def train(config: dict[str, Any]) -> None:
        for at in range(1, 100):
            tune.report({"score": at, "inner": {"score": at}})

    given = Tuner(
        train if of_function else Counts,
        param_space={"a": tune.uniform(0.0, 1.0)},
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=2),
        run_config=tune.RunConfig(storage_path=str(storage), stop=stop, verbose=0),
        executor="inline",
        say=lambda line: None,
    )
    assert [result.metrics["training_iteration"] for result in given.fit()] == [length, length]


def test_a_stop_beyond_the_last_rung_does_not_lengthen_a_search(storage: Path) -> None:
    made = tuner(storage, stop={"training_iteration": 9999}, scheduler=ASHAScheduler(max_t=100))
    assert strategy_of(made).max_iterations == 100


# ---- spaces and names


def test_a_grid_beside_other_domains_is_enumerated_and_the_others_drawn(storage: Path) -> None:
    space = {"a": tune.uniform(0.0, 1.0), "b": tune.grid_search([1, 2])}
    grid = tuner(storage, space, stop={"training_iteration": 1}, num_samples=3).fit()
    assert [result.config["b"] for result in grid] == [1, 2] * 3
    assert len({result.config["a"] for result in grid}) == 6


def test_a_function_among_mutations_is_searched_where_its_values_lie_and_that_is_said(storage: Path) -> None:
    pbt = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=3,
        hyperparam_mutations={
            "a": lambda: random.uniform(0.1, 0.9),
            "b": lambda: random.choice([16, 32]),
            "c": lambda: 10 ** random.uniform(-4, -1),
            "d": lambda: random.randrange(100),
        },
    )
    before = random.getstate()
    made = tuner(storage, {}, stop={"training_iteration": 6}, num_samples=2, scheduler=pbt)
    assert random.getstate() == before
    space = made._given["space"]
    assert [type(space[name]).__name__ for name in "abcd"] == ["Float", "Categorical", "Float", "Integer"]
    assert 0.1 <= space["a"].lower < 0.11 < 0.89 < space["a"].upper <= 0.9
    assert space["b"].categories == [16, 32]
    assert type(space["c"].sampler).__name__ == "_LogUniform"
    said = [note for note in made.notes if "hyperparam_mutations['a']: a function has no bounds" in note]
    assert len(said) == 1


def test_models_begin_where_the_param_space_has_values_as_far_as_that_can_be(storage: Path) -> None:
    pbt = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=3,
        hyperparam_mutations={"a": tune.uniform(0.1, 1.0)},
    )
    made = tuner(storage, {"a": 0.5, "k": 2}, stop={"training_iteration": 9}, num_samples=3, scheduler=pbt)
    assert made._given["baseline"] == {"a": 0.5}
    assert made._given["config"] == {"k": 2}
    assert any("a=0.5: the first model begins there, the others begin" in note for note in made.notes)
    outside = tuner(storage, {"a": 5.0}, stop={"training_iteration": 9}, num_samples=3, scheduler=pbt)
    assert outside._given["baseline"] is None
    assert any("a=5.0: models begin with values drawn" in note for note in outside.notes)


def test_mutations_in_a_group_change_what_stands_there(storage: Path) -> None:
    pbt = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        hyperparam_mutations={
            "a": [0.1, 0.5],
            "optim": {"lr": tune.uniform(0.1, 1.0), "more": {"m": [1, 2]}},
        },
    )
    optim = {"lr": 0.5, "kind": "sgd", "more": {"m": 1, "k": 3}}
    space = {"a": 0.5, "b": 3, "optim": optim}
    made = tuner(storage, space, stop={"training_iteration": 2}, num_samples=2, scheduler=pbt)
    assert strategy_of(made).nudge == ["a", "optim.lr", "optim.more.m"]
    assert made._given["baseline"] == {"a": 0.5, "optim": optim}
    assert any("a=0.5, optim.lr=0.5, optim.more.m=1: the first model begins" in note for note in made.notes)
    with pytest.warns(UserWarning, match=r"optim\.lr=0\.5"):
        found = [result.config for result in made.fit()]
    assert found[0] == space
    assert all(0.1 <= config["optim"]["lr"] <= 1.0 for config in found)
    assert {config["optim"]["kind"] for config in found} == {"sgd"}


def test_whole_numbers_of_results_stay_whole_and_a_grid_is_named_once(storage: Path) -> None:
    lines: list[str] = []
    made = tuner(storage, {"a": tune.grid_search([0.5])}, stop={"training_iteration": 2})
    made._given |= {"say": lines.append, "space": {**made._given["space"], "b": 1}}
    grid = made.fit()
    assert [*range(grid[0].metrics["training_iteration"])] == [0, 1]
    assert grid.get_dataframe().to_dict("records")[0]["training_iteration"] == 2
    assert isinstance(grid[0].metrics["score"], float)
    assert len([line for line in lines if "GridPoints is an object" in line]) == 1


def test_a_script_that_is_run_again_gets_a_run_of_its_own(storage: Path) -> None:
    given = {"stop": {"training_iteration": 1}}
    first = tuner(storage, **given).fit()
    with pytest.warns(UserWarning, match="there is a run 'run' already: this is 'run-2'"):
        second = tuner(storage, **given).fit()
    assert [Path(grid.experiment_path).name for grid in (first, second)] == ["run", "run-2"]


def test_the_module_has_all_that_ray_tune_has() -> None:
    from raysearch.integrations import tune as ours

    assert ours.Tuner is Tuner
    assert ours.uniform is tune.uniform
    assert ours.schedulers.ASHAScheduler is ASHAScheduler
    with pytest.raises(AttributeError, match=r"ray\.tune have no attribute 'nothing'"):
        _ = ours.nothing


def test_the_best_of_a_grid_is_found_in_each_of_rays_scopes(storage: Path) -> None:
    def falls_or_rises(config: dict[str, Any]) -> None:
        for at in range(12):
            tune.report({"score": float(at if config["a"] == 1 else (at == 0) * 50)})

    made = tuner(storage, {"a": tune.grid_search([0, 1])}, stop={"training_iteration": 12})
    made._trainable = falls_or_rises
    grid = made.fit()
    scopes = ("last", "all", "avg", "last-5-avg", "last-10-avg")
    assert [grid.get_best_result(scope=scope).config["a"] for scope in scopes] == [1, 0, 1, 1, 1]
    with pytest.raises(ValueError, match="scope='first': one of last"):
        grid.get_best_result(scope="first")
    best = grid.get_dataframe(filter_metric="score", filter_mode="max").set_index("config/a")
    assert best.score.tolist() == [50.0, 11.0]
