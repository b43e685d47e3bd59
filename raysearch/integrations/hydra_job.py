"""A Hydra job in a trial of a search: composed of its overrides, and run as Hydra's own launchers run it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from raysearch import ray_private
from raysearch.errors import TrainableError
from raysearch.integrations.hydra_space import Swept
from raysearch.run.own_command import FOLDER

FIXED = "hydra.overrides.task"  # entry that each trial's configuration has, beside FOLDER


@dataclass(frozen=True, slots=True)
class Application:
    """A function under `@hydra.main`, as Hydra hands it to a sweeper.

    Attributes:
        config: composed of the command line, without sweeps.
        context: composes others.
        function: what was decorated.
    """

    config: DictConfig
    context: HydraContext
    function: Callable[[Any], Any]

    def composed(self, overrides: list[str]) -> DictConfig:
        """The configuration of a job.

        Raises:
            hydra.errors.HydraException: an override does not fit the application's configuration.
        """
        return self.context.config_loader.load_sweep_config(self.config, overrides)


@dataclass(frozen=True, slots=True)
class Job:
    """What the trials of a search have in common.

    Attributes:
        application: whose jobs they are.
        swept: name in the space -> Hydra's key.
        metric: under which a returned number is reported.
        extra: key in the configuration -> Hydra's key, of the seed and of the training's length.
        folder: the working folder of the command.
        state: Hydra's registered configurations and plugins.
    """

    application: Application
    swept: Mapping[str, Swept]
    metric: str
    extra: Mapping[str, str]
    folder: str
    state: Mapping[Any, Any] = field(default_factory=Singleton.get_state)

    def overrides(self, config: Mapping[str, Any]) -> list[str]:
        """The job's overrides, of a trial's configuration."""
        found = [*config[FIXED]]
        found += [one.override(config[name]) for name, one in self.swept.items() if name in config]
        return found + [f"{key}={config[name]}" for name, key in self.extra.items()]

    def run(self, config: Mapping[str, Any]) -> None:
        """Runs the job, and reports what it returns unless it reported itself.

        Raises:
            TrainableError: it returned no number, and reported nothing.
            SystemExit: the trial is over.
        """
        setup_globals()
        if not GlobalHydra.instance().is_initialized():  # a process that Hydra did not start
            Singleton.set_state(dict(self.state))
        before = ray_private.reports_made()
        with _in_folder(self.folder), _logging_restored():
            value = _returned(self.application, self._composed(config))
        if ray_private.reports_made() == before:
            self._report(value)

    def _composed(self, config: Mapping[str, Any]) -> DictConfig:
        from ray import tune

        found = self.application.composed(self.overrides(config))
        trial = str(tune.get_context().get_trial_id())
        with open_dict(found):
            found.hydra.job.id = trial
            found.hydra.job.num = int(trial)
            found.hydra.sweep.dir = config[FOLDER]
        return found

    def _report(self, value: Any) -> None:
        from ray import tune

        metrics = dict(value) if isinstance(value, Mapping) else {self.metric: value}
        try:
            metrics[self.metric] = float(metrics[self.metric])
        except (KeyError, TypeError, ValueError):
            how = f"raysearch.report({{{self.metric!r}: ...}}) each epoch, or return its value"
            raise TrainableError(
                f"{self.application.function.__name__} returned {value!r} and reported nothing: {how}"
            ) from None
        tune.report(metrics)


def trainable_of(job: Job, name: str, saves_checkpoints: bool) -> Callable[[dict[str, Any]], None]:
    """A function trainable of this name that runs a trial as a job."""

    def train(config: dict[str, Any]) -> None:
        job.run(config)

    train.__name__ = name
    train.saves_checkpoints = saves_checkpoints  # type: ignore[attr-defined]
    return train


def _returned(application: Application, config: DictConfig) -> Any:
    """What the function returned.

    For Hydra a SystemExit in it, the end of the trial, is a return: its callbacks hear of that job too.
    """
    over: list[SystemExit] = []

    def function(cfg: Any) -> Any:
        try:
            return application.function(cfg)
        except SystemExit as end:
            over.append(end)
            return None

    done = run_job(
        task_function=function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=application.context,
    )
    if over:
        raise over[0]
    return done.return_value


@contextlib.contextmanager
def _in_folder(folder: str) -> Iterator[None]:
    """The command's working folder, in which relative paths mean what they meant there; else as it is."""
    before = os.getcwd()
    with contextlib.suppress(FileNotFoundError):  # another machine, without that folder
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _logging_restored() -> Iterator[None]:
    """Takes back what `hydra.job_logging` set for the process, and closes the job's log file."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers, root.level = handlers, level
