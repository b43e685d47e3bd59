"""What the Learners of images share: cross-entropy to learn by, and with accuracy to judge by."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysearch.examples.training import Config, Problem
from raysearch.torch import Data
from raysearch.torch.learner import Learner


class Classifier(Learner):
    """Learns a Problem with labels of classes. A subclass says which."""

    def problem(self) -> Problem:
        """What is to be learnt, read once in a process."""
        raise NotImplementedError

    def data(self) -> Data:
        """Examples and their labels."""
        problem = self.problem()
        return Data(train=problem.train, validation=problem.validation)

    def model(self, config: Config) -> nn.Module:
        """A fresh model."""
        return self.problem().build(config)

    def loss(self, model: nn.Module, batch: Any, config: Config) -> Tensor:
        """Mean cross-entropy in nats."""
        examples, labels = batch
        return cross_entropy(model(examples), labels)

    def metrics(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Cross-entropy in nats, and whether the answer is right, of each example."""
        examples, labels = batch
        logits = model(examples)
        losses = cross_entropy(logits, labels, reduction="none")
        return {"val_loss": losses, "val_accuracy": logits.argmax(-1) == labels}
