"""Rows: the state of many models of one structure, a row a model.

All parameters of a model lie side by side in one row, and so does each vector of its optimizer. A step of
the optimizer is then a handful of operations for any model, and a pause, a resume or a copy of a
model is the copy of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class RowPart:
    """Where a parameter lies in a row."""

    name: str
    shape: tuple[int, ...]
    start: int
    size: int


class RowLayout:
    """Where each trained parameter of a module lies; frozen parameters are kept with the buffers."""

    def __init__(self, module: nn.Module) -> None:
        self.parts: list[RowPart] = []
        self.kept: dict[str, Tensor] = {name: b.detach() for name, b in module.named_buffers()}
        self.buffers = tuple(self.kept)  # which a step may change
        at = 0
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                self.kept[name] = parameter.detach()
                continue
            self.parts.append(RowPart(name, tuple(parameter.shape), at, parameter.numel()))
            at += parameter.numel()
        self.size = at

    def row_of(self, module: nn.Module) -> ModelRow:
        """The module's values, on the CPU."""
        values = dict(module.named_parameters())
        flat = [values[part.name].detach().reshape(-1).float() for part in self.parts]
        others = {**dict(module.named_buffers()), **values}
        kept = {name: others[name].detach().clone().cpu() for name in self.kept}
        return ModelRow(torch.cat(flat).cpu() if flat else torch.zeros(0), {}, kept)


@dataclass(slots=True)
class ModelRow:
    """One model's state, on the CPU.

    Attributes:
        parameters: (P,).
        vectors: of the optimizer, and "ema" where the weights are averaged: name -> (P,); what is missing
            begins anew.
        kept: buffers and frozen parameters by name.
    """

    parameters: Tensor
    vectors: dict[str, Tensor]
    kept: dict[str, Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        tensors = (self.parameters, *self.vectors.values(), *self.kept.values())
        return sum(t.nbytes for t in tensors)


class Rows:
    """Room for `capacity` models on a device.

    Attributes:
        parameters, gradients, room: (capacity, P).
        vectors: name -> (capacity, P).
        kept: name -> (capacity, ...), the buffers and frozen parameters.
    """

    def __init__(
        self, layout: RowLayout, vectors: Iterable[str], capacity: int, device: torch.device
    ) -> None:
        self.layout = layout
        self.device = device
        self.capacity = capacity
        self.parameters, self.gradients, self.room = (self._empty(capacity) for _ in range(3))
        self.vectors = {name: self._empty(capacity) for name in vectors}
        self.kept = {
            name: torch.zeros(capacity, *like.shape, dtype=like.dtype, device=device)
            for name, like in layout.kept.items()
        }

        self._views: tuple[int, int, list[Tensor]] | None = None  # of the gradients of these rows

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        tensors = (self.parameters, self.gradients, self.room, *self.vectors.values(), *self.kept.values())
        return sum(tensor.nbytes for tensor in tensors)

    def _empty(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.layout.size, device=self.device)

    def put(self, at: int, row: ModelRow) -> None:
        """Makes row `at` this model."""
        self.parameters[at].copy_(row.parameters)
        for name, vector in self.vectors.items():
            if name in row.vectors:
                vector[at].copy_(row.vectors[name])
            elif name == "ema":
                vector[at].copy_(row.parameters)
            else:
                vector[at].zero_()
        for name, value in self.kept.items():
            value[at].copy_(row.kept[name])

    def take(self, at: Sequence[int]) -> list[ModelRow]:
        """Copies of these rows, on the CPU."""
        chosen = torch.tensor(at, device=self.device)
        parameters = self._copied(self.parameters, chosen)
        vectors = {name: self._copied(v, chosen) for name, v in self.vectors.items()}
        kept = {name: self._copied(v, chosen) for name, v in self.kept.items()}
        return [
            ModelRow(
                parameters[i].clone(),
                {name: v[i].clone() for name, v in vectors.items()},
                {name: v[i].clone() for name, v in kept.items()},
            )
            for i in range(len(at))
        ]

    def _copied(self, value: Tensor, chosen: Tensor) -> Tensor:
        return value.index_select(0, chosen).cpu()

    def move(self, source: int, target: int) -> None:
        """Copies a row over another one."""
        for value in (self.parameters, *self.vectors.values(), *self.kept.values()):
            value[target].copy_(value[source])

    def grown(self, capacity: int) -> Rows:
        """The same rows with more room; raises what torch raises when there is no memory for it."""
        larger = Rows(self.layout, self.vectors, capacity, self.device)
        pairs = [(larger.parameters, self.parameters)]
        pairs += [(larger.vectors[name], v) for name, v in self.vectors.items()]
        pairs += [(larger.kept[name], v) for name, v in self.kept.items()]
        for new, old in pairs:
            new[: self.capacity].copy_(old)
        return larger

    def copied(self, first: int, stop: int) -> Rows:
        """Rows `first` to `stop` - 1 as rows of their own."""
        copy = Rows(self.layout, self.vectors, stop - first, self.device)
        copy.parameters.copy_(self.parameters[first:stop])
        for mine, theirs in ((copy.vectors, self.vectors), (copy.kept, self.kept)):
            for name, value in mine.items():
                value.copy_(theirs[name][first:stop])
        return copy

    def leaves(self, first: int, stop: int, of: Tensor | None = None) -> dict[str, Tensor]:
        """name -> (models, ...) views of the parameters of these rows, by the module's names."""
        values = (self.parameters if of is None else of)[first:stop]
        return {
            part.name: values[:, part.start : part.start + part.size].view(stop - first, *part.shape)
            for part in self.layout.parts
        }

    def put_gradients(self, first: int, stop: int, found: Sequence[Tensor]) -> None:
        """Keeps the gradients of these rows, (models, ...) each, in the order of the layout's parts."""
        if self._views is None or self._views[:2] != (first, stop):
            self._views = (first, stop, list(self.leaves(first, stop, self.gradients).values()))
        torch._foreach_copy_(self._views[2], list(found))

    def kept_of(self, first: int, stop: int) -> dict[str, Tensor]:
        """name -> (models, ...) views of what is kept beside the parameters."""
        return {name: value[first:stop] for name, value in self.kept.items()}


@torch.no_grad()
def load_into(module: nn.Module, row: ModelRow, layout: RowLayout, *, averaged: bool) -> None:
    """Gives a module the row's values; those of "ema", if it has them and `averaged` says so."""
    source = row.vectors["ema"] if averaged and "ema" in row.vectors else row.parameters
    values: Mapping[str, Tensor] = {
        **{p.name: source[p.start : p.start + p.size].view(p.shape) for p in layout.parts},
        **row.kept,
    }
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        tensor.copy_(values[name])
