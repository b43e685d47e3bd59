"""Whether a fresh trial begins with the weights with which the trial before it ended."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch

LOOKED_AT = 8  # numbers of one parameter

Numbers = tuple[float, ...]


class Sample:
    """A few weights of an optimizer's first parameter that has a gradient, as they were at its first step."""

    __slots__ = ("_param", "first")

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        params = (p for group in optimizer.param_groups for p in group["params"])
        param = next((p for p in params if p.grad is not None and _is_plain(p)), None)
        self._param = None if param is None else weakref.ref(param)
        self.first: Numbers = () if param is None else _numbers(param)

    def moved_to(self) -> Numbers | None:
        """What they are now; None where they are what they were, or gone."""
        param = self._param() if self._param is not None else None
        now = _numbers(param) if param is not None else ()
        return now if now and now != self.first else None


class TrainedWeights:
    """What the optimizers of this trial and of the one before it were seen to train."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._ended: list[Numbers] = []  # the trial before

    def begin(self) -> None:
        """Another trial, or another life of one, is about to begin; its model has not been touched yet."""
        ends = [sample.moved_to() for sample in self._samples]
        self._ended = [numbers for numbers in ends if numbers is not None]
        self._samples = []

    def meet(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer takes its first step."""
        self._samples.append(Sample(optimizer))

    @property
    def are_the_last_ones(self) -> bool:
        """Whether an optimizer began with the weights with which one of the trial before ended."""
        return any(sample.first in self._ended for sample in self._samples)


def _is_plain(param: torch.Tensor) -> bool:
    """Whether its numbers lie here: a part of a sharded one would have to be fetched from other processes."""
    is_dense = param.layout is torch.strided and param.device.type != "meta"
    return type(param) in (torch.nn.Parameter, torch.Tensor) and is_dense


def _numbers(param: torch.Tensor) -> Numbers:
    values: Sequence[float] = param.detach().reshape(-1)[:LOOKED_AT].tolist()
    return tuple(values)
