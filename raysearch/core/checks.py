"""Checks of a recipe's settings: whole numbers and numbers in a range. A bool is neither."""

from __future__ import annotations

import math
import sys

from raysearch.errors import SpecError

MOST = sys.float_info.max


def is_whole(value: object) -> bool:
    """True for an int that is no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_whole(field: str, value: object, least: int, most: int | None = None) -> None:
    """Raises SpecError, naming the field and the range, unless `value` is a whole number in it."""
    top = math.inf if most is None else most
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= top:
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise SpecError(f"{field} = {_shown(value)} must be a whole number {allowed}")


def check_number(field: str, value: object, low: float, high: float = math.inf) -> None:
    """Raises SpecError, naming the field and the range, unless `value` is a finite number in it."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= min(high, MOST):
        up_to = "" if high == math.inf else f" and at most {high:g}"
        raise SpecError(f"{field} = {_shown(value)} must be a finite number of at least {low:g}{up_to}")


def _shown(value: object) -> str:
    from raysearch.core.values import show  # loads NumPy

    return show(value)
