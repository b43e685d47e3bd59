"""`tune.run` of Ray Tune, by the Tuner: `analysis = tune.run(train, config=..., num_samples=100)`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from ray import tune

from raysearch.errors import RunError, SpecError
from raysearch.integrations.tune_results import Grid
from raysearch.integrations.tune_tuner import Tuner

if TYPE_CHECKING:
    import pandas as pd

OF_TUNE = (
    *("metric", "mode", "num_samples", "search_alg", "scheduler", "time_budget_s", "max_concurrent_trials"),
    *("reuse_actors", "trial_name_creator", "trial_dirname_creator"),
)
OF_RUN = (
    *("name", "storage_path", "storage_filesystem", "stop", "verbose", "progress_reporter", "log_to_file"),
    *("sync_config", "callbacks", "checkpoint_config"),
)
OF_FAILURE = ("max_failures", "fail_fast")
OF_CHECKPOINT = {  # as it is called today
    "keep_checkpoints_num": "num_to_keep",
    "checkpoint_score_attr": "checkpoint_score_attribute",
    "checkpoint_freq": "checkpoint_frequency",
    "checkpoint_at_end": "checkpoint_at_end",
}
OWN = ("run_or_experiment", "config", "resources_per_trial", "resume", "raise_on_failed_trial")
REFUSED = {
    "restore": "from_checkpoint=FOLDER goes on with a trained model, in a search with panda",
    "export_formats": "the winner's checkpoint is kept: `raysearch export`",
    "resume_config": "resume=True goes on with what is in training; trials that failed stay so",
    "local_dir": "storage_path says where runs lie",
    "chdir_to_trial_dir": "Ray reads RAY_CHDIR_TO_TRIAL_DIR in its place",
    **dict.fromkeys(("_remote", "_remote_string_queue", "_entrypoint"), "it is Ray's own"),
}
RESUMES = {True: False, "LOCAL": False, "AUTO": True}  # whether a run that is not there is begun


def run(run_or_experiment: Any, **given: Any) -> Analysis:
    """Searches; returns what Ray's `ExperimentAnalysis` would answer.

    Args:
        run_or_experiment: a function or class trainable.
        given: as `ray.tune.run` takes them; and settings of `raysearch.search`, such as `executor`, `workers`
            and `seed`.

    Raises:
        SpecError: something has no counterpart; names it. Nothing has started.
        RunError: the search ended with an error, or a trial failed and `raise_on_failed_trial` is not False.
    """
    for name, words in REFUSED.items():
        if given.pop(name, None) not in (None, False, [], ()):
            raise SpecError(f"tune.run({name}=...) has no counterpart: {words}")
    if not callable(run_or_experiment):
        raise SpecError(
            f"tune.run: {run_or_experiment!r} has no counterpart: give one function or class, which is "
            "trained; searches of several are several calls"
        )
    raises = given.pop("raise_on_failed_trial", True)
    if raises is None:
        raises = True
    analysis = Analysis(_tuner(run_or_experiment, given).fit())
    if raises and (errors := analysis.grid.errors):
        raise RunError(
            f"{analysis.experiment_path}: {len(errors)} of {len(analysis.grid)} trials failed, first: "
            f"{errors[0]}; tune.run(raise_on_failed_trial=False) returns the others"
        )
    return analysis


def run_experiments(*experiments: Any, **given: Any) -> NoReturn:
    """Refuses: Ray's own would run beside raysearch.

    Raises:
        SpecError: always.
    """
    raise SpecError("tune.run_experiments has no counterpart: give each experiment to a Tuner of its own")


def _tuner(trainable: Any, given: dict[str, Any]) -> Tuner:
    """The Tuner of these arguments, which are taken out of `given` but for raysearch's own."""
    resources, space = given.pop("resources_per_trial", None), given.pop("config", None)
    resume = given.pop("resume", None)
    if resources is not None:
        trainable = tune.with_resources(trainable, resources)
    tunes, runs, failures = (_taken(given, names) for names in (OF_TUNE, OF_RUN, OF_FAILURE))
    for theirs, ours in OF_CHECKPOINT.items():
        if (value := given.pop(theirs, None)) not in (None, False, 0):
            runs["checkpoint_config"] = runs.get("checkpoint_config") or tune.CheckpointConfig()
            setattr(runs["checkpoint_config"], ours, value)
    if failures:
        runs["failure_config"] = tune.FailureConfig(**failures)
    made = tune.RunConfig(**runs)
    if resume:
        old = _resumed(resume, made)
        if old is not None:
            searched = {"stop": made.stop, "search_alg": tunes.get("search_alg"), "param_space": space}
            return Tuner.restore(old, trainable, **searched, **given)
    return Tuner(trainable, param_space=space, tune_config=tune.TuneConfig(**tunes), run_config=made, **given)


def _taken(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Those of the names that are given, taken out."""
    return {name: value for name in names if (value := given.pop(name, None)) is not None}


def _resumed(resume: Any, made: Any) -> str | None:
    """The run that is to go on; None where it may be begun.

    Raises:
        SpecError: another way of `resume`, or no name.
        RunError: there is none.
    """
    if resume not in RESUMES:
        known = ", ".join(map(repr, RESUMES))
        raise SpecError(f"tune.run(resume={resume!r}) has no counterpart: one of {known}")
    if not made.name:
        raise SpecError(f"tune.run(resume={resume!r}) needs the name= of the run that goes on")
    path = f"{str(made.storage_path).rstrip('/')}/{made.name}"
    return None if RESUMES[resume] and not Tuner.can_restore(path) else path


@dataclass(frozen=True, slots=True)
class Found:
    """A trial as Ray's `Trial` shows it.

    Attributes:
        trial_id: its number, as text.
        config: its values, with constants.
        last_result: what it reported last.
        checkpoint: its last one; None where none is kept.
        status: TERMINATED or ERROR.
    """

    trial_id: str
    config: Mapping[str, Any]
    last_result: Mapping[str, Any]
    checkpoint: Any
    status: str


class Analysis:
    """What a search found, answering as Ray Tune's ExperimentAnalysis does.

    Attributes:
        grid: the same as the Tuner's `fit` returns it; `grid.results` is raysearch's own.
        trials: all of them, as `Found`.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.trials = [_found(number, result) for number, result in enumerate(grid)]

    @property
    def experiment_path(self) -> str:
        """The folder of the run."""
        return self.grid.experiment_path

    @property
    def best_trial(self) -> Found:
        """The best by its last result. Raises RuntimeError where no trial reported the metric."""
        return self.get_best_trial()

    @property
    def best_config(self) -> Mapping[str, Any]:
        """The configuration of `best_trial`."""
        return self.best_trial.config

    @property
    def best_result(self) -> Mapping[str, Any]:
        """The last result of `best_trial`."""
        return self.best_trial.last_result

    @property
    def best_checkpoint(self) -> Any:
        """The last checkpoint of `best_trial`."""
        return self.best_trial.checkpoint

    @property
    def best_dataframe(self) -> pd.DataFrame:
        """What `best_trial` reported, a row an iteration."""
        return self.trial_dataframes[self.best_trial.trial_id]

    @property
    def results(self) -> dict[str, Mapping[str, Any]]:
        """A trial's number -> its last result."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def results_df(self) -> pd.DataFrame:
        """The last results, a row a trial."""
        return self.grid.get_dataframe().set_index("trial_id")

    @property
    def trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """A trial's number -> what it reported, a row an iteration."""
        return {
            trial.trial_id: result.metrics_dataframe
            for trial, result in zip(self.trials, self.grid, strict=True)
        }

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pd.DataFrame:
        """A row a trial: its last result, or its best one by `metric`."""
        return self.grid.get_dataframe(metric, mode)

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """A trial's number -> its configuration, whose names begin with `config/` if `prefix`."""
        begin = "config/" if prefix else ""
        return {one.trial_id: {f"{begin}{k}": v for k, v in one.config.items()} for one in self.trials}

    def get_best_trial(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Found:  # fmt: skip
        """The best trial, as `Grid.get_best_result` finds it.

        Raises:
            RuntimeError: no trial reported the metric.
        """
        return self.trials[self.grid.index_of_best(metric, mode, scope, filter_nan_and_inf)]

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> Mapping[str, Any]:
        """The configuration of `get_best_trial`."""
        return self.get_best_trial(metric, mode, scope).config

    def get_best_checkpoint(self, trial: Found, metric: str | None = None, mode: str | None = None) -> Any:
        """The trial's last checkpoint: raysearch keeps no other."""
        warnings.warn(
            "get_best_checkpoint: the last checkpoint of a trial is the one that is kept", stacklevel=2
        )
        return trial.checkpoint

    def get_last_checkpoint(
        self, trial: Found | None = None, metric: str | None = None, mode: str | None = None
    ) -> Any:
        """The last checkpoint of a trial; of the best one if none is given."""
        return (trial or self.get_best_trial(metric, mode)).checkpoint


def _found(number: int, result: Any) -> Found:
    status = "TERMINATED" if result.error is None else "ERROR"
    return Found(str(number), result.config, result.metrics, result.checkpoint, status)
