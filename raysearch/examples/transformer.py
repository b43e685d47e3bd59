"""A small transformer that predicts characters of English text: the help topics of Python itself.

The text and its windows are those of chars.py. An iteration is 20 steps.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from raysearch.examples.chars import UNKNOWN, WINDOW, Chars
from raysearch.examples.training import Config, Problem
from raysearch.torch import Data
from raysearch.torch.learner import Learner

HEAD = 16  # width of a head of attention
VALIDATION = 200  # windows
STEPS, BATCH = 20, 16


class Transformer(Learner):
    """See transformer.yaml for its hyper-parameters."""

    steps = STEPS
    evaluate_at_once = 50

    def data(self) -> Data:
        """Windows of text, and the same windows one character on."""
        return Data(train=problem().train, validation=problem().validation)

    def model(self, config: Config) -> nn.Module:
        """A fresh transformer."""
        return problem().build(config)

    def loss(self, model: nn.Module, batch: Any, config: Config) -> Tensor:
        """Mean cross-entropy in nats a character."""
        text, following = batch
        smoothing = config.get("label_smoothing", 0.0)
        return cross_entropy(model(text).flatten(0, 1), following.flatten(), label_smoothing=smoothing)

    def metrics(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Cross-entropy in nats, and whether the guess is right, of each character."""
        text, following = batch
        logits = model(text)
        losses = cross_entropy(logits.flatten(0, 1), following.flatten(), reduction="none")
        return {"val_loss": losses.view_as(following), "val_accuracy": logits.argmax(-1) == following}


@cache
def problem() -> Problem:
    """The windows of chars.py, fewer of them to validate on."""
    text = Chars.problem()
    inputs, following = text.validation
    return Problem(
        build=lambda config: CharTransformer(
            int(config["width"]), int(config["layers"]), float(config["dropout"])
        ),
        train=text.train,
        validation=(inputs[:VALIDATION], following[:VALIDATION]),
        examples_per_iteration=STEPS * BATCH,
    )


class CharTransformer(nn.Module):
    """Embedded characters and places, `layers` blocks, and a linear layer over the alphabet."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(UNKNOWN + 1, width)
        self.place = nn.Parameter(torch.randn(WINDOW, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, UNKNOWN + 1)

    def forward(self, text: Tensor) -> Tensor:
        """(n, time) character numbers to (n, time, alphabet) logits."""
        states = self.embed(text) + self.place[: text.shape[-1]]
        logits: Tensor = self.head(self.norm(self.blocks(states)))
        return logits


class Block(nn.Module):
    """Attention to what came before, then a perceptron, each beside a way past it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """(n, time, width) to the same."""
        queries, keys, values = (
            part.unflatten(-1, (-1, HEAD)).transpose(-2, -3)
            for part in self.to_qkv(self.first(states)).chunk(3, -1)
        )
        found = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        states = states + self.drop(self.out(found.transpose(-2, -3).flatten(-2)))
        after: Tensor = states + self.drop(self.perceptron(self.second(states)))
        return after
