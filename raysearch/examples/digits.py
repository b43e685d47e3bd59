"""A multilayer perceptron on scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels.

1,297 images train and 500 validate, the same ones for every trial. An iteration is one epoch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysearch.examples.training import Config, Problem
from raysearch.torch import Data
from raysearch.torch.learner import Learner

VALIDATION = 500


class Digits(Learner):
    """See digits.yaml for its hyper-parameters."""

    def data(self) -> Data:
        """Images and their labels."""
        return Data(train=problem().train, validation=problem().validation)

    def model(self, config: Config) -> nn.Module:
        """A fresh perceptron."""
        return perceptron(config)

    def loss(self, model: nn.Module, batch: Any, config: Config) -> Tensor:
        """Mean cross-entropy in nats."""
        images, labels = batch
        return cross_entropy(model(images), labels)

    def metrics(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Cross-entropy in nats, and whether the answer is right, of each example."""
        images, labels = batch
        logits = model(images)
        losses = cross_entropy(logits, labels, reduction="none")
        return {"val_loss": losses, "val_accuracy": logits.argmax(-1) == labels}


@cache
def problem() -> Problem:
    """Pixels scaled to mean 0 and deviation 1 over the training images."""
    from sklearn.datasets import load_digits

    images, labels = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order].float(), labels[order].long()
    images = (images - images[VALIDATION:].mean()) / images[VALIDATION:].std()
    return Problem(
        build=perceptron,
        train=(images[VALIDATION:], labels[VALIDATION:]),
        validation=(images[:VALIDATION], labels[:VALIDATION]),
    )


def perceptron(config: Config) -> nn.Module:
    """`layers` hidden layers of `hidden` units."""
    width, layers = 64, list[nn.Module]()
    for _ in range(int(config["layers"])):
        layers += [nn.Linear(width, int(config["hidden"])), nn.ReLU(), nn.Dropout(float(config["dropout"]))]
        width = int(config["hidden"])
    return nn.Sequential(*layers, nn.Linear(width, 10))
