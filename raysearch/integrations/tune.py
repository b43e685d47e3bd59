"""Ray Tune: a `Tuner` that searches with raysearch.

    from raysearch.integrations.tune import Tuner        # was: from ray.tune import Tuner

    tuner = Tuner(trainable, param_space={"lr": tune.loguniform(1e-4, 1e-1)},
                  tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=100,
                                              scheduler=tune.schedulers.ASHAScheduler(max_t=81)))
    grid = tuner.fit()
    grid.get_best_result().config

ASHA and HyperBand become caviar, population-based training and PB2 panda, a search algorithm caviar's
sampler. What has no counterpart is refused before anything starts, or said where it changes nothing that
is found.
"""

from __future__ import annotations

import datetime
import itertools
import math
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ray import tune
from ray.tune import schedulers
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter

from raysearch import ray_private
from raysearch.errors import SpecError
from raysearch.integrations.tune_results import Grid

__all__ = ["Grid", "Tuner"]

ITERATION = "training_iteration"
ENDLESS = 1_000_000  # iterations of a trainable that nothing but itself ends
NO_EFFECT = {
    "TuneConfig": ("reuse_actors", "trial_name_creator", "trial_dirname_creator"),
    "RunConfig": ("sync_config", "progress_reporter", "log_to_file", "callbacks"),
}


class Tuner:
    """Takes what Ray's Tuner takes, and searches with raysearch.

    Args:
        trainable, param_space, tune_config, run_config: as Ray's.
        settings: others of `raysearch.search`, such as `executor`, `workers`, `baseline`, `seed`.

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
        self._trainable = trainable
        config, run = tune_config or tune.TuneConfig(), run_config or tune.RunConfig()
        self.notes: list[str] = []
        scheduler = config.scheduler or schedulers.FIFOScheduler()
        known = ray_private.settings_of(scheduler)
        self._note_unread(config, run)
        space = dict(param_space or {})
        samples, rows = _grid(space, config.num_samples, self.notes)
        sampler = _sampler(config.search_alg) if rows is None else _Rows(rows)
        strategy, changed = self._strategy(scheduler, known, samples, _length(run.stop), sampler)
        self._given: dict[str, Any] = {
            "space": {**space, **changed},
            "metric": config.metric or known.get("metric"),
            "mode": config.mode or known.get("mode") or "max",
            "strategy": strategy,
            **_limits(config),
            **_of_run(run),
            **settings,
        }
        if self._given["metric"] is None:
            raise SpecError("TuneConfig.metric: is missing: the name of what trials are compared by")
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

        for note in self.notes:
            warnings.warn(note, stacklevel=2)
        given = {name: value for name, value in self._given.items() if value is not None}
        return Grid(raysearch.search(self._trainable, **given))

    def _note_unread(self, config: Any, run: Any) -> None:
        """Notes the settings that change nothing here."""
        for name, fields in NO_EFFECT.items():
            of = config if name == "TuneConfig" else run
            default = tune.TuneConfig() if name == "TuneConfig" else tune.RunConfig()
            for field in fields:
                if getattr(of, field, None) not in (getattr(default, field, None), None, False, []):
                    self.notes.append(f"{name}.{field} has no effect here")

    def _strategy(
        self, scheduler: Any, known: Mapping[str, Any], samples: int, length: int | None, sampler: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The strategy, and domains of the space that the scheduler brings along."""
        import raysearch

        kind = type(scheduler).__name__
        if isinstance(scheduler, schedulers.PopulationBasedTraining):
            return self._panda(scheduler, known, samples, length)
        if isinstance(scheduler, schedulers.AsyncHyperBandScheduler):
            _check_time(kind, known)
            eta, most = _whole(kind, "reduction_factor", known), int(length or known["max_t"])
            first = min(ray_private.first_rung_of(scheduler), most)
            brackets = len(known["brackets"])
            return raysearch.Caviar(
                samples, most, eta, first, brackets, variant="stopping", finish=None, sampler=sampler
            ), {}
        if isinstance(scheduler, schedulers.HyperBandScheduler):
            _check_time(kind, known)
            eta, most = int(known["eta"]), int(length or known["max_t_attr"])
            brackets = min(int(math.log(most, eta) + 1e-9) + 1, samples)
            return raysearch.Caviar(samples, most, eta, 1, brackets, finish=None, sampler=sampler), {}
        if type(scheduler) is schedulers.FIFOScheduler:
            whole = length or ENDLESS
            return raysearch.Caviar(
                samples, whole, min_iterations=whole, variant="stopping", finish=None, sampler=sampler
            ), {}
        raise SpecError(
            f"TuneConfig.scheduler: {kind} has no counterpart; there are ASHAScheduler, HyperBandScheduler, "
            "PopulationBasedTraining, PB2, and none"
        )

    def _panda(
        self, scheduler: Any, known: Mapping[str, Any], samples: int, length: int | None
    ) -> tuple[Any, dict[str, Any]]:
        import raysearch

        kind = type(scheduler).__name__
        _check_time(kind, known)
        if length is None:
            raise SpecError(
                f"RunConfig.stop: {kind} needs stop={{'{ITERATION}': N}}: how long its models train"
            )
        for name in ("custom_explore_fn", "synch"):
            if known.get(name):
                raise SpecError(f"{kind}.{name}: {known[name]!r} has no counterpart")
        bounds = known.get("hyperparam_bounds")
        mutations = bounds or known.get("hyperparam_mutations") or {}
        changed = {name: _domain(kind, name, value, bounds is not None) for name, value in mutations.items()}
        interval = max(1, int(known["perturbation_interval"]))
        is_bandit = bounds is not None and samples >= 8
        if bounds is not None and not is_bandit:
            self.notes.append("PB2 with fewer than 8 models: values are perturbed, no bandit proposes them")
        how: dict[str, Any] = (
            {"suggest": "gp"} if is_bandit else {"exploit": "truncation" if samples > 1 else "commit"}
        )
        return raysearch.Panda(
            length, population=samples, nudge=[*changed] or None, interval=interval, **how
        ), changed


def _length(stop: Any) -> int | None:
    """The iterations of `RunConfig.stop`. Raises SpecError for what else there may be."""
    if stop is None:
        return None
    if not isinstance(stop, Mapping):
        raise SpecError(
            f"RunConfig.stop: {stop!r} has no counterpart; {{'{ITERATION}': N}} has, and the trainable may "
            "end itself"
        )
    for name in stop:
        if name != ITERATION:
            raise SpecError(f"RunConfig.stop: {name!r} has no counterpart; only {ITERATION!r} has")
    return int(stop[ITERATION])


def _limits(config: Any) -> dict[str, Any]:
    """What bounds the search: workers, hours."""
    found: dict[str, Any] = {}
    at_once = config.max_concurrent_trials
    if isinstance(config.search_alg, ConcurrencyLimiter):
        at_once = at_once or config.search_alg.max_concurrent
    if at_once:
        found["workers"] = {"max": int(at_once)}
    seconds = config.time_budget_s
    if seconds is not None:
        is_delta = isinstance(seconds, datetime.timedelta)
        found["budget"] = {"hours": (seconds.total_seconds() if is_delta else float(seconds)) / 3600}
    return found


def _of_run(run: Any) -> dict[str, Any]:
    """Name, storage and retries of a RunConfig."""
    found: dict[str, Any] = {}
    if run.name:
        found["name"] = run.name
    if run.storage_path:
        found["storage"] = os.fspath(run.storage_path)
    if run.failure_config is not None:
        failures = run.failure_config.max_failures
        found["retries"] = failures if failures >= 0 else 100
    return found


def _sampler(search_alg: Any) -> Any:
    """Caviar's sampler in place of Ray's search algorithm."""
    from raysearch.sources import from_ray_searcher

    if search_alg is None or isinstance(search_alg, BasicVariantGenerator):
        return "random"
    inner = search_alg.searcher if isinstance(search_alg, ConcurrencyLimiter) else search_alg
    return from_ray_searcher(inner)


def _grid(space: dict[str, Any], samples: int, notes: list[str]) -> tuple[int, list[dict[str, Any]] | None]:
    """(number of trials, the configurations of a grid in order; None where values are drawn)."""
    grids = {name: value["grid_search"] for name, value in space.items() if _is_grid(value)}
    if not grids:
        return samples, None
    rows = [dict(zip(grids, row, strict=True)) for row in itertools.product(*grids.values())]
    total = samples * len(rows)
    if any(_varies(value) for name, value in space.items() if name not in grids):
        notes.append(f"grid_search beside other domains: {total} configurations are drawn, not enumerated")
        return total, None
    return total, rows


class _Rows:
    """A sampler that proposes the points of a grid in turn."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def propose(self, trial: int) -> dict[str, Any]:
        """The point of that number, from the first again after the last."""
        return dict(self._rows[trial % len(self._rows)])

    def observe(self, trial: int, config: Any, iteration: int, score: float) -> None:
        """Learns nothing."""


def _is_grid(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"grid_search"}


def _varies(value: Any) -> bool:
    """Whether an entry of a param_space is searched: a domain, a grid, or a group with one in it."""
    if isinstance(value, Mapping):
        return _is_grid(value) or any(map(_varies, value.values()))
    return type(value).__module__.startswith("ray.tune.search")


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


def _domain(kind: str, name: str, value: Any, is_bounds: bool) -> Any:
    """The domain of what a population changes."""
    if is_bounds:
        low, high = value
        return tune.uniform(low, high)
    if isinstance(value, (list, tuple)):
        return tune.choice(list(value))
    if isinstance(value, Callable):  # type: ignore[arg-type]
        raise SpecError(
            f"{kind}.hyperparam_mutations[{name!r}]: a function has no counterpart; give a domain"
        )
    return value
