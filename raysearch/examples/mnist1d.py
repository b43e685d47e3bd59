"""A convolutional network on MNIST-1D (Greydanus and Kobak 2024): 40 numbers, ten classes, generated.

3,200 examples train, 800 validate and 1,000 test. An iteration is five steps of 100 examples, so 600
iterations are 3,000 steps. The test loss is there for reports; no search may look at it.
"""

from __future__ import annotations

import contextlib
import io
from functools import cache

import torch
from torch import Tensor, nn

from raysearch.core.version import install
from raysearch.errors import TrainableError
from raysearch.examples.trainable import Example
from raysearch.examples.training import Config, Problem

VALIDATION = 800
PARTS = 16
BATCH, STEPS = 100, 5
FIXED = {"batch_size": BATCH, "optimizer": "adamw", "weight_decay": 0.01}  # where the configuration is silent


class Mnist1d(Example):
    """Class trainable; see panda_mnist1d.yaml for its hyper-parameters."""

    @staticmethod
    @cache
    def problem() -> Problem:
        """Made anew in each process, always the same.

        Raises:
            TrainableError: the package mnist1d is not installed.
        """
        try:
            from mnist1d.data import get_dataset_args, make_dataset
        except ImportError as error:
            raise TrainableError(f"this example needs mnist1d: {install('examples')}") from error
        with contextlib.redirect_stdout(io.StringIO()):
            made = make_dataset(get_dataset_args())
        x, y = _tensors(made["x"], made["y"])
        return Problem(
            build=lambda config: Convolutions(),
            train=(x[VALIDATION:], y[VALIDATION:]),
            validation=(x[:VALIDATION], y[:VALIDATION]),
            examples_per_iteration=BATCH * STEPS,
            test=_tensors(made["x_test"], made["y_test"]),
            parts=PARTS,
        )

    def setup(self, config: Config) -> None:
        """Begins a trial."""
        super().setup({**FIXED, **config})


class Convolutions(nn.Module):
    """Three strided convolutions of 25 channels and a linear layer: 5,210 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 25, 5, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(25, 25, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(25, 25, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(125, 10),
        )

    def forward(self, signal: Tensor) -> Tensor:
        """(n, 40) numbers to (n, 10) logits."""
        logits: Tensor = self.layers(signal[:, None])
        return logits


def _tensors(x: object, y: object) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
