"""A multilayer perceptron on scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels.

1,297 images train and 500 validate, the same ones for every trial. An iteration is one epoch.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from raysearch.examples.classifier import Classifier
from raysearch.examples.training import Config, Problem

VALIDATION = 500


class Digits(Classifier):
    """See digits.yaml for its hyper-parameters."""

    def problem(self) -> Problem:
        """The images."""
        return problem()


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
