"""Values of a config or an event as JSON can hold them, tuples marked, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from raysearch.errors import SpecError

TUPLE = "__tuple__"  # the key that marks a list as a tuple
_CACHED = 10_000  # entries of a cache before it is emptied


def plain(value: Any, where: str) -> Any:
    """`value` of the types that JSON has, tuples marked; numpy scalars become Python's.

    Raises:
        SpecError: it has none of the types that can be kept.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value) if not isinstance(value, str) else str.__str__(value)
    if isinstance(value, tuple):
        return {TUPLE: [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, Mapping):
        return {_plain_key(k, where): plain(v, f"{where}.{k}") for k, v in value.items()}
    kept = "numbers, strings, booleans, None, and lists, tuples and dicts of them"
    raise SpecError(
        f"{where} = {value!r}: a {type(value).__module__}.{type(value).__qualname__} cannot be kept in the"
        f" journal; allowed: {kept}. Pass a name or a number and make the object in the trainable"
    )


def _plain_key(name: Any, where: str) -> str:
    if not isinstance(name, str) or name == TUPLE:
        raise SpecError(f"{where}: the key {name!r} cannot be kept in the journal; keys are strings")
    return name


def dumps(value: Any) -> str:
    """Compact JSON text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def remember(cache: dict[Any, Any], key: Any, value: Any) -> Any:
    """Puts `value` into a cache, which is emptied when it is full, and returns it."""
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = value
    return value


def restored(value: Any) -> Any:
    """The value of which `plain` made this one."""
    if isinstance(value, list):
        return [restored(v) for v in value]
    if isinstance(value, dict):
        if TUPLE in value:
            return tuple(restored(v) for v in value[TUPLE])
        return {k: restored(v) for k, v in value.items()}
    return value


def memo(cache: dict[str, Any], text: str, parse: Callable[[str], Any]) -> Any:
    """`parse(text)`, from the cache where it has it."""
    found = cache.get(text)
    return remember(cache, text, parse(text)) if found is None else found
