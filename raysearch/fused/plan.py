"""The plan of an iteration: the examples, keys and rates of every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from raysearch.fused import rng
from raysearch.fused.contract import Describes, PackMember
from raysearch.fused.data import Data
from raysearch.fused.optimizers import LR
from raysearch.fused.schedules import scales_of, steps_of


class Moment(NamedTuple):
    """The part of a plan that changes from step to step.

    Attributes:
        examples: (models, size) numbers of the examples.
        key: (models,) keys of the random draws.
        rate: (models, 1) learning rates.
        taken: (models, 1) steps taken, this one included.
    """

    examples: Tensor
    key: Tensor
    rate: Tensor
    taken: Tensor


@dataclass(slots=True)
class IterationPlan:
    """All that an iteration of some models needs besides their weights.

    Attributes:
        numbers: (models, examples) which examples, batch after batch.
        keys: (steps, models) keys of the random draws.
        rates: (steps, models, 1) learning rates.
        hyper: the rule's other hyper-parameters, (models, 1) each.
        taken: (models, 1) steps taken before, in double precision.
        clip: (models, 1) largest norm of a gradient; None where no model clips.
        ema: (models, 1) decay of the averaged weights; None where none are kept.
    """

    steps: int
    batch_size: int
    numbers: Tensor
    keys: Tensor
    rates: Tensor
    hyper: dict[str, Tensor]
    taken: Tensor
    clip: Tensor | None
    ema: Tensor | None

    def moments(self, first: int, stop: int) -> list[Moment]:
        """The moments of all steps, for models `first` to `stop` - 1."""
        own = slice(first, stop)
        step = torch.arange(1, self.steps + 1, device=self.taken.device).view(-1, 1, 1)
        batches = self.numbers[own].split(self.batch_size, 1)
        columns = (self.keys[:, own], self.rates[:, own], self.taken[own] + step)
        return [Moment(*each) for each in zip(batches, *(c.unbind() for c in columns), strict=True)]

    def padded(self, models: int) -> IterationPlan:
        """The plan with padding rows up to `models`: those of the first model, at learning rates of 0."""
        have = self.numbers.shape[0]
        places = torch.arange(models, device=self.numbers.device)
        places[have:] = 0
        rates = self.rates.index_select(1, places)
        rates[:, have:] = 0
        return replace(
            self,
            numbers=self.numbers[places],
            keys=self.keys.index_select(1, places),
            rates=rates,
            hyper={name: column[places] for name, column in self.hyper.items()},
            taken=self.taken[places],
            clip=None if self.clip is None else self.clip[places],
            ema=None if self.ema is None else self.ema[places],
        )


def make_plan(
    learner: Describes, members: Sequence[PackMember], data: Data, device: torch.device
) -> IterationPlan:
    """The plan of the members' next iteration."""
    size = members[0].batch_size
    steps = steps_of(learner, size, data.train_size)
    count = min(data.train_size, steps * size) if learner.steps is None else steps * size
    orders = [rng.order(m.seed, m.at, data.train_size, count) for m in members]
    numbers = np.stack(orders, dtype=np.int32, casting="same_kind")  # 0.8 GB for 4096 models, 50,000 each
    before = np.array([m.at * steps for m in members], dtype=np.int64)
    all_steps = before[None, :] + np.arange(steps, dtype=np.int64)[:, None]
    keys = rng.keys(np.array([m.seed for m in members], dtype=np.int64), all_steps)
    scales = [scales_of(learner, all_steps[:, i], m.config) for i, m in enumerate(members)]
    hyper = [m.rule.numbers for m in members]
    columns = {name: [each[name] for each in hyper] for name in hyper[0]}
    rates = np.stack(scales, axis=1) * np.array(columns.pop(LR))
    clips = [m.clip for m in members]
    emas = [m.ema for m in members]
    return IterationPlan(
        steps=steps,
        batch_size=size,
        numbers=torch.from_numpy(numbers).to(device),
        keys=torch.from_numpy(keys).to(device),
        rates=_column(rates, device),
        hyper={name: _column(values, device) for name, values in columns.items()},
        taken=torch.from_numpy(before).to(device=device, dtype=torch.float64).unsqueeze(-1),
        clip=_column([c if c else np.inf for c in clips], device) if any(clips) else None,
        ema=_column(emas, device) if emas[0] is not None else None,
    )


def _column(values: Any, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32, device=device).unsqueeze(-1)
