"""The Tuner: what Ray's takes is read, and searched with raysearch."""

from __future__ import annotations

import datetime
import itertools
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import schedulers
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater, create_searcher

from raysearch import ray_private
from raysearch.core.user_paths import user_path
from raysearch.errors import SpecError
from raysearch.integrations.tune_grid import GridPoints, grid_of, is_grid
from raysearch.integrations.tune_population import placed, population_of
from raysearch.integrations.tune_restore import STOP, Restored, can_restore, restored
from raysearch.integrations.tune_results import Grid
from raysearch.integrations.tune_settings import unread
from raysearch.integrations.tune_stop import ITERATION, Stop, read_stop
from raysearch.space.domains import Domain
from raysearch.storage.object_store import is_address

ENDLESS = 1_000_000  # iterations of a trainable that nothing but itself ends, and trials without a number


class Tuner:
    """Takes what Ray's Tuner takes, and searches with raysearch.

    Args:
        trainable, param_space, tune_config, run_config: as Ray's.
        settings: others of `raysearch.search`, such as `executor`, `workers`, `baseline`, `seed`.

    Attributes:
        notes: what was set and is not read, or not as Ray has it, in words; `fit` warns of them.

    Raises:
        SpecError: something has no counterpart; names it.
    """

    def __init__(
        self,
        trainable: Any,
        *,
        param_space: Mapping[str, Any] | None = None,
        tune_config: Any = None,
        run_config: Any = None,
        **settings: Any,
    ) -> None:
        config, run = tune_config or tune.TuneConfig(), run_config or tune.RunConfig()
        scheduler, algorithm = _scheduler(config.scheduler), _algorithm(config)
        given = (config, run, run.checkpoint_config, run.failure_config, scheduler, algorithm)
        self.notes = [note for one in given for note in unread(one)]
        self._restored: Restored | None = None
        self._grid: Grid | None = None
        stop = read_stop(run.stop)
        self.notes += [stop.note] if stop.note else []
        self._trainable = stop.applied(trainable)
        known = ray_private.settings_of(scheduler)
        space = dict(param_space or {})
        samples, rows = grid_of(space, _samples(config, stop))
        sampler = _sampler(algorithm) if rows is None else GridPoints(rows)
        self._given: dict[str, Any] = {
            "space": space,
            **_goal(config, known, algorithm),
            **_limits(config, algorithm, stop),
            **_of_run(run),
            **_points(algorithm, space),
            **({"fuse": False} if stop.conditions else {}),
        }
        if stop.conditions:
            settings["fingerprint"] = {STOP: list(stop.form), **settings.get("fingerprint", {})}
        self._given |= self._strategy(scheduler, known, samples, stop.length, sampler)
        self._given |= settings
        constants = {n: v for n, v in self._given["space"].items() if not _varies(v)}
        self._given["space"] = {n: v for n, v in self._given["space"].items() if n not in constants}
        if constants:
            self._given["config"] = {**constants, **self._given.get("config", {})}

    @classmethod
    def restore(
        cls, path: str | os.PathLike[str], trainable: Any, resume_unfinished: bool = True,
        resume_errored: bool = False, restart_errored: bool = False,
        param_space: Mapping[str, Any] | None = None, storage_filesystem: Any = None,
        _resume_config: Any = None, *, stop: Any = None, search_alg: Any = None, **settings: Any,
    ) -> Tuner:  # fmt: skip
        """A Tuner whose `fit` goes on with a run, and whose `get_results` gives what it has.

        Args:
            path: of the run: `grid.experiment_path`, or `storage_path`/`name`.
            trainable: as the run was begun with it.
            resume_errored, restart_errored: trials that failed stay so; a note names them.
            param_space: needed where the run enumerates a grid; it must have the run's names.
            stop, search_alg: needed where the run was begun with a function or an object.
            settings: fields of `raysearch.How`, such as `executor` and `address`.

        Raises:
            RunError: there is no run.
            SpecError: something has no counterpart, is missing, or differs from the run's.
        """
        flags = {
            "resume_unfinished": resume_unfinished,
            "resume_errored": resume_errored,
            "restart_errored": restart_errored,
            "storage_filesystem": storage_filesystem,
            "_resume_config": _resume_config,
        }
        sampler = _sampler(search_alg) if search_alg is not None else None
        given = {"param_space": param_space, "stop": stop, "sampler": sampler}
        made = cls.__new__(cls)
        made._restored = restored(path, trainable, flags, given, settings)
        made.notes, made._grid, made._given = [*made._restored.notes], None, {}
        return made

    can_restore = staticmethod(can_restore)

    def get_results(self) -> Grid:
        """What `fit` returned, or what a restored run has.

        Raises:
            RuntimeError: nothing was searched yet.
        """
        if self._grid is None and self._restored is not None:
            import raysearch

            return Grid(raysearch.load(self._restored.run))
        if self._grid is None:
            raise RuntimeError("there are no results yet: Tuner.fit() searches")
        return self._grid

    def fit(self) -> Grid:
        """Searches, or goes on; returns what Ray's `ResultGrid` would hold.

        Raises:
            RunError: the search ended with an error.
        """
        import raysearch

        given = {name: value for name, value in self._given.items() if value is not None}
        if (taken := given.get("name")) is not None:
            given["name"] = _free_name(taken, given.get("storage", "runs"))
            if given["name"] != taken:
                self.notes.append(
                    f"RunConfig.name: there is a run {taken!r} already: this is {given['name']!r}; "
                    "Tuner.restore goes on with that one"
                )
        for note in dict.fromkeys(self.notes):
            warnings.warn(note, stacklevel=2)
        if self._restored is not None:
            results = self._restored.go_on()
        else:
            results = raysearch.search(self._trainable, **given)
        self._grid = Grid(results)
        return self._grid

    def _strategy(
        self, scheduler: Any, known: Mapping[str, Any], samples: int, length: int | None, sampler: Any
    ) -> dict[str, Any]:
        """The strategy in place of a scheduler, with what the scheduler says of the space."""
        import raysearch

        kind, space = type(scheduler).__name__, self._given["space"]
        if isinstance(scheduler, schedulers.PopulationBasedTraining):
            _check_time(kind, known)
            found = population_of(kind, known, samples, length, space)
            self.notes += [*found.notes, *_drawn_by(kind, sampler, samples)]
            return {
                "strategy": found.strategy,
                "space": placed(space, found.domains),
                "baseline": found.baseline,
            }
        if isinstance(scheduler, schedulers.AsyncHyperBandScheduler):
            _check_time(kind, known)
            eta, most = _whole(kind, "reduction_factor", known), _shorter(length, known["max_t"])
            first = min(ray_private.first_rung_of(scheduler), most)
            made = raysearch.Caviar(
                *(samples, most, eta, first, _brackets(known, most, eta, first)),
                variant="stopping",
                finish=None,
                sampler=sampler,
            )
        elif isinstance(scheduler, schedulers.HyperBandScheduler):
            _check_time(kind, known)
            eta, most = int(known["eta"]), _shorter(length, known["max_t_attr"])
            brackets = min(int(math.log(most, eta) + 1e-9) + 1, samples)
            made = raysearch.Caviar(samples, most, eta, 1, brackets, finish=None, sampler=sampler)
        elif type(scheduler) is schedulers.FIFOScheduler:
            whole = length or ENDLESS
            made = raysearch.Caviar(
                samples, whole, min_iterations=whole, variant="stopping", finish=None, sampler=sampler
            )
        else:
            raise SpecError(
                f"TuneConfig.scheduler: {kind} has no counterpart; there are ASHAScheduler, "
                "HyperBandScheduler, PopulationBasedTraining, PB2, and none"
            )
        return {"strategy": made}


def _scheduler(scheduler: Any) -> Any:
    """The scheduler, which Ray takes by its name too."""
    if isinstance(scheduler, str):
        return schedulers.create_scheduler(scheduler)
    return schedulers.FIFOScheduler() if scheduler is None else scheduler


def _algorithm(config: Any) -> Any:
    """The search algorithm, which Ray takes by its name too."""
    if isinstance(config.search_alg, str):
        return create_searcher(config.search_alg)
    return config.search_alg


def _samples(config: Any, stop: Stop) -> int:
    """The number of trials; Ray takes -1 for as many as there is time for."""
    if config.num_samples != -1:
        return int(config.num_samples)
    if config.time_budget_s is None and stop.seconds is None:
        raise SpecError("TuneConfig.num_samples: -1 needs time_budget_s, or nothing ends the search")
    return ENDLESS


def _goal(config: Any, known: Mapping[str, Any], algorithm: Any) -> dict[str, Any]:
    """Metric and mode, of the configuration, the scheduler or the search algorithm."""
    inner = algorithm.searcher if isinstance(algorithm, ConcurrencyLimiter) else algorithm
    metric = config.metric or known.get("metric") or getattr(inner, "metric", None)
    mode = config.mode or known.get("mode") or getattr(inner, "mode", None) or "max"
    if not isinstance(metric, str) or not isinstance(mode, str):
        what = "is missing" if metric is None else f"{metric!r} are several"
        raise SpecError(f"TuneConfig.metric: {what}: give the name of what trials are compared by")
    return {"metric": metric, "mode": mode}


def _shorter(length: int | None, most: Any) -> int:
    """How long trials train: `max_t` of the scheduler, or less where `stop` says so."""
    return int(most) if length is None else min(length, int(most))


def _brackets(known: Mapping[str, Any], most: int, eta: int, first: int) -> int:
    """Brackets of an ASHAScheduler, which ends some of them after the last rung where `stop` is short."""
    return min(len(known["brackets"]), int(math.log(most / first, eta) + 1e-9) + 1)


def _limits(config: Any, algorithm: Any, stop: Stop) -> dict[str, Any]:
    """What bounds the search: workers, hours."""
    found: dict[str, Any] = {}
    at_once = config.max_concurrent_trials
    if isinstance(algorithm, ConcurrencyLimiter):
        at_once = at_once or algorithm.max_concurrent
    if isinstance(algorithm, BasicVariantGenerator):
        at_once = at_once or algorithm.max_concurrent
    if at_once:
        found["workers"] = {"max": int(at_once)}
    seconds = config.time_budget_s
    if isinstance(seconds, datetime.timedelta):
        seconds = seconds.total_seconds()
    both = [float(one) for one in (seconds, stop.seconds) if one is not None]
    if both:
        found["budget"] = {"hours": min(both) / 3600}
    return found


def _of_run(run: Any) -> dict[str, Any]:
    """Name, storage, retries and display of a RunConfig."""
    found: dict[str, Any] = {}
    if run.name:
        found["name"] = run.name
    if run.storage_path:
        found["storage"] = os.fspath(run.storage_path)
    if run.failure_config is not None:
        failures = run.failure_config.max_failures
        found["retries"] = failures if failures >= 0 else 100
    if run.verbose == 0:
        found["progress"] = False
    return found


def _free_name(name: str, storage: Any) -> str:
    """The name, with a number where a run has it: Ray's own scripts are run again and again."""
    folder = os.fspath(storage)
    if is_address(folder):
        return name
    free = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(one for one in free if not Path(user_path(folder), one, "spec.yaml").exists())


def _points(algorithm: Any, space: Mapping[str, Any]) -> dict[str, Any]:
    """The points that a BasicVariantGenerator tries first."""
    if not isinstance(algorithm, BasicVariantGenerator):
        return {}
    free = {name for name, value in space.items() if _varies(value)}
    points = ray_private.settings_of(algorithm).get("points_to_evaluate") or []
    for point in points:
        if missing := sorted(free - set(point)):
            raise SpecError(
                f"BasicVariantGenerator.points_to_evaluate: {point!r} leaves out {', '.join(missing)}: "
                "give each point a value of every hyper-parameter"
            )
    return (
        {"known_good": [{n: v for n, v in point.items() if n in free} for point in points]} if points else {}
    )


def _sampler(search_alg: Any) -> Any:
    """Caviar's sampler in place of Ray's search algorithm."""
    from raysearch.sources import from_ray_searcher

    if search_alg is None or isinstance(search_alg, BasicVariantGenerator):
        return "random"
    inner = search_alg.searcher if isinstance(search_alg, ConcurrencyLimiter) else search_alg
    name, known = type(inner).__name__, ray_private.settings_of(inner)
    if isinstance(inner, Repeater):
        raise SpecError("TuneConfig.search_alg: a Repeater has no counterpart; raysearch.Caviar(finish=...) "
                        "trains the best on several seeds")  # fmt: skip
    if known.get("space"):
        raise SpecError(
            f"TuneConfig.search_alg: {name} was given a space of its own; give the space as param_space "
            "of the Tuner, and the algorithm none"
        )
    return from_ray_searcher(inner)


def _varies(value: Any) -> bool:
    """Whether an entry of a param_space is searched: a domain, a grid, or a group with one in it."""
    if isinstance(value, Mapping):
        return is_grid(value) or any(map(_varies, value.values()))
    return isinstance(value, Domain) or type(value).__module__.startswith("ray.tune.search")


def _drawn_by(kind: str, sampler: Any, samples: int) -> list[str]:
    """What of a population's search algorithm or grid is not as Ray has it, in words.

    Raises:
        SpecError: there is a search algorithm, which Ray refuses too.
    """
    if isinstance(sampler, GridPoints):
        return [f"param_space: a grid beside {kind}: {samples} models draw their values from it"]
    if sampler != "random":
        raise SpecError(f"TuneConfig.search_alg: {kind} takes none, since its models explore; leave it out")
    return []


def _check_time(kind: str, known: Mapping[str, Any]) -> None:
    if known.get("time_attr") != ITERATION:
        raise SpecError(
            f"{kind}.time_attr: {known.get('time_attr')!r} has no counterpart: trials are compared after "
            f"iterations ({ITERATION!r})"
        )


def _whole(kind: str, name: str, known: Mapping[str, Any]) -> int:
    if known[name] != int(known[name]):
        raise SpecError(f"{kind}.{name}: {known[name]!r} must be a whole number here")
    return int(known[name])
