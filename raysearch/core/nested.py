"""Mappings within mappings, such as configurations with groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def leaves(group: Mapping[Any, Any], within: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """What stands in a mapping and in those inside it: the keys that lead there, and the value.

    >>> [*leaves({"lr": 0.1, "optim": {"momentum": 0.9}, "none": {}})]
    [(('lr',), 0.1), (('optim', 'momentum'), 0.9)]
    """
    for key, value in group.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*within, key))
        else:
            yield (*within, key), value


def flat_names(group: Mapping[Any, Any], between: str) -> dict[str, Any]:
    """The values of `leaves` by their keys with `between` between them.

    >>> flat_names({"optim": {"lr": 0.1}}, "/")
    {'optim/lr': 0.1}
    """
    return {between.join(map(str, path)): value for path, value in leaves(group)}
