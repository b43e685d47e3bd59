"""The tasks of `raysearch bench panda --tasks`: small enough for a core, unlike enough to disagree.

Each has a middle learning rate, about the best constant one; starts are multiples of it. There is no
task on MNIST's images: no package holds them, and nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from raysearch.bench.support.raised_models import ArrayModel, Floats, Model, TorchModel
from raysearch.core.segment import Mode

PARTS = 16


@dataclass(frozen=True)
class Task:
    """A model to train.

    Attributes:
        make: seed -> a fresh model.
        middle: a learning rate about the best constant one.
        horizon, quick: iterations of a training, and of one for a test.
        what: in words.
    """

    make: Callable[[int], Model]
    mode: Mode
    middle: float
    horizon: int
    quick: int
    what: str


# ---- on torch


class _Torch(TorchModel):
    """Its test examples are judged only when asked for."""

    def __init__(self, problem: Any, config: Mapping[str, Any]) -> None:
        from raysearch.examples.training import Training

        super().__init__(Training(replace(problem, test=None), config))
        self._test = problem.test

    def test(self) -> float:
        """Cross-entropy on the test examples."""
        return float(self.training._judge(self._test)[0].mean())


def mnist1d(seed: int) -> Model:
    """The network of the example panda_mnist1d: five steps of AdamW an iteration."""
    from raysearch.examples.mnist1d import FIXED, Mnist1d

    return _Torch(Mnist1d.problem(), {**FIXED, "lr": 1e-3, "seed": seed})


def chars(seed: int) -> Model:
    """A transformer of one layer on Python's help texts: four steps of 16 windows of 64 characters."""
    return _Torch(_windows(), {"batch_size": 16, "lr": 1e-3, "seed": seed, "weight_decay": 0.01})


def digits(seed: int) -> Model:
    """A perceptron on digits of which a fifth is labelled wrongly: SGD with momentum, five steps."""
    config = {"batch_size": 64, "optimizer": "sgd", "momentum": 0.9, "lr": 0.1, "seed": seed}
    return _Torch(_noisy_digits(), config)


@cache
def _windows() -> Any:
    from raysearch.examples.chars import Chars
    from raysearch.examples.training import Problem

    whole = Chars.problem()
    (x, y), (vx, vy) = whole.train, whole.validation
    return Problem(
        build=_transformer,
        train=(x, y),
        validation=(vx[:64], vy[:64]),
        test=(vx[64:192], vy[64:192]),
        examples_per_iteration=64,
        parts=PARTS,
    )


def _transformer(config: Mapping[str, Any]) -> Any:
    import torch
    from torch import nn

    from raysearch.examples.chars import UNKNOWN, WINDOW

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(UNKNOWN + 1, 32)
            self.place = nn.Parameter(0.02 * torch.randn(WINDOW, 32))
            self.layer = nn.TransformerEncoderLayer(32, 2, 64, 0.0, batch_first=True, norm_first=True)
            self.head = nn.Linear(32, UNKNOWN + 1)
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(WINDOW), False)

        def forward(self, text: Any) -> Any:
            return self.head(self.layer(self.embed(text) + self.place, src_mask=self.mask))

    return Transformer()


@cache
def _noisy_digits() -> Any:
    import torch
    from torch import nn

    from raysearch.examples.digits import problem
    from raysearch.examples.training import Problem

    clean = problem()
    (x, y), (vx, vy) = clean.train, clean.validation
    generator = torch.Generator().manual_seed(1)
    wrong = torch.rand(len(y), generator=generator) < 0.2
    labels = torch.where(wrong, torch.randint(10, (len(y),), generator=generator), y)
    return Problem(
        build=lambda config: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
        train=(x, labels),
        validation=(vx[:256], vy[:256]),
        test=(vx[256:], vy[256:]),
        examples_per_iteration=320,
        parts=PARTS,
    )


# ---- on numpy


class HeavyTails(ArrayModel):
    """A small tanh network fits a function whose targets have Student's t noise of 1.5 degrees of freedom.

    Squared error, SGD with momentum: now and then a batch throws the weights. Judged by the absolute error.
    """

    adam, inputs, units, batch = False, 8, 24, 32

    def __init__(self, seed: int) -> None:
        teacher = np.random.default_rng(5)
        self._teacher = teacher.standard_normal((self.inputs, 4)), teacher.standard_normal(4)
        super().__init__(seed, self.inputs * self.units + self.units, 0.3)
        held = np.random.default_rng(6)
        self._held = [self._examples(held, 512), self._examples(held, 1024)]

    def _examples(self, rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        x = rng.standard_normal((count, self.inputs))
        into, out = self._teacher
        return x, np.sin(x @ into / 2) @ out + 0.3 * rng.standard_t(1.5, count)

    def gradient(self, w: Floats) -> tuple[float, Floats]:
        """Of half the squared error on a fresh batch."""
        x, y = self._examples(self.rng, self.batch)
        first, last = w[: -self.units].reshape(self.inputs, self.units), w[-self.units :]
        hidden = np.tanh(x @ first)
        error = hidden @ last - y
        back = (error[:, None] * last) * (1 - hidden * hidden)
        grads = (x.T @ back).ravel() / len(y), hidden.T @ error / len(y)
        return float(np.mean(np.abs(error))), np.concatenate(grads)

    def _errors(self, which: int) -> Floats:
        x, y = self._held[which]
        first = self.w[: -self.units].reshape(self.inputs, self.units)
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(np.tanh(x @ first) @ self.w[-self.units :] - y))

    def validate(self) -> tuple[float, list[float]]:
        """Mean absolute error, in parts."""
        parts = [float(part.mean()) for part in np.split(self._errors(0), PARTS)]
        return float(np.mean(parts)), parts

    def test(self) -> float:
        """The same on other examples."""
        return float(self._errors(1).mean())


class CartPole(ArrayModel):
    """Policy gradient (Williams 1992) with a mean as baseline; a pole on a cart (Barto et al. 1983).

    The metric is the mean return of an iteration's eight episodes: noisy, at most 200, higher is better.
    """

    steps, episodes, longest, units = 1, 8, 200, 16

    def __init__(self, seed: int) -> None:
        super().__init__(seed, 5 * self.units + self.units, 0.3)
        self._return = 0.0

    def state(self) -> Any:
        """With the return of its last episodes."""
        return (*super().state(), self._return)

    def load(self, state: Any) -> None:
        """Goes on from a state."""
        super().load(state)
        self._return = state[5]

    def gradient(self, w: Floats) -> tuple[float, Floats]:
        """Of minus the expected return, estimated."""
        lengths, scores = self._play(w, self.rng, self.episodes)
        self._return = float(lengths.mean())
        times = np.arange(self.longest)
        to_go = np.maximum(lengths - times[:, None], 0.0)  # (time, episode)
        alive = to_go > 0
        centred = np.where(alive, to_go - to_go.sum() / max(1, alive.sum()), 0.0)
        centred /= to_go[alive].std() + TINY_STD
        gradient = -np.einsum("te,tew->w", centred, scores) / alive.sum()
        return -self._return, gradient

    def _play(self, w: Floats, rng: np.random.Generator, episodes: int) -> tuple[Floats, Floats]:
        """(lengths, gradients of log-probabilities of shape (time, episode, weights))."""
        first, last = w[: 5 * self.units].reshape(5, self.units), w[5 * self.units :]
        at = rng.uniform(-0.05, 0.05, (episodes, 4))
        lengths, alive = np.zeros(episodes), np.ones(episodes, bool)
        scores = np.zeros((self.longest, episodes, len(w)))
        for time in range(self.longest):
            seen = np.column_stack([at * SCALES, np.ones(episodes)])
            hidden = np.tanh(seen @ first)
            right = 1.0 / (1.0 + np.exp(-np.clip(hidden @ last, -30, 30)))
            chosen = rng.random(episodes) < right
            slope = (chosen - right) * alive
            back = slope[:, None] * last * (1 - hidden * hidden)
            scores[time, :, : 5 * self.units] = (seen[:, :, None] * back[:, None, :]).reshape(episodes, -1)
            scores[time, :, 5 * self.units :] = slope[:, None] * hidden
            lengths += alive
            at = _pushed(at, np.where(chosen, 10.0, -10.0))
            alive &= (np.abs(at[:, 0]) < 2.4) & (np.abs(at[:, 2]) < 0.2095)
            if not alive.any():
                break
        return lengths, scores

    def validate(self) -> tuple[float, list[float]]:
        """The mean return of the iteration's own episodes."""
        value = self._return if np.isfinite(self.w).all() else float("nan")
        return value, []

    def test(self) -> float:
        """The mean return of 64 episodes that are always the same."""
        if not np.isfinite(self.w).all():
            return 0.0
        return float(self._play(self.w, np.random.default_rng(9), 64)[0].mean())


TINY_STD = 1e-6
SCALES = np.array([0.4, 0.5, 5.0, 0.5])  # of position, speed, angle, its speed


def _pushed(at: Floats, force: Floats) -> Floats:
    """A cart of 1 kg, its pole of 0.1 kg and 1 m, 0.02 s on under a force (Barto et al. 1983), by Euler."""
    x, speed, angle, turning = at.T
    sine, cosine = np.sin(angle), np.cos(angle)
    pull = (force + 0.05 * turning**2 * sine) / 1.1
    spin = (9.8 * sine - cosine * pull) / (0.5 * (4.0 / 3.0 - 0.1 * cosine**2 / 1.1))
    moved = pull - 0.05 * spin * cosine / 1.1
    return np.column_stack(
        [x + 0.02 * speed, speed + 0.02 * moved, angle + 0.02 * turning, turning + 0.02 * spin]
    )


class Quadratic(ArrayModel):
    """The noisy quadratic of Wu et al. 2018: 200 directions, curvature 1/i, a minimum that moves.

    The metric is the expected loss itself; SGD with momentum.
    """

    adam, steps, size = False, 10, 200

    def __init__(self, seed: int) -> None:
        self._curvature = 1.0 / np.arange(1, self.size + 1)
        super().__init__(seed, self.size, 1.0)

    def gradient(self, w: Floats) -> tuple[float, Floats]:
        """With a minimum drawn anew; its variance is 0.01/curvature."""
        away = w - 0.1 * self.rng.standard_normal(self.size) / np.sqrt(self._curvature)
        return float(0.5 * np.sum(self._curvature * away * away)), self._curvature * away

    def validate(self) -> tuple[float, list[float]]:
        """Half the sum of curvature times distance squared."""
        with np.errstate(all="ignore"):
            return float(0.5 * np.sum(self._curvature * self.w * self.w)), []

    def test(self) -> float:
        """The same."""
        return self.validate()[0]


TASKS: Mapping[str, Task] = {
    "mnist1d": Task(mnist1d, "min", 5e-3, 200, 24, "CNN on MNIST-1D, AdamW"),
    "chars": Task(chars, "min", 5e-3, 150, 12, "transformer on Python's help texts, AdamW"),
    "digits": Task(digits, "min", 0.03, 120, 24, "perceptron on digits, a fifth labelled wrongly, SGD"),
    "heavy-tails": Task(HeavyTails, "min", 0.01, 300, 24, "tanh network, targets with t(1.5) noise, SGD"),
    "cart-pole": Task(CartPole, "max", 0.02, 100, 12, "policy gradient, noisy returns, Adam"),
    "quadratic": Task(Quadratic, "min", 0.03, 300, 24, "noisy quadratic (Wu et al. 2018), SGD"),
}
