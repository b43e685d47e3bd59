"""Learners for tests: small models of every kind, on a few made-up examples."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import raysearch.torch
from raysearch.torch.learner import Learner

FEATURES, CLASSES = 16, 4
CONFIG = {"lr": 1e-2, "weight_decay": 1e-3, "dropout": 0.3, "smoothing": 0.1, "hidden": 12, "batch_size": 16}


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points, and which of four sides of two hyperplanes each is on."""
    points = torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed))
    sides = (points[:, :8].sum(1) > 0).long() + 2 * (points[:, 8:].sum(1) > 0).long()
    return points, sides


class Perceptron(Learner):
    """Dropout and label smoothing as hyper-parameters; a last batch that is smaller."""

    paired: ClassVar = {"val_loss": 4}
    evaluate_at_once = 30

    def data(self) -> raysearch.torch.Data:
        return raysearch.torch.Data(train=examples(90, 0), validation=examples(50, 1))

    def model(self, config: Any) -> nn.Module:
        hidden = int(config.get("hidden", 12))
        return nn.Sequential(
            nn.Linear(FEATURES, hidden),
            nn.ReLU(),
            nn.Dropout(float(config.get("dropout", 0.0))),
            nn.Linear(hidden, CLASSES),
        )

    def loss(self, model: nn.Module, batch: Any, config: Any) -> Tensor:
        points, sides = batch
        return cross_entropy(model(points), sides, label_smoothing=config.get("smoothing", 0.0))

    def metrics(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        points, sides = batch
        logits = model(points)
        losses = cross_entropy(logits, sides, reduction="none")
        return {"val_loss": losses, "val_accuracy": logits.argmax(-1) == sides}


class Convolutional(Perceptron):
    """Convolution, both kinds of pooling, dropout of channels."""

    def model(self, config: Any) -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (1, 4, 4)),
            nn.Conv2d(1, 3, 3, padding=1),
            nn.ReLU(),
            nn.Dropout2d(float(config["dropout"])),
            nn.MaxPool2d(2),
            nn.Conv2d(3, 6, 2, groups=3, bias=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, CLASSES),
        )


class Signal(Perceptron):
    """Convolution over time."""

    def model(self, config: Any) -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (1, FEATURES)),
            nn.Conv1d(1, 4, 3, stride=2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(28, CLASSES),
        )


class Attending(Perceptron):
    """Attention with dropout of its own, layer norm, a learnt token."""

    def model(self, config: Any) -> nn.Module:
        return _Attention(float(config["dropout"]))


class _Attention(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.rate = dropout
        self.token = nn.Parameter(torch.randn(4))
        self.qkv, self.norm = nn.Linear(4, 12, bias=False), nn.LayerNorm(4)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, points: Tensor) -> Tensor:
        words = points.unflatten(-1, (4, 4)) + self.token
        q, k, v = (p.unsqueeze(-3) for p in self.qkv(self.norm(words)).chunk(3, -1))
        rate = self.rate if self.training else 0.0
        found = scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True)
        return self.head((words + found.squeeze(-3)).flatten(-2))


class Normed(Perceptron):
    """Batch norm: state in buffers that training changes.

    No bias before it, and none for the keys of attention above: their gradients are 0 but for rounding, which
    Adam and Lion would make steps of.
    """

    def model(self, config: Any) -> nn.Module:
        return nn.Sequential(
            nn.Linear(FEATURES, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES)
        )


class Sloped(Perceptron):
    """A number of the model's own that differs from trial to trial, and frozen weights."""

    def model(self, config: Any) -> nn.Module:
        return _Sloped(float(config["temperature"]))


class _Sloped(nn.Module):
    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.fixed, self.head = nn.Linear(FEATURES, 8), nn.Linear(8, CLASSES)
        self.fixed.requires_grad_(False)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(torch.tanh(self.fixed(points) / self.temperature))


class Tied(Perceptron):
    """One weight in two modules, under two names."""

    def model(self, config: Any) -> nn.Module:
        return _Tied(int(config.get("hidden", 12)))


class _Tied(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.into, self.head = nn.Linear(FEATURES, hidden), nn.Linear(FEATURES, CLASSES)
        self.back = self.into.weight

    def forward(self, points: Tensor) -> Tensor:
        return self.head(torch.tanh(self.into(points)) @ self.back)


class Padded(Perceptron):
    """An embedding of which one row stands for padding."""

    def model(self, config: Any) -> nn.Module:
        return _Padded()


class _Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(2, 3, padding_idx=0), nn.Linear(3 * FEATURES, CLASSES)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed((points > 0).long()).flatten(-2) + 0.1))


class Recurrent(Perceptron):
    """A recurrent kernel, which cannot be vectorised."""

    def model(self, config: Any) -> nn.Module:
        return _Recurrent()


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recur, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, CLASSES)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(self.recur(points.unflatten(-1, (4, 4)))[0][:, -1])


class Branching(Perceptron):
    """Control flow that depends on the data."""

    def model(self, config: Any) -> nn.Module:
        return _Branching()


class _Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, points: Tensor) -> Tensor:
        logits = self.head(points)
        return logits * 2 if logits.sum() > 0 else logits


class Counting(Perceptron):
    """State outside of any buffer, which a pack would share among its models."""

    def model(self, config: Any) -> nn.Module:
        return _Counting()


class _Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.calls = nn.Linear(FEATURES, CLASSES), 0

    def forward(self, points: Tensor) -> Tensor:
        self.calls += self.training
        return self.head(points) * self.calls


class Drawing(Perceptron):
    """Noise from torch's own generator."""

    def loss(self, model: nn.Module, batch: Any, config: Any) -> Tensor:
        points, sides = batch
        return cross_entropy(model(points + torch.randn_like(points)), sides)


class Whole(Perceptron):
    """A loss that needs one of its numbers as a number."""

    def loss(self, model: nn.Module, batch: Any, config: Any) -> Tensor:
        points, sides = batch
        return cross_entropy(model(points), sides) * sum(1.0 for _ in range(int(config["times"])))


class Diverging(Perceptron):
    """Becomes NaN where the configuration says so, and raises where it says that."""

    def loss(self, model: nn.Module, batch: Any, config: Any) -> Tensor:
        loss = super().loss(model, batch, config)
        return loss * torch.where(torch.as_tensor(config["bad"]) > 0.5, float("nan"), 1.0)
