"""Ray Tune: a `Tuner` that searches with raysearch.

    from raysearch.integrations.tune import Tuner        # was: from ray.tune import Tuner

    tuner = Tuner(trainable, param_space={"lr": tune.loguniform(1e-4, 1e-1)},
                  tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=100,
                                              scheduler=tune.schedulers.ASHAScheduler(max_t=81)))
    grid = tuner.fit()
    grid.get_best_result().config

or, for a script that says `tune.Tuner`, `from raysearch.integrations import tune` in place of
`from ray import tune`: every other name is Ray's own.

ASHA and HyperBand become caviar, population-based training and PB2 panda, a search algorithm caviar's
sampler. What has no counterpart is refused, or named in a warning, before anything starts
(`tune_settings.SETTINGS` lists every setting).
"""

from __future__ import annotations

import datetime
import importlib
import itertools
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import schedulers
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater, create_searcher

from raysearch import ray_private
from raysearch.core.user_paths import user_path
from raysearch.errors import SpecError
from raysearch.integrations.tune_population import placed, population_of
from raysearch.integrations.tune_results import Grid
from raysearch.integrations.tune_settings import unread
from raysearch.integrations.tune_stop import ITERATION, Stop, read_stop
from raysearch.space.domains import Domain
from raysearch.storage.object_store import is_address

__all__ = ["Grid", "Tuner"]

Names = tuple[str, ...]  # the groups around a hyper-parameter, and its own name
ENDLESS = 1_000_000  # iterations of a trainable that nothing but itself ends, and trials without a number


def __getattr__(name: str) -> Any:
    """Whatever else `ray.tune` has."""
    try:
        return getattr(tune, name)
    except AttributeError:
        try:
            return importlib.import_module(f"ray.tune.{name}")
        except ImportError:
            raise AttributeError(f"module {__name__!r} and ray.tune have no attribute {name!r}") from None


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
        stop = read_stop(run.stop)
        self.notes += [stop.note] if stop.note else []
        self._trainable = stop.applied(trainable)
        known = ray_private.settings_of(scheduler)
        space = dict(param_space or {})
        samples, rows = _grid(space, _samples(config, stop))
        sampler = _sampler(algorithm) if rows is None else GridPoints(rows)
        self._given: dict[str, Any] = {
            "space": space,
            **_goal(config, known, algorithm),
            **_limits(config, algorithm, stop),
            **_of_run(run),
            **_points(algorithm, space),
            **({"fuse": False} if stop.conditions else {}),
        }
        self._given |= self._strategy(scheduler, known, samples, stop.length, sampler)
        self._given |= settings
        constants = {n: v for n, v in self._given["space"].items() if not _varies(v)}
        self._given["space"] = {n: v for n, v in self._given["space"].items() if n not in constants}
        if constants:
            self._given["config"] = {**constants, **self._given.get("config", {})}

    def fit(self) -> Grid:
        """Searches; returns what Ray's `ResultGrid` would hold.

        Raises:
            RunError: the search ended with an error.
        """
        import raysearch

        given = {name: value for name, value in self._given.items() if value is not None}
        if (taken := given.get("name")) is not None:
            given["name"] = _free_name(taken, given.get("storage", "runs"))
            if given["name"] != taken:
                self.notes.append(
                    f"RunConfig.name: there is a run {taken!r} already: this is {given['name']!r}"
                )
        for note in dict.fromkeys(self.notes):
            warnings.warn(note, stacklevel=2)
        return Grid(raysearch.search(self._trainable, **given))

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


def _grid(space: Mapping[str, Any], samples: int) -> tuple[int, list[dict[Names, Any]] | None]:
    """(number of trials, the points of a grid in order; None without a grid)."""
    grids = dict(_grids(space))
    if not grids:
        return samples, None
    rows = [dict(zip(grids, row, strict=True)) for row in itertools.product(*grids.values())]
    return samples * len(rows), rows


def _grids(space: Mapping[str, Any], within: Names = ()) -> Iterator[tuple[Names, list[Any]]]:
    """The names that lead to each grid, and its values."""
    for name, value in space.items():
        if _is_grid(value):
            yield (*within, name), value["grid_search"]
        elif isinstance(value, Mapping):
            yield from _grids(value, (*within, name))


class GridPoints:
    """A source of configurations: the points of a grid in turn, other hyper-parameters drawn."""

    def __init__(self, rows: list[dict[Names, Any]]) -> None:
        self._rows = rows

    def bind(self, space: Any, seed: int, iterations: int) -> _Enumerated:
        """The sampler for a search of this space."""
        return _Enumerated(self._rows, space, seed)


class _Enumerated:
    """The sampler of `GridPoints`."""

    def __init__(self, rows: list[dict[Names, Any]], space: Any, seed: int) -> None:
        self._rows, self._space, self._seed = rows, space, seed

    def propose(self, trial: int) -> dict[str, Any]:
        """The point of that number, from the first again after the last."""
        point: dict[str, Any] = self._space.sample(self._seed, trial)
        for (*groups, name), value in self._rows[trial % len(self._rows)].items():
            group = point
            for one in groups:
                group = group[one]
            group[name] = value
        return point

    def observe(self, trial: int, config: Any, iteration: int, score: float) -> None:
        """Learns nothing."""


def _is_grid(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"grid_search"}


def _varies(value: Any) -> bool:
    """Whether an entry of a param_space is searched: a domain, a grid, or a group with one in it."""
    if isinstance(value, Mapping):
        return _is_grid(value) or any(map(_varies, value.values()))
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
