"""One model in training: shared by the examples for classes, functions and Learners.

All randomness of a training (first weights, order of the examples, dropout) comes from one generator
that `config["seed"]` seeds and the checkpoint carries. So the same seed trains the same model, and a
training that was paused and restored ends with the same bits as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysearch.torch import apply, parts

Config = Mapping[str, Any]
FILE = "training.pt"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is learnt: examples with class labels, split once and for all into training and validation.

    Attributes:
        build: a fresh model for a configuration; maps (n, ...) inputs to (n, ..., classes) logits.
        train, validation: inputs and labels; labels are (n, ...) integers.
        examples_per_iteration: drawn anew for each iteration, without replacement; None is all of them.
        test: what a report may look at and no search may; None if there is none.
        parts: fixed parts of the validation examples whose losses are reported too, so that two trainings
            can be compared in pairs (panda does); 0 for none.
    """

    build: Callable[[Config], nn.Module]
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    examples_per_iteration: int | None = None
    test: tuple[Tensor, Tensor] | None = None
    parts: int = 0


class Training:
    """A model, its optimizer and its randomness, for one configuration of one problem."""

    def __init__(self, problem: Problem, config: Config) -> None:
        """A fresh model, at iteration 0."""
        torch.set_num_threads(1)  # workers share the machine: one core each
        self.problem, self.config = problem, config
        self.seed = int(config.get("seed", 0))
        self.generator = torch.Generator().manual_seed(self.seed)
        with drawing_from(self.generator):
            self.model = problem.build(config)
        self.optimizer = make_optimizer(self.model, config)

    def iterate(self) -> dict[str, Any]:
        """Trains for one iteration; the mean loss while training, and what `validate` returns."""
        return {"train_loss": self.learn(), **self.validate()}

    def learn(self) -> float:
        """Trains for one iteration; the mean loss while training."""
        self.model.train()
        with drawing_from(self.generator):
            losses = [self._update(x, y) for x, y in self._batches()]
        return torch.stack(losses).mean().item()

    def validate(self) -> dict[str, Any]:
        """Mean cross-entropy in nats (`val_loss`) and share of right answers (`val_accuracy`).

        Where the problem says so also `val_loss_parts`, the loss over each part of the validation
        examples, and `test_loss` and `test_accuracy`.
        """
        losses, right = self._judge(self.problem.validation)
        metrics: dict[str, Any] = {"val_loss": losses.mean().item(), "val_accuracy": right}
        if self.problem.parts:
            metrics["val_loss_parts"] = parts(losses, self.problem.parts)
        if self.problem.test is not None:
            losses, right = self._judge(self.problem.test)
            metrics |= {"test_loss": losses.mean().item(), "test_accuracy": right}
        return metrics

    @torch.no_grad()
    def _judge(self, examples: tuple[Tensor, Tensor]) -> tuple[Tensor, float]:
        """(loss of each example or character, share of right answers)."""
        self.model.eval()
        inputs, labels = examples
        logits = torch.cat([self.model(x) for x in inputs.split(250)]).flatten(0, -2)
        right = (logits.argmax(-1) == labels.flatten()).float().mean()
        return cross_entropy(logits, labels.flatten(), reduction="none"), right.item()

    def save(self, folder: str | Path) -> None:
        """Writes all that going on needs into the folder."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "seed": self.seed,
        }
        torch.save(state, Path(folder) / FILE)

    def restore(self, folder: str | Path) -> None:
        """Goes on from what `save` wrote, under this training's own hyper-parameters.

        An optimizer's state also carries the learning rate it was saved with. A search may hand a
        checkpoint to another configuration, so the values of this one are put back. Under another seed
        the examples come in another order from here on.
        """
        state = torch.load(Path(folder) / FILE, weights_only=True)
        self.model.load_state_dict(state["model"])
        if state["seed"] == self.seed:
            self.generator.set_state(state["generator"])
        if state["optimizer"]["param_groups"][0].keys() == self.optimizer.param_groups[0].keys():
            self.optimizer.load_state_dict(state["optimizer"])
            apply(self.optimizer, self.config)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, labels = self.problem.train
        order = torch.randperm(len(inputs))[: self.problem.examples_per_iteration]
        for chosen in order.split(int(self.config["batch_size"])):
            yield inputs[chosen], labels[chosen]

    def _update(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """One step of the optimizer; the loss before it."""
        self.optimizer.zero_grad()
        loss = _loss(self.model(inputs), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def optimizer_settings(config: Config) -> dict[str, Any]:
    """The optimizer's hyper-parameters, under torch's names."""
    settings = {"lr": float(config["lr"]), "weight_decay": float(config.get("weight_decay", 0.0))}
    if config.get("optimizer", "adamw") == "sgd":
        settings["momentum"] = float(config.get("momentum", 0.0))
    return settings


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """SGD or AdamW, as `config["optimizer"]` says."""
    kind = torch.optim.SGD if config.get("optimizer", "adamw") == "sgd" else torch.optim.AdamW
    return kind(model.parameters(), **optimizer_settings(config), fused=True)


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Inside, what draws from torch's global generator (first weights, dropout) draws from this one."""
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, -2), labels.flatten())
