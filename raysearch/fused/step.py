"""One optimizer step of several models of one structure, as a function of nothing but tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from raysearch.fused.data import Batch, chosen, mapped
from raysearch.fused.optimizers import LR, Rule
from raysearch.fused.packed_state import Rows
from raysearch.fused.plan import IterationPlan, Moment
from raysearch.fused.update import ModelRows, moved
from raysearch.fused.vmap_engine import Engine, Inputs

Step: TypeAlias = Callable[[Mapping[str, Any], Moment], Tensor]


@dataclass(frozen=True, slots=True)
class StepBlock:
    """Rows `first` to `stop` - 1 for an iteration, and what its steps have in common.

    Attributes:
        lifted, numbers: (models, ...) as in `Inputs`.
        names: of the configurations' numbers, in order.
        data: the training examples.
    """

    rows: Rows
    first: int
    stop: int
    plan: IterationPlan
    lifted: Tensor
    numbers: Tensor
    names: tuple[str, ...]
    data: Batch

    def tensors(self, rows: Rows | None = None) -> dict[str, Any]:
        """All of it as views, by name; of other rows where they are given, which hold only these models."""
        at, first, stop = (rows, 0, self.stop - self.first) if rows else (self.rows, self.first, self.stop)
        own, mine = slice(first, stop), slice(self.first, self.stop)
        limits = {"clip": self.plan.clip, "ema": self.plan.ema}
        data: list[Tensor] = []
        mapped(data.append, self.data)
        return {
            "weights": list(at.leaves(first, stop).values()),
            "kept": list(at.kept_of(first, stop).values()),
            "gradients": list(at.leaves(first, stop, at.gradients).values()),
            "rows": [at.parameters[own], at.gradients[own], at.room[own]],
            "vectors": {name: vector[own] for name, vector in at.vectors.items()},
            "hyper": {name: column[mine] for name, column in self.plan.hyper.items()},
            "limits": {name: column[mine] for name, column in limits.items() if column is not None},
            "lifted": self.lifted,
            "numbers": self.numbers,
            "data": data,
        }

    def moments(self) -> list[Moment]:
        """What each step of the iteration has of its own."""
        return self.plan.moments(self.first, self.stop)


def step_by(engine: Engine, rule: Rule, data: Batch) -> Step:
    """The step of the engine's models under a rule: moves rows, returns (models,) losses.

    Args:
        data: examples of the kind that the step will be given, for how they are nested.
    """

    def step(given: Mapping[str, Any], moment: Moment) -> Tensor:
        weights = [value.detach().requires_grad_() for value in given["weights"]]
        inputs = Inputs(weights, given["kept"], given["lifted"], given["numbers"])
        leaves = iter(given["data"])
        batch = chosen(mapped(lambda _: next(leaves), data), moment.examples)
        with torch.enable_grad():
            losses = engine.losses(inputs, moment.key, batch)
            found = torch.autograd.grad(losses.sum(), weights, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            torch._foreach_copy_(given["gradients"], list(found))
            parameters, gradients, room = given["rows"]
            state = ModelRows(parameters, gradients, room, given["vectors"])
            hyper, limits = {**given["hyper"], LR: moment.rate}, given["limits"]
            moved(rule, state, hyper, moment.taken, limits.get("clip"), limits.get("ema"))
        return losses.detach()

    return step
