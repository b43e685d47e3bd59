"""Plain values: what a configuration may hold, when two are the same, and how they are written.

A value travels through YAML, JSON and the journal, so it is None, a bool, a number, text, or a list
or dict of those. Anything else (a class, a function, a tensor) cannot be stored and is refused.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import numbers
from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from raysearch.errors import SpecError

DEPTH_MAX = 60  # of lists and mappings inside one another
WHOLE_MAX = 2**1024  # the largest float is just below it


def check_depth(value: Any) -> None:
    """Raises SpecError where more than DEPTH_MAX lists and mappings stand inside one another."""
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        inner = {id(part): part for one in level for part in _members(one)}
        level = [part for part in inner.values() if isinstance(part, (Mapping, list, tuple))]
        if not level:
            return
    raise SpecError(f"more than {DEPTH_MAX} lists and mappings stand inside one another")


def plain(value: Any, depth: int = 0) -> Any:
    """`value` with NumPy scalars as Python ones and tuples as lists, as it will be read back later.

    Of classes derived from int, float and text the bare value is kept.

    Raises:
        SpecError: for what YAML and JSON cannot hold, a member of an Enum too; for NaN, infinities and whole
            numbers beyond the largest float; for text that is not Unicode; for what is nested too deeply.
    """
    if depth > DEPTH_MAX:
        check_depth([value])
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, enum.Enum):
        raise SpecError(
            f"{value!r} is a member of an Enum, which cannot be stored; use its value ({value.value!r}), and "
            f"make {type(value).__name__} of it in the trainable"
        )
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _stored_text(str.__str__(value))
    if isinstance(value, int):
        if not -WHOLE_MAX < value < WHOLE_MAX:
            raise SpecError(f"{show(value)} is beyond 1.8e308, the largest number that is stored")
        return int.__int__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SpecError(f"{value} is not a finite number")
        return float.__float__(value)
    if isinstance(value, (list, tuple)):
        return [plain(v, depth + 1) for v in value]
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value):
        return {plain(k): plain(v, depth + 1) for k, v in value.items()}
    raise SpecError(
        f"{value!r} is a {type(value).__name__}, which cannot be stored; use text, numbers, true/false, "
        "null, or lists and mappings of those, and look the object up by its name in the trainable"
    )


def _stored_text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise SpecError(f"{text!r} cannot be stored as UTF-8: {error.reason}") from None
    return text


TUPLES = "tuples become lists, as files hold them; where the code needs one, write tuple(...) there"


def has_tuple(*values: Any) -> bool:
    """Whether a tuple stands somewhere in lists and mappings among `values`, themselves not counted."""
    inner = [v for value in values for v in _members(value)]
    return any(type(v) is not list and isinstance(v, tuple) for v in inner) or (
        bool(inner) and has_tuple(*inner)
    )


def _members(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def identity(value: Any) -> Hashable:
    """A key that is equal for values that mean the same: 5 is 5.0, but True is not 1; a tuple is a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return ("bool", bool(value))
    if isinstance(value, (list, tuple)):
        return ("list", *(identity(v) for v in value))
    if isinstance(value, Mapping):
        return ("dict", frozenset((k, identity(v)) for k, v in value.items()))
    return ("number", value) if is_number(value) else ("other", value)


def exact(value: Any) -> Hashable:
    """A key like `identity`, but 1 and 1.0 differ, as they do in code that looks at a number's type."""
    if isinstance(value, (list, tuple)):
        return ("list", *(exact(v) for v in value))
    if isinstance(value, Mapping):
        return ("dict", frozenset((k, exact(v)) for k, v in value.items()))
    whole = isinstance(value, numbers.Integral) and is_number(value)
    return ("whole", int(value)) if whole else identity(value)


def same(a: Any, b: Any) -> bool:
    """Whether two plain values mean the same; see `identity`."""
    return identity(a) == identity(b)


def is_number(value: Any) -> bool:
    """Whether `value` is an int or float (NumPy's too), and not a bool."""
    if type(value) is float or type(value) is int:
        return True
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def as_number(value: Any, what: str) -> float:
    """`value` as a finite float; text such as "1e-4" (a string in YAML 1.1) is read as the number.

    Raises:
        SpecError: naming `what` and the value.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise SpecError(f"{what} must be a number, not {value!r}") from None
    if not is_number(value):
        raise SpecError(f"{what} must be a number, not {show(value)}")
    if isinstance(value, int) and not -WHOLE_MAX < value < WHOLE_MAX:
        raise SpecError(f"{what} must be a number up to 1.8e308, not {show(value)}")
    if not math.isfinite(value):
        raise SpecError(f"{what} must be a finite number, not {float(value)}")
    return float(value)


def as_integer(value: Any, what: str) -> int:
    """`value` as an int of at most 53 bits; 5.0 and "5" are taken as 5.

    Raises:
        SpecError: naming `what` and the value.
    """
    number = as_number(value, what)
    if number != math.floor(number):
        raise SpecError(f"{what} must be an integer, not {show(number)}")
    if abs(number) > 2**53:
        raise SpecError(f"{what} must lie between -2**53 and 2**53, not {value}")
    return int(number)


def with_plain_numbers(recipe: Any) -> None:
    """Makes the numbers among a frozen dataclass's settings Python's own: NumPy's, and of derived classes."""
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name, None)
        if isinstance(value, np.generic):
            object.__setattr__(recipe, field.name, value.item())
        elif isinstance(value, int) and not isinstance(value, bool):
            object.__setattr__(recipe, field.name, int(value))


def fresh(value: Any) -> Any:
    """`value` itself, or a copy where a caller could change it: dicts, lists, tuples and sets, at any depth.

    Anything else in them, such as a tensor or a reference to an object of Ray's, stays the same object.
    """
    if isinstance(value, dict):
        return {k: fresh(v) for k, v in value.items()}
    if isinstance(value, list):
        return [fresh(v) for v in value]
    if type(value) is tuple:
        return tuple(fresh(v) for v in value)
    return set(value) if isinstance(value, set) else value


def show(value: Any) -> str:
    """`value` as a person writes it: 1e-4 rather than 0.0001, text in quotes."""
    if isinstance(value, np.generic):
        value = value.item()
    if (
        isinstance(value, int) and not -WHOLE_MAX < value < WHOLE_MAX
    ):  # Python refuses to write very long ones
        return f"{'-' if value < 0 else ''}2**{value.bit_length() - 1} and more"
    if not isinstance(value, float):
        return repr(value)
    if value and math.isfinite(value) and not 1e-3 <= abs(value) < 1e7:
        return scientific(value)
    return repr(value)


def scientific(value: float) -> str:
    """The shortest exact form with an exponent: 1e-4, 2.5e-7."""
    sign, digits, shift = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    mantissa = text[0] + (f".{text[1:]}" if text[1:] else "")
    return f"{'-' if sign else ''}{mantissa}e{int(shift) + len(text) - 1}"


def show_all(values: Sequence[Any], limit: int = 12) -> str:
    """`'sgd', 'adamw'`: the first `limit` values, with how many more there are."""
    text = ", ".join(show(v) for v in values[:limit])
    return text if len(values) <= limit else f"{text}, ... ({len(values)} in all)"
