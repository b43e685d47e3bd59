"""Configs as the columns `shape` and `numbers`, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from raysearch.core.segment import Config
from raysearch.errors import SpecError
from raysearch.storage.journal.arrow_arrays import lists
from raysearch.storage.journal.plain import TUPLE, dumps, plain, remember, restored

_EXACT = 2**53  # integers up to here are exact as floats
_PLAIN = frozenset({float, int, str, bool, type(None)})


def list_column(rows: Sequence[Sequence[float]]) -> pa.ListArray:
    """A column with one list of numbers a row."""
    return lists(rows, np.array([*chain.from_iterable(rows)], np.float64))


class _TypePlan(NamedTuple):
    """How configs of one (names, types) are taken apart."""

    numbers: tuple[int, ...]  # positions
    integers: tuple[int, ...]
    constants: tuple[int, ...]
    text: str | None  # the shape, if there are no constants


_plans: dict[tuple[tuple[str, ...], tuple[type, ...]], _TypePlan | None] = {}
_shapes: dict[tuple[Any, ...], str] = {}


def encode_configs(configs: Sequence[Config]) -> tuple[list[str], pa.ListArray]:
    """Shapes and numbers. The usual case, all flat with the same names and only floats, column by column."""
    names = tuple(configs[0]) if configs else ()
    if names and all(tuple(config) == names for config in configs):
        columns = [*zip(*[config.values() for config in configs], strict=True)]
        kinds = [set(map(type, column)) for column in columns]
        if all(kind == {float} for kind in kinds):
            shape, _ = encode_config(configs[0])
            numbers = np.array(columns, np.float64).T.ravel()
            return [shape] * len(configs), lists(configs, numbers)
    encoded = [encode_config(config) for config in configs]
    return [shape for shape, _ in encoded], list_column([numbers for _, numbers in encoded])


def encode_config(config: Config) -> tuple[str, Sequence[float]]:
    """(shape, numbers). Raises SpecError, naming the entry, if a journal cannot keep this config."""
    names, values = tuple(config), tuple(config.values())
    types = tuple(map(type, values))
    key = (names, types)
    try:
        plan = _plans[key]
    except KeyError:
        plan = remember(_plans, key, _make_plan(names, types))
    if plan is None:
        return _encode_any(config)
    for i in plan.integers:
        if not -_EXACT <= values[i] <= _EXACT:
            return _encode_any(config)
    if plan.text is not None:
        return plan.text, values
    constants = (names, types, *[values[i] for i in plan.constants])
    text = _shapes.get(constants)
    if text is None:
        text = remember(_shapes, constants, _encode_any(config)[0])
    return text, [values[i] for i in plan.numbers]


def _make_plan(names: tuple[Any, ...], types: tuple[type, ...]) -> _TypePlan | None:
    """None if these entries need a look at each value."""
    if not _PLAIN.issuperset(types) or not all(type(name) is str for name in names):
        return None
    numbers = tuple(i for i, t in enumerate(types) if t in (float, int))
    integers = tuple(i for i in numbers if types[i] is int)
    constants = tuple(i for i in range(len(types)) if i not in numbers)
    entries = [[name, "i" if t is int else "f"] for name, t in zip(names, types, strict=True)]
    return _TypePlan(numbers, integers, constants, None if constants else dumps(entries))


def _encode_any(config: Config) -> tuple[str, list[float]]:
    entries: list[list[Any]] = []
    numbers: list[float] = []
    for name, raw in config.items():
        if not isinstance(name, str):
            raise SpecError(f"config: the name {name!r} is of type {type(name).__name__}; names are strings")
        _take_apart((str(name),), plain(raw, f"config.{name}"), entries, numbers)
    return dumps(entries), numbers


def _take_apart(path: tuple[str, ...], value: Any, entries: list[list[Any]], numbers: list[float]) -> None:
    """Adds the entries and numbers of what stands at `path` in a config."""
    name = path[0] if len(path) == 1 else path
    if type(value) is float or (type(value) is int and -_EXACT <= value <= _EXACT):
        entries.append([name, "f" if type(value) is float else "i"])
        numbers.append(value)
    elif isinstance(value, dict) and value and TUPLE not in value:
        for key, inner in value.items():
            _take_apart((*path, key), inner, entries, numbers)
    else:
        entries.append([name, "=", value])


@dataclass(frozen=True, slots=True)
class ConfigShape:
    """A parsed `shape`.

    Attributes:
        names: top-level names, in order.
        base: the config with its constants in place and None where the numbers go.
        numbers: (path, whether it is an integer) of each of the numbers, in their order.
        floats_only: the config is flat and of floats.
        nested: the config holds what can be changed, so `base` must be copied deeply.
        flat: names of the numbers, and of the integers among them, where all are at the top level.
    """

    names: tuple[str, ...]
    base: Mapping[str, Any]
    numbers: tuple[tuple[tuple[str, ...], bool], ...]
    floats_only: bool
    nested: bool
    flat: tuple[tuple[str, ...], tuple[str, ...]] | None

    def config(self, numbers: Sequence[float]) -> dict[str, Any]:
        """The config with these numbers."""
        if self.floats_only:
            return dict(zip(self.names, numbers, strict=True))
        config: dict[str, Any] = _copy(self.base) if self.nested else dict(self.base)
        if self.flat is not None:
            names, integers = self.flat
            config.update(zip(names, numbers, strict=True))
            for name in integers:
                config[name] = int(config[name])
            return config
        for (path, integer), number in zip(self.numbers, numbers, strict=True):
            _put(config, path, int(number) if integer else number)
        return config

    def constants(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """(path, value) of every entry that is not among the numbers."""
        numbers = {path for path, _ in self.numbers}
        return ((path, value) for path, value in _leaves((), self.base) if path not in numbers)


def parse_shape(text: str) -> ConfigShape:
    """What `text`, a value of the column `shape`, says."""
    base: dict[str, Any] = {}
    numbers = []
    for name, kind, *constant in json.loads(text):
        path = (name,) if isinstance(name, str) else tuple(name)
        _put(base, path, restored(constant[0]) if kind == "=" else None)
        if kind != "=":
            numbers.append((path, kind == "i"))
    return ConfigShape(
        names=tuple(base),
        base=base,
        numbers=tuple(numbers),
        floats_only=len(numbers) == len(base) and all(len(path) == 1 and not i for path, i in numbers),
        nested=any(isinstance(value, (list, dict, tuple)) for value in base.values()),
        flat=_flat(numbers),
    )


def _flat(
    numbers: Sequence[tuple[tuple[str, ...], bool]],
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    if any(len(path) > 1 for path, _ in numbers):
        return None
    return tuple(path[0] for path, _ in numbers), tuple(path[0] for path, is_int in numbers if is_int)


def _put(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        config = config.setdefault(name, {})
    config[path[-1]] = value


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for name, inner in value.items():
            yield from _leaves((*path, name), inner)
    else:
        yield path, value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(v) for v in value)
    return value
