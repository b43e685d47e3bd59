"""Hydra: an application under `@hydra.main` is searched as it is, by `hydra/sweeper=raysearch`.

    python train.py --multirun hydra/sweeper=raysearch 'lr=tag(log, interval(1e-5, 1e-1))' model=mlp,cnn \\
        hydra.sweeper.samples=100 hydra.sweeper.max_iterations=27 hydra.sweeper.metric=val_loss

A job begins whenever a worker is free. One that reports each epoch, `raysearch.report(val_loss=loss)`, is
stopped early where it falls behind; one that returns its value is a trial of a single iteration.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from raysearch.core.values import plain
from raysearch.errors import SpecError, unknown
from raysearch.integrations.hydra_job import FIXED, Application, Job, trainable_of
from raysearch.integrations.hydra_space import Overrides, read_overrides
from raysearch.results.results import Results, load
from raysearch.run import own_command
from raysearch.run.location import new_name
from raysearch.run.options import How
from raysearch.run.own_command import FOLDER
from raysearch.spec.search_spec import SearchSpec, make_spec
from raysearch.spec.trainables import begins_from_checkpoints, can_pause

__all__ = ["Application", "Settings", "sweep"]

RESULT = "optimization_results.yaml"
DIRECTIONS = {"minimize": "min", "maximize": "max"}
OPTUNAS = {"n_trials": "samples", "n_jobs": "workers", "direction": "mode", "study_name": "name"}
COMPOSED = 200  # jobs that are composed before anything starts, at most
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What stands under `hydra.sweeper`.

    Attributes:
        samples: configurations to try; or `n_trials`, as Optuna's sweeper has it.
        max_iterations: reports of a whole training; 1 for a job that only returns its value.
        metric: the one that is compared; a returned number has this name.
        mode: min or max; or `direction`: minimize or maximize.
        strategy: as in a spec, in place of `samples` and `max_iterations`: `{name: caviar, samples: 100,
            max_iterations: 27, finish: {top: 3, seeds: 3}}`.
        workers: as in a spec: a number, or `{count: 8, cpu: 1, gpu: 0.5}`; or `n_jobs`.
        executor: tune, or inline: one job after the other in this process.
        address: of the Ray cluster.
        local: start a Ray cluster for this search alone.
        name: of the run's folder in `storage`; or `study_name`.
        storage: folder of runs.
        seed: of the search.
        seed_as: key of the application that is given a job's seed.
        length_as: key that is given how many iterations a whole training has.
        resume: folder of a run to go on with; the other arguments must be those that it was started with.
        spec: other fields of a spec: `{budget: {hours: 2}, retries: 3}`.
        params: overrides of the application, as on the command line: `{lr: "interval(0.001, 0.1)"}`.
    """

    samples: int | None = None
    max_iterations: int = 1
    metric: str = "value"
    mode: str | None = None
    strategy: Any = None
    workers: Any = None
    executor: Any = "tune"
    address: str | None = None
    local: bool = False
    name: str | None = None
    storage: str = "runs"
    seed: int = 0
    seed_as: str | None = None
    length_as: str | None = None
    resume: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """The settings, where some may be called as Optuna's sweeper calls them.

        Raises:
            SpecError: one is given under both names, or a direction is unknown.
        """
        settings = {name: value for name, value in given.items() if name not in OPTUNAS}
        for theirs, ours in OPTUNAS.items():
            value = given.get(theirs)
            if value is None:
                continue
            if settings.get(ours) is not None:
                raise SpecError(f"hydra.sweeper: {theirs} and {ours} say the same; leave out one of them")
            if theirs == "direction" and value not in DIRECTIONS:
                raise SpecError(f"hydra.sweeper.direction: {unknown('direction', str(value), DIRECTIONS)}")
            settings[ours] = DIRECTIONS[value] if theirs == "direction" else value
        for table in ("spec", "params"):
            settings[table] = {} if settings.get(table) is None else settings[table]
            if not isinstance(settings[table], Mapping):
                raise SpecError(f"hydra.sweeper.{table}: {settings[table]!r} is no mapping")
        return cls(**settings)


def sweep(application: Application, settings: Settings, arguments: Sequence[str]) -> Results:
    """Searches the space of the overrides with jobs of the application; returns the results.

    Writes `multirun.yaml`, a folder a job, and at the end `optimization_results.yaml` into `hydra.sweep.dir`.

    Raises:
        SpecError: a setting or an override is wrong; nothing has started.
        hydra.errors.HydraException: an override does not fit the application; nothing has started.
        RunError: a run of that name exists, or the search ended with an error.
    """
    found = read_overrides(arguments, settings.params, application.context.config_loader)
    _check_composed(application, found)
    before = None if settings.resume is None else load(settings.resume)
    folder = os.path.abspath(application.config.hydra.sweep.dir)
    if before is not None:
        folder = _folder_of(before, found)
    extra = {_plain(key): key for key in (settings.seed_as,) if key is not None}
    if settings.length_as is not None:
        extra["max_iterations"] = settings.length_as
    job = Job(application, found.swept, settings.metric, extra, os.getcwd())
    saves = can_pause(application.function) and begins_from_checkpoints(application.function)
    train = trainable_of(job, str(application.config.hydra.job.name), saves)
    spec = _spec(settings, found, train, folder)
    wanted = make_spec(**{"name": new_name(train), **spec})
    Path(folder).mkdir(parents=True, exist_ok=True)
    OmegaConf.save(application.config, Path(folder, "multirun.yaml"))
    if before is None:
        own_command.keep(own_command.here(), Path(folder))
    results = _run({**spec, "name": wanted.name}, wanted, settings)
    _write_best(results, found, folder)
    return results


def _spec(settings: Settings, found: Overrides, train: Any, folder: str) -> dict[str, Any]:
    """The spec's fields, of those that are given."""
    strategy = settings.strategy
    if strategy is None:
        samples = 20 if settings.samples is None else settings.samples
        length = settings.max_iterations
        strategy = {"name": "caviar", "samples": samples, "max_iterations": length, "finish": None}
    elif settings.samples is not None or settings.max_iterations != 1:
        raise SpecError(
            "hydra.sweeper: samples and max_iterations belong into strategy, where that is given: "
            "hydra.sweeper.strategy={name: caviar, samples: 100, max_iterations: 27}"
        )
    given = {
        "name": settings.name,
        "workers": settings.workers,
        "seed_as": None if settings.seed_as is None else _plain(settings.seed_as),
    }
    constants = {FOLDER: folder, FIXED: list(found.fixed)}
    spec = {
        "trainable": train,
        "space": found.space,
        "metric": settings.metric,
        "mode": "min" if settings.mode is None else settings.mode,
        "strategy": strategy,
        "storage": settings.storage,
        "seed": settings.seed,
        "config": constants,
        **{name: value for name, value in given.items() if value is not None},
    }
    for field_name in settings.spec:
        if field_name in spec:
            raise SpecError(f"hydra.sweeper.spec.{field_name}: give it as hydra.sweeper.{field_name}")
    return {**spec, **settings.spec}


def _plain(key: str) -> str:
    """A key of Hydra's as the name of an entry: without `+`, and with dots."""
    return key.lstrip("+").replace("/", ".")


def _run(spec: dict[str, Any], wanted: SearchSpec, settings: Settings) -> Results:
    """The results of the new search, or of the one that goes on."""
    import raysearch

    how = {"executor": settings.executor, "address": settings.address, "local": settings.local}
    try:
        if settings.resume is None:
            return raysearch.search(**spec, **how)
        return raysearch.resume(
            settings.resume, How(**how), trainable=wanted.trainable, edits=lambda old: _edited(old, wanted)
        )
    except KeyboardInterrupt:
        log.info(f"go on with: raysearch resume {settings.resume or f'{settings.storage}/{wanted.name}'}")
        raise


def _edited(old: SearchSpec, wanted: SearchSpec) -> SearchSpec:
    """The run's spec with what the command says now; its name, place and the jobs' folder stay."""
    kept = ("name", "storage", "trainable", "config", "notes")
    return dataclasses.replace(wanted, **{name: getattr(old, name) for name in kept})


def _folder_of(before: Results, found: Overrides) -> str:
    """The sweep's folder of a run.

    Raises:
        SpecError: it is no run of a sweep, or its jobs had other overrides.
    """
    constants = before.spec.get("config") or {}
    if FOLDER not in constants:
        raise SpecError(f"hydra.sweeper.resume={before.path}: no sweep of Hydra began this run")
    if list(found.fixed) != list(constants[FIXED]):
        raise SpecError(
            f"hydra.sweeper.resume={before.path}: its jobs were given {constants[FIXED]}, and now "
            f"{list(found.fixed)}; their values would not compare: give the same, or begin another run"
        )
    return str(constants[FOLDER])


def _check_composed(application: Application, found: Overrides) -> None:
    """Composes a job for each listed value. Raises what Hydra raises for one that does not fit."""
    first = plain(found.space.sample(0, 0))
    jobs = [first]
    for name, swept in found.swept.items():
        domain = found.space.domains[name]
        if swept.texts:
            jobs += [{**first, name: value} for value in getattr(domain, "values", ())]
    for config in itertools.islice(jobs, COMPOSED):
        overrides = [swept.override(config[name]) for name, swept in found.swept.items()]
        application.composed([*found.fixed, *overrides])


def _write_best(results: Results, found: Overrides, folder: str) -> None:
    """Writes what Hydra's other optimizing sweepers write, and logs it."""
    best = results.best
    params = {one.key: plain(best.config[name]) for name, one in found.swept.items() if name in best.config}
    run = str(Path(results.path).absolute())
    said = {"name": "raysearch", "best_params": params, "best_value": best.value, "run": run}
    OmegaConf.save(OmegaConf.create({**said, "best_trial": best.trial}), Path(folder, RESULT))
    log.info(f"Best parameters: {params}")
    log.info(f"Best value: {best.value}")
