"""Losses, gradients and metrics of several models of one structure at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from raysearch.core.values import is_number
from raysearch.fused.contract import Config, Describes
from raysearch.fused.data import mapped
from raysearch.fused.metrics import check_loss, metrics_of
from raysearch.fused.packed_state import RowLayout
from raysearch.fused.rng import drawing
from raysearch.fused.structure import Structure
from raysearch.fused.torch_overrides import Replacing


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
        weights: (models, ...) trained parameters, in the order of the layout.
        kept: (models, ...) buffers and frozen parameters, in the order of the layout.
        lifted: (models, places) values of the structure's lifted places.
        numbers: (models, entries) numbers of the configurations.
    """

    weights: Sequence[Tensor]
    kept: Sequence[Tensor]
    lifted: Tensor
    numbers: Tensor

    @property
    def values(self) -> tuple[Tensor, ...]:
        """Weights, then what is kept."""
        return (*self.weights, *self.kept)


class Engine:
    """Evaluates models of one structure, with one module of it as the form into which weights are put.

    This is `torch.func.functional_call` under `vmap`, with what can be found out once found out once: a
    step of small models takes little longer than this machinery.
    """

    def __init__(
        self,
        learner: Describes,
        form: nn.Module,
        layout: RowLayout,
        structure: Structure,
        config: Config,
        refused: frozenset[str],
    ) -> None:
        self._learner, self._form = learner, form
        self._config = dict(config)
        names = [name for name, value in config.items() if is_number(value) and name not in refused]
        self.number_names: Sequence[str] = names
        self._numbers = {name: place for place, name in enumerate(names)}
        self._places = _owners(form, [*(part.name for part in layout.parts), *layout.kept])
        self._lifted = [(form.get_submodule(name), attribute) for name, attribute in structure.lifted]
        self._half = learner.precision == "bfloat16"

    def losses(self, inputs: Inputs, key: Tensor, batch: Any) -> Tensor:
        """(models,) losses of each model on its own batch; call `train` before."""
        leaves: list[Tensor] = []
        mapped(leaves.append, batch)

        def loss_of(lifted: Tensor, numbers: Tensor, key: Tensor, *rest: Tensor) -> Tensor:
            own = iter(rest[: len(leaves)])
            with drawing(key), self._as_one(lifted, rest[len(leaves) :]):
                config = LiftedConfig(self._config, self._numbers, numbers)
                loss = self._learner.loss(self._form, mapped(lambda _: next(own), batch), config)
            check_loss(loss)
            return loss

        return _each(loss_of, inputs.lifted, inputs.numbers, key, *leaves, *inputs.values)  # type: ignore[no-any-return]

    def train(self) -> None:
        """Has the form behave as in training, until metrics are asked for."""
        self._form.train()

    @torch.no_grad()
    def metrics(self, inputs: Inputs, batch: Any) -> dict[str, Tensor]:
        """metric -> (models,) or (models, examples, ...) on one batch for all."""
        self._form.eval()

        def found(lifted: Tensor, *values: Tensor) -> dict[str, Any]:
            with self._as_one(lifted, values):
                return metrics_of(self._learner, self._form, batch)

        return _each(found, inputs.lifted, *inputs.values)  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def _as_one(self, lifted: Tensor, values: Sequence[Tensor]) -> Iterator[None]:
        """The form as one of the models: with its weights, and its numbers in the lifted places."""
        before = [getattr(module, attribute) for module, attribute in self._lifted]
        for i, (module, attribute) in enumerate(self._lifted):
            setattr(module, attribute, lifted[i])
        for owners, value in zip(self._places, values, strict=True):
            for owner, name in owners:
                owner[name] = value
        half = torch.autocast(lifted.device.type, torch.bfloat16) if self._half else contextlib.nullcontext()
        try:
            with Replacing(), half:
                yield
        finally:
            for (module, attribute), value in zip(self._lifted, before, strict=True):
                setattr(module, attribute, value)


def _each(function: Any, *args: Tensor) -> Any:
    """`function` of every model: vectorised, or plainly where there is one. First dimension models."""
    if len(args[0]) > 1:
        return vmap(function, randomness="error")(*args)
    result = function(*(tensor[0] for tensor in args))
    if isinstance(result, dict):
        return {k: v.unsqueeze(0) if isinstance(v, Tensor) else v for k, v in result.items()}
    return result.unsqueeze(0)


def _owners(form: nn.Module, names: Sequence[str]) -> list[list[tuple[dict[str, Any], str]]]:
    """For each name the dicts in which modules hold the tensor, and its key (several for tied weights)."""
    tensors = {**dict(form.named_parameters()), **dict(form.named_buffers())}
    found: dict[int, list[tuple[dict[str, Any], str]]] = {}
    dicts = [held for module in form.modules() for held in (module._parameters, module._buffers)]
    for held in dicts:
        for key in (key for key, tensor in held.items() if tensor is not None):
            found.setdefault(id(held[key]), []).append((held, key))
    return [found[id(tensors[name])] for name in names]
