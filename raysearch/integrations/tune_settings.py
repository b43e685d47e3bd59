"""Every setting that Ray Tune's Tuner takes, and what becomes of it: read, named, refused, or without effect.

`unread` names, before a search starts, each one that was set and that the search does not read.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raysearch import ray_private
from raysearch.errors import SpecError


@dataclass(frozen=True, slots=True)
class Setting:
    """What becomes of one setting.

    Attributes:
        words: what happens in place of it, where it is named.
        is_read: the search does what it says.
        is_refused: another value than the default is an error: the search would be another one.
    """

    words: str = ""
    is_read: bool = False
    is_refused: bool = False

    @property
    def kind(self) -> str:
        """ "read", "named", "refused" or "without effect" on what is found."""
        if self.is_read:
            return "read"
        return "refused" if self.is_refused else "named" if self.words else "without effect"


READ, NO_EFFECT = Setting(is_read=True), Setting()
CHECKPOINTS = Setting(
    "a trial's checkpoint is kept while the search may go on from it, and the winner's beyond that"
)
OWN_FOLDER = Setting("trials are numbered, and their files lie in the folder of the run")
SPANS = Setting("trials are compared after iterations", is_read=True)
UNKNOWN = Setting("this version of raysearch does not know it")
ITERATIONS_END = Setting("a trial ends at the last rung", is_refused=True)


def _stopping(**more: Setting) -> dict[str, Setting]:
    """Those of a scheduler that compares trials at rungs."""
    named = {"time_attr": SPANS, "metric": READ, "mode": READ, "reduction_factor": READ}
    return {**named, "max_t": READ, "stop_last_trials": ITERATIONS_END, **more}


_POPULATION = {
    **dict.fromkeys(("time_attr", "metric", "mode", "perturbation_interval", "quantile_fraction"), READ),
    "custom_explore_fn": Setting("values stay in their domains and are moved there", is_refused=True),
    "log_config": NO_EFFECT,
    "require_attrs": NO_EFFECT,
    "synch": NO_EFFECT,  # models are compared at equal iterations in any case
}

SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    "TuneConfig": {
        **dict.fromkeys(("metric", "mode", "search_alg", "scheduler", "num_samples"), READ),
        **dict.fromkeys(("max_concurrent_trials", "time_budget_s"), READ),
        "reuse_actors": NO_EFFECT,
        "trial_name_creator": OWN_FOLDER,
        "trial_dirname_creator": OWN_FOLDER,
        "chdir_to_trial_dir": NO_EFFECT,  # Ray reads RAY_CHDIR_TO_TRIAL_DIR in its place
    },
    "RunConfig": {
        **dict.fromkeys(("name", "storage_path", "stop", "failure_config", "checkpoint_config"), READ),
        "verbose": READ,
        "storage_filesystem": Setting("storage_path takes the address of a store", is_refused=True),
        "sync_config": Setting("workers write to the storage of the run themselves"),
        "callbacks": Setting("trials are trained by workers of the search, and Ray calls none for them"),
        "progress_reporter": Setting("the search shows its own progress"),
        "log_to_file": Setting("what trials print is in the logs of their workers (`raysearch logs`)"),
        "local_dir": Setting("storage_path says where runs lie", is_refused=True),
    },
    "CheckpointConfig": {
        **dict.fromkeys(("num_to_keep", "checkpoint_frequency", "checkpoint_at_end"), CHECKPOINTS),
        "checkpoint_score_attribute": CHECKPOINTS,
        "checkpoint_score_order": CHECKPOINTS,
        "_checkpoint_keep_all_ranks": NO_EFFECT,
        "_checkpoint_upload_from_workers": NO_EFFECT,
    },
    "FailureConfig": {
        "max_failures": READ,
        "fail_fast": Setting("a trial that fails ends alone; the search ends where all fail alike"),
    },
    "AsyncHyperBandScheduler": _stopping(grace_period=READ, brackets=READ),
    "HyperBandScheduler": _stopping(),
    "HyperBandForBOHB": _stopping(),
    "PopulationBasedTraining": {
        **_POPULATION,
        **dict.fromkeys(("hyperparam_mutations", "burn_in_period"), READ),
        **dict.fromkeys(("resample_probability", "perturbation_factors"), READ),
    },
    "PB2": {**_POPULATION, "hyperparam_bounds": READ},
    "BasicVariantGenerator": {
        "points_to_evaluate": READ,
        "max_concurrent": READ,
        "constant_grid_search": Setting("each configuration has values of its own", is_refused=True),
        "random_state": Setting("`seed=` of the Tuner says how values are drawn"),
    },
    "ConcurrencyLimiter": {
        "searcher": READ,
        "max_concurrent": READ,
        "batch": Setting("results are told one by one"),
    },
    "FIFOScheduler": {},
}
_KEPT_AS = {
    ("HyperBandScheduler", "max_t"): "max_t_attr",
    ("HyperBandScheduler", "reduction_factor"): "eta",
    ("HyperBandForBOHB", "max_t"): "max_t_attr",
    ("HyperBandForBOHB", "reduction_factor"): "eta",
}


def table_of(thing: Any) -> str | None:
    """The name in SETTINGS of a configuration, scheduler or search algorithm; None if it has none.

    Of a class derived from one of Ray's it is the one of Ray's.
    """
    return next((kind.__name__ for kind in type(thing).__mro__ if kind.__name__ in SETTINGS), None)


def unread(thing: Any) -> list[str]:
    """What was set and is not read, in words.

    >>> from ray.tune import FailureConfig
    >>> unread(FailureConfig(fail_fast=True))
    ['FailureConfig.fail_fast=True is not read: a trial that fails ends alone; the search ends where all...']

    Args:
        thing: a TuneConfig, RunConfig, CheckpointConfig, FailureConfig, scheduler or search algorithm; what
            SETTINGS has no table of has nothing to say.

    Raises:
        SpecError: a setting would make it another search.
    """
    name = table_of(thing)
    named: dict[str, list[str]] = {}
    for setting, value in _changed(thing, name):
        meant = SETTINGS[str(name)].get(setting, UNKNOWN)
        if meant.kind == "refused":
            raise SpecError(
                f"{name}.{setting}={_shown(value)} has no counterpart: {meant.words}; leave it out"
            )
        if meant.kind == "named":
            named.setdefault(meant.words, []).append(f"{setting}={_shown(value)}")
    return [
        f"{name}.{', '.join(settings)} {'is' if len(settings) == 1 else 'are'} not read: {words}"
        for words, settings in named.items()
    ]


def _changed(thing: Any, name: str | None) -> Iterator[tuple[str, Any]]:
    """The settings of a thing that are not what Ray takes by default."""
    if name is None:
        return
    if dataclasses.is_dataclass(thing):
        default_of = _rays(thing, name)()
        defaults = {field.name: getattr(default_of, field.name) for field in dataclasses.fields(default_of)}
        kept: Mapping[str, Any] = vars(thing)
    else:
        defaults = {p.name: p.default for p in inspect.signature(_rays(thing, name)).parameters.values()}
        kept = ray_private.settings_of(thing)
    for setting, default in defaults.items():
        value = kept.get(_KEPT_AS.get((name, setting), setting), default)
        if not _same(value, default) and value not in (None, [], ()):
            yield setting, value


def _rays(thing: Any, name: str) -> type:
    return next(kind for kind in type(thing).__mro__ if kind.__name__ == name)


def _same(value: Any, default: Any) -> bool:
    try:
        return bool(value == default)
    except (TypeError, ValueError):  # arrays compare by element
        return False


def _shown(value: Any) -> str:
    """A value in a message: objects by the name of their class, functions by their own."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, value))}]"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return str(getattr(value, "__name__", type(value).__name__))
