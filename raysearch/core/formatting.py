"""Figures as people read them: four significant digits, one number of decimals in a column, 1m 23s."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

NONE = "-"


def number(value: Any, digits: int = 4) -> str:
    """`value` to so many significant digits: 0.08123, 12,346, 1.2e-5; `-` for None and NaN, text as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) and abs(value) < 10**12:
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if value and not 1e-3 <= abs(value) < 1e7:
        return _scientific(value, digits)
    return f"{value:,.{_decimals(value, digits)}f}"


def column(values: Sequence[float | None], digits: int = 4) -> list[str]:
    """Numbers for one column, right-aligned: all with the decimals that the one nearest to zero needs."""
    real = [v for v in values if v is not None and math.isfinite(v) and v != 0]
    if not real or not all(1e-3 <= abs(v) < 1e7 for v in real):
        return [number(v, digits) for v in values]
    places = max(_decimals(v, digits) for v in real)
    return [f"{v:,.{places}f}" if v is not None and math.isfinite(v) else number(v) for v in values]


def setting(value: Any, digits: int = 4) -> str:
    """A hyper-parameter's value, shortened: 3.16e-3 as 0.003162, 64.0 as 64, text as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return str(value)
    text = number(value, digits).replace(",", "")
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def settings(config: Mapping[str, Any], digits: int = 4) -> dict[str, str]:
    """Name -> shortened value; the members of a group as `group/name`."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}/{inner}": text for inner, text in settings(value, digits).items()})
        else:
            flat[name] = setting(value, digits)
    return flat


def cut(text: str, most: int) -> str:
    """`text`, or its first `most` characters and how many it has: `aaa… (1,000,000 characters)`."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def duration(seconds: float) -> str:
    """9s, 1m 23s, 2h 05m, 3d 04h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def rate(per_second: float, what: str = "trials") -> str:
    """18 trials/s, 4.2 trials/min, 1.3 trials/h: in the unit that gives a readable number."""
    for seconds, unit in ((1, "s"), (60, "min")):
        if per_second * seconds >= 1:
            return f"{number(per_second * seconds, 2 if per_second * seconds < 10 else 3)} {what}/{unit}"
    return f"{number(per_second * 3600, 2)} {what}/h"


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return 1
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"
