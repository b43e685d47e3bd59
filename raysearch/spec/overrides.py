"""Settings of a spec that replace those of its file: `--set strategy.samples=50`, or a mapping of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raysearch.core.values import show
from raysearch.core.yaml_io import read_yaml
from raysearch.errors import LocatedError, SpecError


def apply_overrides(settings: dict[str, Any], overrides: Sequence[str] | Mapping[str, Any]) -> None:
    """Changes `settings` in place; groups on the way are made where they are missing.

    Raises:
        SpecError: for what is not `path=value`, and for a path through a value that has no members.
    """
    for path, value in pairs_of(overrides).items():
        *groups, last = _keys_of(path, settings)
        into = settings
        for depth, group in enumerate(groups, 1):
            below = into.get(group)
            if group == "strategy" and depth == 1 and isinstance(below, str):
                below = {"name": below}
            if below is not None and not isinstance(below, dict):
                at = ".".join(groups[:depth])
                raise LocatedError(path, f"cannot be set: {at} is {show(below)}, which has no members")
            into[group] = into = below if below is not None else {}
        into[last] = value


def _keys_of(path: str, settings: Mapping[str, Any]) -> list[str]:
    """The keys along a dotted path, of which some have dots of their own: `space.trainer.lr`.

    What a configuration holds (baseline, priors) is named as in the space.
    """
    parts = path.split(".")
    keys: list[str] = []
    into: Any = settings
    beside: Any = None
    while parts:
        known = [m for m in (into, beside) if isinstance(m, Mapping)]
        lengths = (n for n in range(len(parts), 1, -1) if any(".".join(parts[:n]) in m for m in known))
        length = next(lengths, 1)
        key = ".".join(parts[:length])
        if not keys and key in ("baseline", "priors"):
            beside = {key: settings.get("space")}
        into, beside = (m.get(key) if isinstance(m, Mapping) else None for m in (into, beside))
        keys.append(key)
        parts = parts[length:]
    return keys


def pairs_of(overrides: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Value by dotted path, of either form. Raises SpecError for what is not `path=value`."""
    return dict(overrides if isinstance(overrides, Mapping) else map(_split_override, overrides))


def _split_override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not all(path.strip().split(".")):
        raise SpecError(f"--set {text!r} is not of the form path=value, such as strategy.samples=50")
    return path.strip(), read_yaml(value, f"--set {path.strip()}")
