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
(`tune_settings.SETTINGS` lists every setting). `tune.run` and `Tuner.restore` are raysearch's too.
"""

from __future__ import annotations

import importlib
from typing import Any

from ray import tune

from raysearch.integrations.tune_results import Grid
from raysearch.integrations.tune_run import Analysis, run, run_experiments
from raysearch.integrations.tune_tuner import Tuner

__all__ = ["Analysis", "Grid", "Tuner", "run", "run_experiments"]


def __getattr__(name: str) -> Any:
    """Whatever else `ray.tune` has."""
    try:
        return getattr(tune, name)
    except AttributeError:
        try:
            return importlib.import_module(f"ray.tune.{name}")
        except ImportError:
            raise AttributeError(f"module {__name__!r} and ray.tune have no attribute {name!r}") from None
