"""The digits with Keras 3 on torch: an iteration is an epoch, weights and optimizer are its checkpoint."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import ray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import raysearch


def train(config: dict[str, Any]) -> None:
    """Trains for as many epochs as the strategy allows."""
    keras.utils.set_random_seed(config["seed"])
    images, labels = load_digits(return_X_y=True)
    x, held_out, y, held_out_labels = train_test_split(images / 16, labels, random_state=0)
    layers = [keras.layers.Dense(config["hidden"], "relu"), keras.layers.Dropout(config["dropout"])]
    model = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10)])
    optimizer = keras.optimizers.AdamW(config["lr"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    optimizer.build(model.trainable_variables)  # so that there is a state to load into
    first = 0
    if (checkpoint := ray.tune.get_checkpoint()) is not None:
        model.load_weights(Path(checkpoint.path, "state.weights.h5"))
        first = int(Path(checkpoint.path, "epoch").read_text())
        optimizer.learning_rate = config["lr"]  # the trial's; the file has the one it was written under
    keras.utils.set_random_seed(config["seed"] + first)  # not the shuffles of the first epochs again
    for epoch in range(first, config["max_iterations"]):
        model.fit(x, y, initial_epoch=epoch, epochs=epoch + 1, verbose=0)
        val_loss = float(model.evaluate(held_out, held_out_labels, verbose=0))
        with tempfile.TemporaryDirectory() as folder:
            model.save_weights(Path(folder, "state.weights.h5"))
            Path(folder, "epoch").write_text(str(epoch + 1))
            raysearch.report({"val_loss": val_loss}, checkpoint=folder)
