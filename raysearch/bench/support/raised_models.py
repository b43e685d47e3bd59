"""Models that `raysearch bench panda --tasks` trains: what they have in common, on torch and on numpy.

An iteration is a few steps at one learning rate. State is a value, so that forks need no files.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from raysearch.core.version import install
from raysearch.errors import SpecError

Floats = npt.NDArray[np.float64]
BETAS, TINY = (0.9, 0.999), 1e-8


class Model(ABC):
    """A model in training. `validate` is in the units of its task, and NaN once it diverged."""

    @abstractmethod
    def learn(self, lr: float) -> float:
        """Trains an iteration; the loss while training, lower is better."""

    @abstractmethod
    def validate(self) -> tuple[float, list[float]]:
        """The metric, and the same over fixed parts of the validation set (none where there are none)."""

    @abstractmethod
    def test(self) -> float:
        """What is reported and never searched by, in the metric's direction."""

    @abstractmethod
    def state(self) -> Any:
        """All that going on needs, as a value of its own."""

    @abstractmethod
    def load(self, state: Any) -> None:
        """Goes on from a state."""

    @abstractmethod
    def reseed(self, seed: int) -> None:
        """From here on examples come in another order."""

    @abstractmethod
    def weights(self) -> Floats:
        """All weights, a copy."""

    @abstractmethod
    def put(self, weights: Floats) -> None:
        """Takes these weights; the optimizer's state stays."""

    @abstractmethod
    def free_schedule(self, lr: float, warmup: int) -> FreeSchedule:
        """A schedule-free optimizer for this model, `warmup` iterations long."""


class FreeSchedule(ABC):
    """AdamW without a schedule (Defazio et al. 2024, algorithm 1): judged at an average of its iterates."""

    @abstractmethod
    def learn(self) -> None:
        """Trains an iteration."""

    @abstractmethod
    def settle(self) -> None:
        """Leaves the model at the average, to be validated."""


class ArrayModel(Model):
    """A vector of weights with a gradient; SGD with momentum, or Adam."""

    steps, momentum, adam = 4, 0.9, True

    def __init__(self, seed: int, size: int, scale: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.w = scale * self.rng.standard_normal(size)
        self.m, self.v, self.t = np.zeros(size), np.zeros(size), 0

    @abstractmethod
    def gradient(self, w: Floats) -> tuple[float, Floats]:
        """The loss of a fresh batch, and its gradient."""

    def learn(self, lr: float) -> float:
        """Trains an iteration of `steps` steps."""
        losses = []
        with np.errstate(all="ignore"):
            for _ in range(self.steps):
                loss, g = self.gradient(self.w)
                losses.append(loss)
                self.w = self.w - lr * self._step(g)
        return float(np.mean(losses))

    def _step(self, g: Floats) -> Floats:
        self.t += 1
        if not self.adam:
            self.m = self.momentum * self.m + g
            return self.m
        self.m = BETAS[0] * self.m + (1 - BETAS[0]) * g
        self.v = BETAS[1] * self.v + (1 - BETAS[1]) * g * g
        first, second = self.m / (1 - BETAS[0] ** self.t), self.v / (1 - BETAS[1] ** self.t)
        return np.asarray(first / (np.sqrt(second) + TINY))

    def state(self) -> Any:
        """Weights, moments and the generator."""
        return (
            self.w.copy(),
            self.m.copy(),
            self.v.copy(),
            self.t,
            copy.deepcopy(self.rng.bit_generator.state),
        )

    def load(self, state: Any) -> None:
        """Goes on from a state."""
        self.w, self.m, self.v, self.t = state[0].copy(), state[1].copy(), state[2].copy(), state[3]
        self.rng.bit_generator.state = state[4]

    def reseed(self, seed: int) -> None:
        """Another generator."""
        self.rng = np.random.default_rng(seed)

    def weights(self) -> Floats:
        """A copy."""
        return self.w.copy()

    def put(self, weights: Floats) -> None:
        """Takes these weights."""
        self.w = weights.copy()

    def free_schedule(self, lr: float, warmup: int) -> FreeSchedule:
        """In numpy."""
        return _FreeArrays(self, lr, warmup * self.steps)


class _FreeArrays(FreeSchedule):
    """Algorithm 1 of Defazio et al. 2024 without weight decay; weights of the average as lr squared."""

    def __init__(self, model: ArrayModel, lr: float, warmup: int) -> None:
        self._model, self._lr, self._warmup = model, lr, warmup
        self._x, self._z = model.weights(), model.weights()
        self._v, self._t, self._sum = np.zeros(len(self._x)), 0, 0.0

    def learn(self) -> None:
        """Steps at y = (1 - beta) z + beta x."""
        with np.errstate(all="ignore"):
            for _ in range(self._model.steps):
                self._t += 1
                lr = self._lr * min(1.0, self._t / max(1, self._warmup))
                y = (1 - BETAS[0]) * self._z + BETAS[0] * self._x
                _, g = self._model.gradient(y)
                self._v = BETAS[1] * self._v + (1 - BETAS[1]) * g * g
                scale = np.sqrt(self._v / (1 - BETAS[1] ** self._t)) + TINY if self._model.adam else 1.0
                self._z = self._z - lr * g / scale
                self._sum += lr * lr
                share = lr * lr / self._sum
                self._x = (1 - share) * self._x + share * self._z

    def settle(self) -> None:
        """The model at x."""
        self._model.put(self._x)


class TorchModel(Model):
    """A `Training` of the examples under a learning rate that is given at each iteration."""

    def __init__(self, training: Any) -> None:
        self.training = training

    def learn(self, lr: float) -> float:
        """Trains an iteration."""
        for group in self.training.optimizer.param_groups:
            group["lr"] = lr
        return float(self.training.learn())

    def validate(self) -> tuple[float, list[float]]:
        """Cross-entropy."""
        found = self.training.validate()
        return float(found["val_loss"]), [float(one) for one in found.get("val_loss_parts", {}).values()]

    def test(self) -> float:
        """Cross-entropy on examples that no search sees; on the validation set where there are none."""
        found = self.training.validate()
        return float(found.get("test_loss", found["val_loss"]))

    def state(self) -> Any:
        """Of model, optimizer and generator."""
        one = self.training
        parts = one.model.state_dict(), one.optimizer.state_dict(), one.generator.get_state()
        return copy.deepcopy(parts)

    def load(self, state: Any) -> None:
        """Goes on from a state."""
        model, optimizer, generator = copy.deepcopy(state)
        self.training.model.load_state_dict(model)
        self.training.optimizer.load_state_dict(optimizer)
        self.training.generator.set_state(generator)

    def reseed(self, seed: int) -> None:
        """Another order."""
        self.training.generator.manual_seed(seed)

    def weights(self) -> Floats:
        """Of all parameters."""
        import torch

        with torch.no_grad():
            flat = torch.nn.utils.parameters_to_vector(self.training.model.parameters())
            return np.asarray(flat.numpy(), np.float64).copy()

    def put(self, weights: Floats) -> None:
        """Into all parameters."""
        import torch

        with torch.no_grad():
            flat = torch.as_tensor(weights, dtype=torch.float32)
            torch.nn.utils.vector_to_parameters(flat, self.training.model.parameters())

    def free_schedule(self, lr: float, warmup: int) -> FreeSchedule:
        """By the package schedulefree."""
        return _FreeTorch(self.training, lr, warmup)


class _FreeTorch(FreeSchedule):
    def __init__(self, training: Any, lr: float, warmup: int) -> None:
        problem, config = training.problem, training.config
        drawn = problem.examples_per_iteration or len(problem.train[0])
        steps = math.ceil(drawn / int(config["batch_size"]))
        training.optimizer = free_adamw(training, lr, warmup * steps)
        self._training = training

    def learn(self) -> None:
        """Trains an iteration."""
        self._training.optimizer.train()
        self._training.learn()

    def settle(self) -> None:
        """The model at the average."""
        self._training.optimizer.eval()


def free_adamw(training: Any, lr: float, warmup_steps: int) -> Any:
    """AdamWScheduleFree for a training; SpecError where the package is not installed."""
    try:
        import schedulefree
    except ImportError:
        raise SpecError(
            f"schedule-free needs schedulefree: {install('bench')}; or leave it out of the methods"
        ) from None
    decay = training.optimizer.param_groups[0].get("weight_decay", 0.0)
    return schedulefree.AdamWScheduleFree(
        training.model.parameters(), lr=lr, weight_decay=decay, warmup_steps=warmup_steps
    )
