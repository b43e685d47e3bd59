"""Which dimensions of a model's parameters grow with its width: found by comparing a base with a delta."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from raysearch.errors import SpecError
from raysearch.torch.scaling.modules import Readout

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")  # a part of a dotted name that is a number


class Role(str, Enum):
    """What a parameter does, by which of its dimensions grow with the width."""

    INPUT = "input"  # from something of fixed size to the width: first layers, embeddings, places
    HIDDEN = "hidden"  # from width to width
    OUTPUT = "output"  # from the width to something of fixed size
    READOUT = "readout"  # likewise, in a `Readout`
    VECTOR = "vector"  # biases and gains as long as the width
    FIXED = "fixed"  # nothing grows


class Owned(NamedTuple):
    """A parameter, and the module that it is a direct parameter of."""

    param: Tensor
    module: nn.Module


@dataclass(frozen=True, slots=True)
class Shape:
    """A parameter beside its counterpart in the base.

    Attributes:
        base: the counterpart's name.
        grows_in, grows_out: how many times as many inputs and outputs it has as in the base; 1 for the same.
        count: how many times as many parameters of its kind the target has as the base.
    """

    name: str
    base: str
    role: Role
    grows_in: float
    grows_out: float
    count: float


def shapes_of(target: nn.Module, base: nn.Module, delta: nn.Module, roles: Mapping[str, Role]) -> list[Shape]:
    """The parameters of `target` beside those of `base`, in the order of `target.named_parameters()`.

    Raises:
        SpecError: the models differ in more than their width and the number of their blocks.
    """
    known, other, wanted = owned(base), owned(delta), owned(target)
    growing = {name: _growing(name, known, other) for name in known}
    if not any(growing.values()):
        raise SpecError(
            "base and delta have the same shapes: give a delta of another width, such as twice as wide"
        )
    if unknown := sorted(set(roles) - set(wanted)):
        raise SpecError(f"roles: the model has no parameter {unknown[0]!r}; its parameters: {_some(wanted)}")
    pairs = {name: _counterpart(name, one.param, known, growing) for name, one in wanted.items()}
    counts_target = _counts(pairs, growing, known)
    counts_base = _counts({name: name for name in known}, growing, known)
    found = []
    for name, one in wanted.items():
        counterpart = pairs[name]
        role = roles.get(name) or _role(one, growing[counterpart])
        grows_in, grows_out = _growth(role, one, known[counterpart].param, growing[counterpart])
        kind = _kind(name, counterpart, growing, known)
        count = counts_target[kind] / counts_base.get(kind, counts_target[kind])
        found.append(Shape(name, counterpart, role, grows_in, grows_out, count))
    return found


def owned(model: nn.Module) -> dict[str, Owned]:
    """name -> parameter and its module, each parameter once, as in `named_parameters`."""
    found: dict[str, Owned] = {}
    seen: set[int] = set()
    for path, module in model.named_modules():
        for own, param in module.named_parameters(recurse=False):
            if id(param) not in seen:
                seen.add(id(param))
                found[f"{path}.{own}" if path else own] = Owned(param, module)
    return found


def form(name: str) -> str:
    """A dotted name with `*` for the numbers in it: `blocks.3.fc.weight` is `blocks.*.fc.weight`."""
    return _NUMBER.sub("*", name)


def _growing(name: str, base: Mapping[str, Owned], delta: Mapping[str, Owned]) -> tuple[int, ...]:
    """The dimensions in which a parameter of the base differs from that of the delta."""
    if name not in delta:
        raise SpecError(
            f"delta has no parameter {name!r}, which base has: delta must be the base in another width"
        )
    one, other = base[name].param.shape, delta[name].param.shape
    if len(one) != len(other):
        raise SpecError(f"{name}: {len(one)} dimensions in base, {len(other)} in delta; they must agree")
    return tuple(d for d, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)


def _counterpart(
    name: str, param: Tensor, base: Mapping[str, Owned], growing: Mapping[str, Sequence[int]]
) -> str:
    """The name in the base of the parameter that is like this one but for its width."""

    def fits(other: str) -> bool:
        old, dims = base[other].param.shape, growing[other]
        same = len(old) == param.ndim
        return same and all(d in dims or old[d] == param.shape[d] for d in range(param.ndim))

    if name in base and fits(name):
        return name
    alike = [other for other in base if form(other) == form(name) and fits(other)]
    if not alike:
        raise SpecError(
            f"{name}: shape {tuple(param.shape)} has no counterpart in base, which has {_some(base)}. The "
            "models may differ in width, and in the number of blocks of a ModuleList or Sequential"
        )
    return min(alike, key=lambda other: len(growing[other]))  # the one with the most sizes in common


def _kind(
    name: str, counterpart: str, growing: Mapping[str, tuple[int, ...]], base: Mapping[str, Owned]
) -> tuple[object, ...]:
    dims = growing[counterpart]
    fixed = tuple(size for d, size in enumerate(base[counterpart].param.shape) if d not in dims)
    return form(name), dims, fixed


def _counts(
    pairs: Mapping[str, str], growing: Mapping[str, tuple[int, ...]], base: Mapping[str, Owned]
) -> dict[tuple[object, ...], int]:
    counts: dict[tuple[object, ...], int] = {}
    for name, counterpart in pairs.items():
        kind = _kind(name, counterpart, growing, base)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _sides(one: Owned) -> tuple[int | None, int | None]:
    """(dimension of the outputs, of the inputs) of a weight; None for inputs that never grow."""
    if isinstance(one.module, nn.Embedding):
        return 1, None
    return (1, 0) if isinstance(one.module, _ConvTransposeNd) else (0, 1)


def _role(one: Owned, growing: Sequence[int]) -> Role:
    out, fan_in = _sides(one)
    if not growing:
        return Role.FIXED
    if one.param.ndim == 1:
        return Role.VECTOR
    if len(growing) > 2 or any(d not in (out, fan_in) for d in growing):
        raise SpecError(
            f"a parameter of shape {tuple(one.param.shape)} in {type(one.module).__name__} grows in "
            f"dimensions {list(growing)}; the rules are for inputs and outputs that grow"
        )
    if len(growing) == 2:
        return Role.HIDDEN
    is_linear = isinstance(one.module, (nn.Linear, _ConvNd, nn.Bilinear))
    if is_linear and growing[0] == fan_in:
        return Role.READOUT if isinstance(one.module, Readout) else Role.OUTPUT
    return Role.INPUT


def _growth(role: Role, one: Owned, base: Tensor, growing: Sequence[int]) -> tuple[float, float]:
    """(growth of the inputs, of the outputs)."""
    ratios = {d: one.param.shape[d] / base.shape[d] for d in growing}
    if role is Role.HIDDEN:
        out, fan_in = _sides(one)
        return ratios.get(fan_in, 1.0) if fan_in is not None else 1.0, ratios.get(
            out, 1.0
        ) if out is not None else 1.0
    ratio = max(ratios.values(), default=1.0)
    return (ratio, 1.0) if role in (Role.OUTPUT, Role.READOUT) else (1.0, ratio)


def check_ties(model: nn.Module) -> None:
    """Raises SpecError where an output layer shares an embedding's weight and is no `Readout`."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for path, module in model.named_modules():
        if (
            isinstance(module, nn.Linear)
            and not isinstance(module, Readout)
            and id(module.weight) in embeddings
        ):
            raise SpecError(
                f"{path}.weight is an embedding's too: as an embedding it must stay as large as it is, as an "
                f"output it must shrink with the width. Make {path} a raysearch.torch.scaling.Readout"
            )


def _some(params: Mapping[str, Owned]) -> str:
    shown = [f"{name} {tuple(one.param.shape)}" for name, one in list(params.items())[:6]]
    return ", ".join(shown) + (", ..." if len(params) > len(shown) else "")
