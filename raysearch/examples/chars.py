"""A character model on English text: the help topics of Python itself (`pydoc_data.topics`).

It predicts each character from those before it. Every tenth topic validates; the others train. An
iteration is 640 windows of 64 characters, about a tenth of the text.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from raysearch.examples.trainable import Example
from raysearch.examples.training import Config, Problem

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
UNKNOWN = len(ALPHABET)
WINDOW = 64


class Chars(Example):
    """Class trainable; see chars.yaml for its hyper-parameters."""

    @staticmethod
    @cache
    def problem() -> Problem:
        """Windows of text, and the same windows one character on."""
        from pydoc_data.topics import topics

        texts = [topics[name] for name in sorted(topics)]
        validation = [text for i, text in enumerate(texts) if i % 10 == 0]
        train = [text for i, text in enumerate(texts) if i % 10 != 0]
        return Problem(
            build=CharModel, train=windows(train), validation=windows(validation), examples_per_iteration=640
        )


class CharModel(nn.Module):
    """Embedding, gated recurrent layers, and a linear layer over the alphabet."""

    def __init__(self, config: Config) -> None:
        """`layers` layers of `hidden` units, with `dropout` before the last linear layer."""
        super().__init__()
        hidden = int(config["hidden"])
        self.embed = nn.Embedding(UNKNOWN + 1, int(config["embedding"]))
        self.recur = nn.GRU(int(config["embedding"]), hidden, int(config["layers"]), batch_first=True)
        self.drop = nn.Dropout(float(config["dropout"]))
        self.head = nn.Linear(hidden, UNKNOWN + 1)

    def forward(self, text: Tensor) -> Tensor:
        """(n, time) character numbers to (n, time, alphabet) logits."""
        states, _ = self.recur(self.embed(text))
        logits: Tensor = self.head(self.drop(states))
        return logits


def windows(texts: list[str]) -> tuple[Tensor, Tensor]:
    """(n, WINDOW) character numbers, and for each the number of the character that follows it."""
    numbers = {character: number for number, character in enumerate(ALPHABET)}
    text = torch.tensor([numbers.get(character, UNKNOWN) for character in "\n\n".join(texts)])
    cut = text.unfold(0, WINDOW + 1, WINDOW)
    return cut[:, :-1].contiguous(), cut[:, 1:].contiguous()
