"""The digits with JAX and flax: an iteration is an epoch, parameters and optax's state are its checkpoint."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import ray
from flax import serialization
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import raysearch

BATCH = 32


class Net(nn.Module):  # type: ignore[misc]
    """A perceptron for pictures of 8 x 8 pixels."""

    hidden: int

    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(self, images: Any) -> Any:
        """Scores of the ten digits, shape (n, 10), of images of shape (n, 64)."""
        return nn.Dense(10)(nn.relu(nn.Dense(self.hidden)(images)))


def train(config: dict[str, Any]) -> None:
    """Trains for as many epochs as the strategy allows."""
    images, labels = load_digits(return_X_y=True)
    x, held_out, y, held_out_labels = map(jnp.asarray, train_test_split(images / 16, labels, random_state=0))
    net, optimizer = Net(config["hidden"]), optax.adamw(config["lr"])
    key = jax.random.key(config["seed"])

    def loss_of(parameters: Any, images: Any, labels: Any) -> Any:
        scores = net.apply(parameters, images)
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    @jax.jit  # type: ignore[untyped-decorator]
    def step(state: Any, batch: Any) -> tuple[Any, None]:
        gradients = jax.grad(loss_of)(state["net"], x[batch], y[batch])
        updates, moments = optimizer.update(gradients, state["optimizer"], state["net"])
        return {"net": optax.apply_updates(state["net"], updates), "optimizer": moments}, None

    parameters = net.init(key, x[:1])
    state, first = {"net": parameters, "optimizer": optimizer.init(parameters)}, 0
    if (checkpoint := ray.tune.get_checkpoint()) is not None:
        file = Path(checkpoint.path, "state")
        first, state = serialization.from_bytes((0, state), file.read_bytes())
    for epoch in range(int(first), config["max_iterations"]):
        order = jax.random.permutation(jax.random.fold_in(key, epoch), len(x))
        batches = order[: len(x) // BATCH * BATCH].reshape(-1, BATCH)
        state, _ = jax.lax.scan(step, state, batches)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "state").write_bytes(serialization.to_bytes((epoch + 1, state)))
            loss = float(loss_of(state["net"], held_out, held_out_labels))
            raysearch.report({"val_loss": loss}, checkpoint=folder)
