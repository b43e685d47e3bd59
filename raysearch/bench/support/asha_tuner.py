"""Ray Tune with ASHA over the space of the fused benches: the peer that raysearch is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SPACE = {
    "lr": {"loguniform": [1e-4, 1.0]},
    "momentum": {"uniform": [0.0, 0.99]},
    "weight_decay": {"loguniform": [1e-6, 1e-1]},
}


def asha_tuner(
    trainable: Any,
    config: Mapping[str, Any],
    trials: int,
    horizon: int,
    concurrent: int,
    folder: Path,
    callbacks: Sequence[Any] = (),
) -> Any:
    """Ray Tune over SPACE as one would use it for many small trials: reused actors, ASHA, no loggers."""
    import os

    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    return tune.Tuner(
        trainable,
        param_space={
            "lr": tune.loguniform(1e-4, 1.0),
            "momentum": tune.uniform(0.0, 0.99),
            "weight_decay": tune.loguniform(1e-6, 1e-1),
            "seed": tune.randint(0, 2**31),
            **config,
        },
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=trials,
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            scheduler=ASHAScheduler(max_t=horizon, grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=list(callbacks),
        ),
    )
