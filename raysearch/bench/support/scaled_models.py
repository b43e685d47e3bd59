"""Four small models in any width, and one training of them: what `raysearch bench scaling` measures.

The narrowest is the base: there muP and the standard parametrisation are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysearch.torch import scaling

Point = Mapping[str, float]
Examples = tuple[Tensor, Tensor]
WARMUP = 0.1  # of the steps; then the rate falls linearly to zero
NOISE = 1.0  # deviation of what is added to the digits' pixels, so that losses of good settings differ
VALIDATION = 500


@dataclass(frozen=True, slots=True)
class ScaledModel:
    """A model that is wider at the target than at its base, eight times in width: 64 times in compute.

    Attributes:
        data: what trains, and what validates.
        rates: the range in which the rate is searched.
    """

    build: Callable[[int], nn.Module]
    data: Callable[[], tuple[Examples, Examples]]
    base: int
    steps: int
    batch: int
    rates: tuple[float, float] = (1e-3, 1e-1)

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """At 1/64, 1/16, 1/4 and all of the target's compute."""
        return self.base, 2 * self.base, 4 * self.base, 8 * self.base


def fresh(
    model: ScaledModel, width: int, is_scaled: bool, point: Point
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model of a width with its settings (lr, weight_decay, init), by muP or as torch makes it."""
    net = model.build(width)
    params: list[dict[str, object]] = [{"params": list(net.parameters())}]
    if is_scaled:
        rules = scaling.rules_for(net, base=model.build(model.base), delta=model.build(2 * model.base))
        rules.initialise(net)
        params = rules.groups(net)
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim > 1:
                weight.mul_(point["init"])
    return net, torch.optim.AdamW(params, lr=point["lr"], weight_decay=point["weight_decay"])


def trained(model: ScaledModel, width: int, is_scaled: bool, point: Point, seed: int) -> float:
    """Validation loss in nats at the end of a training; infinite where it diverged."""
    torch.manual_seed(seed)
    net, optimizer = fresh(model, width, is_scaled, point)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _shape((step + 1) / (model.steps + 1)))
    (inputs, labels), validation = model.data()
    draws = torch.Generator().manual_seed(seed)
    for _ in range(model.steps):
        chosen = torch.randint(len(inputs), (model.batch,), generator=draws)
        optimizer.zero_grad()
        loss_of(net, inputs[chosen], labels[chosen]).backward()
        optimizer.step()
        rate.step()
    with torch.no_grad():
        found = float(loss_of(net, *validation))
    return found if math.isfinite(found) else math.inf


def loss_of(net: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats."""
    return cross_entropy(net(inputs).flatten(0, -2), labels.flatten())


def _shape(done: float) -> float:
    return min(done / WARMUP, (1 - done) / (1 - WARMUP))


def perceptron(layers: int) -> Callable[[int], nn.Module]:
    """Maker of perceptrons with so many hidden layers."""

    def build(width: int) -> nn.Module:
        hidden = [part for _ in range(layers - 1) for part in (nn.Linear(width, width), nn.ReLU())]
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), *hidden, nn.Linear(width, 10))

    return build


def convolutions(channels: int) -> nn.Module:
    """Three strided convolutions over a signal of 40 numbers, and a linear layer over their mean."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 40)),
        nn.Conv1d(1, channels, 5, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(channels, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(channels, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(5),
        nn.Flatten(),
        nn.Linear(5 * channels, 10),
    )


def transformer(width: int) -> nn.Module:
    """Two blocks with four heads, which grow with the width: attention is scaled by 1 / head."""
    return _Characters(width, layers=2, heads=4)


class _Characters(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        from raysearch.examples.chars import UNKNOWN, WINDOW

        super().__init__()
        self.embed = nn.Embedding(UNKNOWN + 1, width)
        self.place = nn.Parameter(torch.randn(WINDOW, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, UNKNOWN + 1)

    def forward(self, text: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.blocks(self.embed(text) + self.place)))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, states: Tensor) -> Tensor:
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for part in self.to_qkv(self.first(states)).chunk(3, -1)
        )
        scale = scaling.attention_scale(queries.shape[-1], BASE_HEAD)
        found = nn.functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=scale)
        states = states + self.out(found.transpose(-2, -3).flatten(-2))
        after: Tensor = states + self.perceptron(self.second(states))
        return after


@cache
def digits() -> tuple[Examples, Examples]:
    """scikit-learn's digits with noise on their pixels; 1,297 train, 500 validate."""
    from raysearch.examples.digits import problem

    noise = torch.Generator().manual_seed(1)
    train, validation = (
        (images + NOISE * torch.randn(images.shape, generator=noise), labels)
        for images, labels in (problem().train, problem().validation)
    )
    return train, validation


@cache
def signals() -> tuple[Examples, Examples]:
    """MNIST-1D: 3,200 train, 800 validate."""
    from raysearch.examples.mnist1d import Mnist1d

    problem = Mnist1d.problem()
    return problem.train, problem.validation


@cache
def text() -> tuple[Examples, Examples]:
    """Windows of 64 characters of Python's help topics; the first 60 of the others validate."""
    from raysearch.examples.chars import Chars

    problem = Chars.problem()
    inputs, following = problem.validation
    return problem.train, (inputs[:60], following[:60])


BASE_HEAD = 4  # width of a head in the narrowest transformer
MODELS: Mapping[str, ScaledModel] = {
    "mlp": ScaledModel(perceptron(2), digits, base=64, steps=150, batch=64),
    "deep-mlp": ScaledModel(perceptron(5), digits, base=32, steps=150, batch=64),
    "transformer": ScaledModel(transformer, text, base=16, steps=150, batch=6),
    "cnn": ScaledModel(convolutions, signals, base=8, steps=250, batch=50, rates=(3e-3, 3e-1)),
}
