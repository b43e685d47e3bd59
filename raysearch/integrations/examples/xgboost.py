"""The digits with xgboost: a round of boosting is an iteration, and the booster its checkpoint."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ray
import xgboost as xgb
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import raysearch


def train(config: dict[str, Any]) -> None:
    """Boosts for as many rounds as the strategy allows."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images, labels, random_state=0)
    fit, held_out = xgb.DMatrix(parts[0], parts[2]), xgb.DMatrix(parts[1], parts[3])
    settings = {name: config[name] for name in ("eta", "max_depth", "subsample", "seed")}
    settings |= {"objective": "multi:softprob", "num_class": 10, "eval_metric": "mlogloss", "nthread": 1}
    booster = xgb.Booster(settings, [fit, held_out])
    if (checkpoint := ray.tune.get_checkpoint()) is not None:
        booster.load_model(Path(checkpoint.path, "model.ubj"))
        booster.set_param(settings)  # the trial's, which may have changed since
    for number in range(booster.num_boosted_rounds(), config["max_iterations"]):
        booster.update(fit, number)
        loss = float(booster.eval(held_out).rpartition(":")[2])
        with tempfile.TemporaryDirectory() as folder:
            booster.save_model(Path(folder, "model.ubj"))
            raysearch.report({"val_loss": loss}, checkpoint=folder)
