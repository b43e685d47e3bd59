"""Losses, gradients and metrics of several models of one structure at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from raysearch.fused.alone import check_loss
from raysearch.fused.functions import Replacing
from raysearch.fused.randomness import drawing
from raysearch.fused.stepping import Config, Describes
from raysearch.fused.structure import Structure, is_number


class Task(nn.Module):
    """One model with what is asked of it, as a module, so that its weights can be put in from outside."""

    def __init__(self, learner: Describes, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._learner = (learner,)  # in a tuple, so that a learner that is a module is no part of this one

    def forward(self, what: str, batch: Any, config: Config) -> Any:
        """The loss, or the metrics."""
        learner = self._learner[0]
        if what == "metrics":
            return dict(learner.metrics(self.model, batch))
        loss = learner.loss(self.model, batch, config)
        check_loss(loss)
        return loss


class LiftedConfig(Mapping[str, Any]):
    """A configuration in which numbers are tensors, one value a model."""

    def __init__(self, plain: Config, places: Mapping[str, int], numbers: Tensor) -> None:
        self._plain, self._places, self._numbers = plain, places, numbers

    def __getitem__(self, name: str) -> Any:
        place = self._places.get(name)
        return self._plain[name] if place is None else self._numbers[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What differs from model to model, besides batches: first dimension models.

    Attributes:
        weights: name -> (models, ...) trained parameters.
        kept: name -> (models, ...) buffers and frozen parameters.
        lifted: (models, places) values of the structure's lifted places.
        numbers: (models, entries) numbers of the configurations.
    """

    weights: Mapping[str, Tensor]
    kept: Mapping[str, Tensor]
    lifted: Tensor
    numbers: Tensor


class Engine:
    """Evaluates models of one structure, with one module of it as the form."""

    def __init__(
        self, learner: Describes, form: nn.Module, structure: Structure, config: Config, refused: frozenset[str]
    ) -> None:
        self.task = Task(learner, form)
        self._structure = structure
        self._plain = dict(config)
        names = [name for name, value in config.items() if is_number(value) and name not in refused]
        self.number_names: Sequence[str] = names
        self._places = {name: place for place, name in enumerate(names)}
        self._half = learner.precision == "bfloat16"

    def losses(self, inputs: Inputs, key: Tensor, batch: Any) -> Tensor:
        """(models,) losses of each model on its own batch."""
        self.task.train()
        return self._each(self._loss, (inputs.weights, inputs.kept, inputs.lifted, inputs.numbers, key, batch))  # type: ignore[no-any-return]

    @torch.no_grad()
    def metrics(self, inputs: Inputs, batch: Any) -> dict[str, Tensor]:
        """metric -> (models,) or (models, examples, ...) on one batch for all."""
        self.task.eval()
        args = (inputs.weights, inputs.kept, inputs.lifted, inputs.numbers)
        return self._each(self._metrics, args, batch)  # type: ignore[no-any-return]

    def _each(self, function: Any, args: tuple[Any, ...], *shared: Any) -> Any:
        """`function` of every model: vectorised, or plainly where there is one."""
        weights = args[0]
        if len(next(iter(weights.values()))) > 1:
            dims = (*[0] * len(args), *[None] * len(shared))
            return vmap(function, in_dims=dims, randomness="error")(*args, *shared)
        first = torch.utils._pytree.tree_map(lambda t: t[0], args)
        result = function(*first, *shared)
        return torch.utils._pytree.tree_map(lambda t: t.unsqueeze(0), result)

    def _loss(
        self, weights: Mapping[str, Tensor], kept: Mapping[str, Tensor], lifted: Tensor, numbers: Tensor, key: Tensor, batch: Any
    ) -> Tensor:
        with drawing(key):
            return self._called("loss", weights, kept, lifted, numbers, batch)  # type: ignore[no-any-return]

    def _metrics(
        self, weights: Mapping[str, Tensor], kept: Mapping[str, Tensor], lifted: Tensor, numbers: Tensor, batch: Any
    ) -> Any:
        return self._called("metrics", weights, kept, lifted, numbers, batch)

    def _called(
        self, what: str, weights: Mapping[str, Tensor], kept: Mapping[str, Tensor], lifted: Tensor, numbers: Tensor, batch: Any
    ) -> Any:
        values = {f"model.{name}": value for name, value in (*weights.items(), *kept.items())}
        config = LiftedConfig(self._plain, self._places, numbers)
        device = numbers.device.type
        half = torch.autocast(device, torch.bfloat16) if self._half else contextlib.nullcontext()
        with Replacing(), self._standing_in(lifted), half:
            return functional_call(self.task, values, (what, batch, config))

    @contextlib.contextmanager
    def _standing_in(self, lifted: Tensor) -> Iterator[None]:
        """The models' own numbers in the form's lifted places."""
        places = [(self.task.model.get_submodule(name), attr) for name, attr in self._structure.lifted]
        before = [getattr(module, attribute) for module, attribute in places]
        for i, (module, attribute) in enumerate(places):
            setattr(module, attribute, lifted[i])
        try:
            yield
        finally:
            for (module, attribute), value in zip(places, before, strict=True):
                setattr(module, attribute, value)
