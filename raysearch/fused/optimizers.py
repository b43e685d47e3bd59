"""Update rules: optimizers that step many models at once, each with its own hyper-parameters.

A rule works on rows: parameters (models, P), every hyper-parameter (models, 1). One model is one row.
The formulas are those of torch.optim (checked against it), and Lion's of Chen et al. 2023, algorithm 2.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor

from raysearch.core.values import is_number
from raysearch.errors import SpecError, unknown

LR = "lr"  # the hyper-parameter of a rule that a schedule multiplies


@dataclass(frozen=True)
class Rule:
    """How a model's parameters change after a step. Derive a frozen dataclass from it for a rule of your own.

    Number fields are hyper-parameters: `update` gets them as columns (models, 1), by their names, and must
    not read them from `self`. Fields of other types are alike for all models that train together.

    Attributes:
        slots: names of the state vectors that the rule keeps, each as large as the parameters, first 0.
        lr: the learning rate; what a schedule multiplies.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    lr: float = 1e-3
    weight_decay: float = 0.0

    def update(
        self,
        p: Tensor,
        g: Tensor,
        state: Mapping[str, Tensor],
        h: SimpleNamespace,
        step: Tensor,
        room: Tensor,
    ) -> None:
        """Changes `p` and `state` in place.

        Args:
            p, g: parameters and gradients, (models, P); `g` may be overwritten.
            h: the hyper-parameters, (models, 1) each.
            step: how many steps each model has taken, this one included, (models, 1).
            room: (models, P) of scratch.
        """
        raise NotImplementedError

    @property
    def numbers(self) -> dict[str, float]:
        """The hyper-parameters that may differ from model to model."""
        return {k: float(v) for k, v in self._fields() if is_number(v)}

    @property
    def kind(self) -> tuple[Any, ...]:
        """A key that is equal for rules whose models can train together."""
        return (type(self), *((k, v) for k, v in self._fields() if not is_number(v)))

    def _fields(self) -> list[tuple[str, Any]]:
        return [(f.name, getattr(self, f.name)) for f in dataclasses.fields(self)]


@dataclass(frozen=True)
class SGD(Rule):
    """Stochastic gradient descent, as torch.optim.SGD."""

    slots: ClassVar[tuple[str, ...]] = ("momentum_buffer",)
    momentum: float = 0.0
    nesterov: bool = False

    def update(
        self,
        p: Tensor,
        g: Tensor,
        state: Mapping[str, Tensor],
        h: SimpleNamespace,
        step: Tensor,
        room: Tensor,
    ) -> None:
        """buf = momentum * buf + g;  p -= lr * (g + momentum * buf with Nesterov, else buf)."""
        g.addcmul_(p, h.weight_decay)
        buffer = state["momentum_buffer"].mul_(h.momentum).add_(g)
        direction = torch.addcmul(g, buffer, h.momentum, out=room) if self.nesterov else buffer
        p.addcmul_(direction, h.lr, value=-1)


@dataclass(frozen=True)
class Adam(Rule):
    """Adam (Kingma and Ba 2015), as torch.optim.Adam: weight decay is added to the gradient."""

    slots: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def update(
        self,
        p: Tensor,
        g: Tensor,
        state: Mapping[str, Tensor],
        h: SimpleNamespace,
        step: Tensor,
        room: Tensor,
    ) -> None:
        """p -= lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)."""
        g.addcmul_(p, h.weight_decay)
        _adam(p, g, state, h, step, room)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW."""

    weight_decay: float = 1e-2

    def update(
        self,
        p: Tensor,
        g: Tensor,
        state: Mapping[str, Tensor],
        h: SimpleNamespace,
        step: Tensor,
        room: Tensor,
    ) -> None:
        """p *= 1 - lr * weight_decay, then as Adam without weight decay."""
        p.mul_(1 - h.lr * h.weight_decay)
        _adam(p, g, state, h, step, room)


@dataclass(frozen=True)
class Lion(Rule):
    """Lion (Chen et al. 2023, algorithm 2): the sign of an interpolated momentum."""

    slots: ClassVar[tuple[str, ...]] = ("exp_avg",)
    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99

    def update(
        self,
        p: Tensor,
        g: Tensor,
        state: Mapping[str, Tensor],
        h: SimpleNamespace,
        step: Tensor,
        room: Tensor,
    ) -> None:
        """p -= lr * (sign(b1 * m + (1 - b1) * g) + weight_decay * p);  m = b2 * m + (1 - b2) * g."""
        p.mul_(1 - h.lr * h.weight_decay)
        average = state["exp_avg"]
        torch.lerp(g, average, h.beta1.expand_as(g), out=room)
        p.addcmul_(room.sign_(), h.lr, value=-1)
        average.lerp_(g, (1 - h.beta2).expand_as(g))


NAMES: Mapping[str, type[Rule]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "lion": Lion}
_ALIASES = {"learning_rate": LR}


def rule_of(config: Mapping[str, Any]) -> Rule:
    """The rule that a configuration names: `optimizer` (adamw by default) and the rule's own fields.

    Taken are lr (or learning_rate), weight_decay, momentum, nesterov, beta1, beta2, betas, eps, where the
    rule has them; a field that the configuration lacks has torch's default.

    Raises:
        SpecError: no rule has that name, or a value is no number or out of its range.
    """
    name = str(config.get("optimizer", "adamw")).lower()
    if name not in NAMES:
        raise SpecError(unknown("optimizer", name, sorted(NAMES)))
    rule = NAMES[name]
    known = {field.name for field in dataclasses.fields(rule)}
    given = {_ALIASES.get(key, key): value for key, value in config.items()}
    if "betas" in given:
        if not isinstance(given["betas"], (list, tuple)) or len(given["betas"]) != 2:
            raise SpecError(f"betas: {given['betas']!r} must be two numbers, such as [0.9, 0.999]")
        given.setdefault("beta1", given["betas"][0])
        given.setdefault("beta2", given["betas"][1])
    settings = {key: value for key, value in given.items() if key in known}
    for key, value in settings.items():
        if key != "nesterov" and not is_number(value):
            raise SpecError(f"{key}: {value!r} must be a number for the optimizer {name}")
        if key != "nesterov" and not 0 <= value < (1 if key.startswith("beta") else math.inf):
            below = " and below 1" if key.startswith("beta") else ""
            raise SpecError(f"{key}: {value!r} must be at least 0{below} for the optimizer {name}")
    if "nesterov" in settings:
        settings["nesterov"] = bool(settings["nesterov"])
    return rule(**settings)


def _adam(
    p: Tensor, g: Tensor, state: Mapping[str, Tensor], h: SimpleNamespace, step: Tensor, room: Tensor
) -> None:
    average, square = state["exp_avg"], state["exp_avg_sq"]
    average.mul_(h.beta1).addcmul_(g, 1 - h.beta1)
    square.mul_(h.beta2).addcmul_(g.mul_(g), 1 - h.beta2)
    torch.sqrt(square, out=room)
    room.mul_(_correction(h.beta2, step).rsqrt()).add_(h.eps)
    p.addcmul_(torch.div(average, room, out=room), h.lr / _correction(h.beta1, step), value=-1)


def _correction(beta: Tensor, step: Tensor) -> Tensor:
    """1 - beta^t, in double precision: at the first steps little is left of it in single."""
    return (1 - beta.double() ** step).to(beta.dtype)
