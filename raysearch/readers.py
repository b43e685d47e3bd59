"""Search spaces of other libraries, read as they are: Ray Tune, ConfigSpace, W&B sweeps; and the way back.

Nothing is imported unless the object handed in comes from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysearch.errors import SpecError
from raysearch.space import Space


def read_space(value: Any) -> tuple[Space, list[str]]:
    """The space that `value` describes, and notes on what was understood differently."""
    if isinstance(value, Space):
        return value, []
    if isinstance(value, Mapping):
        return Space.from_dict(value), []
    raise SpecError(f"{value!r} is no search space")


def is_sweep(settings: Mapping[str, Any]) -> bool:
    """Whether a file's settings are a W&B sweep."""
    return "parameters" in settings


def sweep_to_spec(settings: dict[str, Any]) -> list[str]:
    return []
