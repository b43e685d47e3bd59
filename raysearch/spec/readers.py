"""Readers that several fields of a spec share: numbers in a range, and the members of a mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from raysearch.core.values import as_integer, as_number, show
from raysearch.errors import LocatedError, SpecError, located, unknown


def whole(least: int) -> Callable[[Any], int]:
    """A reader of whole numbers from `least`; it raises SpecError for anything else."""

    def read(value: Any) -> int:
        number = as_integer(value, "the value")
        if number < least:
            raise SpecError(f"must be a whole number from {least}, not {number}")
        return number

    return read


def positive(value: Any) -> float:
    """A number above zero. Raises SpecError for anything else."""
    if (number := as_number(value, "the value")) <= 0:
        raise SpecError(f"must be above zero, not {show(number)}")
    return number


def not_negative(value: Any) -> float:
    """A number from 0. Raises SpecError for anything else."""
    if (number := as_number(value, "the value")) < 0:
        raise SpecError(f"must not be negative: {show(number)}")
    return number


def members(value: Any, place: str, readers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """The members of a mapping, each read by its reader; None counts as not given.

    Raises:
        LocatedError: a member is unknown or wrong; names it below `place`.
        SpecError: `value` is no mapping.
    """
    if not isinstance(value, Mapping):
        raise SpecError(f"must be a mapping with {', '.join(readers)}, not {value!r}")
    for key in value:
        if key not in readers:
            raise LocatedError(f"{place}.{key}", unknown("field", key, readers))
    read: dict[str, Any] = {}
    for key, member in value.items():
        if member is not None:
            with located(f"{place}.{key}"):
                read[key] = readers[key](member)
    return read
