"""Which models can be trained together: those that differ in nothing but numbers.

Two models share a structure if their modules, shapes and settings are alike. A number that a module holds
(the rate of a dropout, a slope, a temperature) may differ where the module works with a tensor in its
place: it is *lifted*, one value a model. Whether it does is tried out; see fusable.py.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.core.values import is_number
from raysearch.fused.contract import PackMember

Attribute = tuple[type, str]  # of a module: its class, and the attribute's name
_INTERNAL = frozenset(vars(nn.Module())) | {"training"}
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True, slots=True)
class Structure:
    """What models that train together have in common.

    Attributes:
        key: equal for two models that fit.
        lifted: places of the numbers that may differ: (name of the submodule, attribute).
    """

    key: Hashable
    lifted: tuple[tuple[str, str], ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, slots=True)
class Lifting:
    """Which numbers may differ within a structure.

    Attributes:
        attributes: of modules, besides the rates of dropout.
        refused: names of config entries that the loss needs as plain numbers.
    """

    attributes: frozenset[Attribute] = frozenset()
    refused: frozenset[str] = frozenset()


def structure_of(module: nn.Module, member: PackMember, lifting: Lifting) -> Structure:
    """The structure of a model with this configuration."""
    shapes = [(name, tuple(p.shape), p.dtype, p.requires_grad) for name, p in module.named_parameters()]
    shapes += [(name, tuple(b.shape), b.dtype, False) for name, b in module.named_buffers()]
    lifted: list[tuple[str, str]] = []
    settings: list[Hashable] = []
    for name, sub in module.named_modules():
        settings.append((name, type(sub)))
        for attribute, value in _attributes(sub):
            if isinstance(value, float) and _is_lifted(sub, attribute, lifting):
                lifted.append((name, attribute))
            else:
                settings.append((name, attribute, _frozen(value)))
    key = (tuple(shapes), tuple(settings), *_kind(member, lifting))
    return Structure(key, tuple(lifted))


def _kind(member: PackMember, lifting: Lifting) -> tuple[Hashable, ...]:
    """Of numbers only the names: a loss may ask for one that other configurations do not have."""
    config = member.config
    lifted = frozenset(k for k, v in config.items() if is_number(v) and k not in lifting.refused)
    texts = {k: v for k, v in config.items() if k not in lifted}
    return member.rule.kind, member.batch_size, member.ema is None, lifted, _frozen(texts)


def lifted_values(module: nn.Module, structure: Structure) -> list[float]:
    """The module's own values at the lifted places."""
    return [float(getattr(module.get_submodule(name), attribute)) for name, attribute in structure.lifted]


def differing(one: nn.Module, other: nn.Module) -> set[Attribute]:
    """Attributes that are numbers and differ between two models of the same make."""
    pairs = zip(one.modules(), other.modules(), strict=False)
    return {
        (type(a), name)
        for a, b in pairs
        if type(a) is type(b)
        for name, value in _attributes(a)
        if isinstance(value, float) and getattr(b, name, value) != value
    }


def parting(one: nn.Module, other: nn.Module) -> set[Attribute]:
    """Attributes that are no numbers and keep two models of the same make apart."""
    return {
        (type(a), name)
        for a, b in zip(one.modules(), other.modules(), strict=False)
        if type(a) is type(b)
        for name, value in _attributes(a)
        if not isinstance(value, float) and _frozen(value) != _frozen(getattr(b, name, None))
    }


def _is_lifted(module: nn.Module, attribute: str, lifting: Lifting) -> bool:
    is_rate = isinstance(module, _DROPOUTS) and attribute == "p" and module.p > 0  # without it no draws
    return is_rate or (type(module), attribute) in lifting.attributes


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in vars(module).items() if name not in _INTERNAL)


def _frozen(value: Any) -> Hashable:
    """Something hashable that is equal only for equal values."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.dtype, torch.device, type)):
        return (type(value).__name__, value)
    if isinstance(value, Mapping):
        return ("mapping", *sorted((repr(k), _frozen(v)) for k, v in value.items()))
    if isinstance(value, (list, tuple, set, frozenset)):
        inner = [_frozen(v) for v in value]
        return (
            type(value).__name__,
            *(sorted(inner, key=repr) if isinstance(value, (set, frozenset)) else inner),
        )
    if isinstance(value, nn.Parameter):
        return ("parameter", tuple(value.shape))
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return ("tensor", tuple(value.shape), value.dtype, hashlib.sha1(content).hexdigest())
    return _named(value)


def _named(value: Any) -> Hashable:
    name = getattr(value, "__qualname__", None)
    if name is not None and "<" not in name and not isinstance(value, MethodType):
        return ("named", getattr(value, "__module__", ""), name)
    try:
        return ("pickled", type(value).__qualname__, hashlib.sha1(pickle.dumps(value)).hexdigest())
    except Exception:  # noqa: BLE001  (an object's own pickling may raise anything)
        return _Itself(value)


class _Itself:
    """Equal only to the same object, which is kept: another one at its address would pass for it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)
