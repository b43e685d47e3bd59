"""Amounts with units, as people write them: "10m", "2h", "1h30m", "50 GB", "1.5 TiB"."""

from __future__ import annotations

import math
import re
from typing import Any

from raysearch.core.values import as_number, is_number
from raysearch.errors import SpecError

SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
BYTES = {
    "b": 1,
    **{f"{p}b": 1000**k for k, p in enumerate("kmgtp", 1)},
    **{f"{p}ib": 1024**k for k, p in enumerate("kmgtp", 1)},
}
_AMOUNT = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)")


def seconds(value: Any) -> float:
    """Seconds in a number, or text such as "90s", "10m", "2h", "1h30m", "1d".

    Raises:
        SpecError: for anything else, and for what is not above zero.
    """
    return _amount(value, SECONDS, "s", 'a time: seconds, or text such as "90s", "10m", "2h", "1h30m"')


def size(value: Any) -> int:
    """Bytes in a whole number, or text such as "50 GB" (10^9), "50 GiB" (2^30).

    Raises:
        SpecError: for anything else, and for what is not above zero.
    """
    what = 'a size: bytes, or text such as "500 MB", "50 GB", "2 TiB"'
    found = int(_amount(value, BYTES, "b", what))
    if found < 1:
        raise SpecError(f"{value!r} is less than a byte; give {what}")
    return found


def _amount(value: Any, units: dict[str, int], default: str, what: str) -> float:
    total = as_number(value, what) if is_number(value) else _read(value, units, default, what)
    if not math.isfinite(total) or total <= 0:
        raise SpecError(f"{value!r} must be above zero and finite; give {what}")
    return total


def _read(value: Any, units: dict[str, int], default: str, what: str) -> float:
    text = value.strip() if isinstance(value, str) else ""
    total, at = 0.0, 0
    while at < len(text):
        match = _AMOUNT.match(text, at)
        unit = match[2].lower() or default if match else ""
        if match is None or unit not in units:
            break
        total += float(match[1]) * units[unit]
        at = match.end() + len(text[match.end() :]) - len(text[match.end() :].lstrip())
    if not text or at < len(text):
        raise SpecError(f"{value!r} is not {what}")
    return total
