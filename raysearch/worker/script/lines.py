"""Metrics in what a script prints: lines of JSON, and what regular expressions find."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)", re.I)


def numbers_in(line: str, patterns: Mapping[str, str]) -> dict[str, float]:
    """The metrics in a printed line.

    >>> numbers_in('{"epoch": 3, "val": {"loss": 0.25}, "note": "x"}', {})
    {'epoch': 3.0, 'val/loss': 0.25}
    >>> numbers_in("epoch 3: loss=0.25 (best 0.2)", {"val_loss": "loss=(.*)"})
    {'val_loss': 0.25}

    Args:
        patterns: metric -> regular expression; its first group begins with the value.
    """
    found = _of_json(line) if line.lstrip().startswith("{") else {}
    for name, pattern in patterns.items():
        match = re.search(pattern, line)
        number = _NUMBER.match(match[1] or "") if match else None
        if number is not None:
            found[name] = float(number[0])
    return found


def _of_json(line: str) -> dict[str, float]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return flat(said) if isinstance(said, dict) else {}


def flat(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among the metrics; nested ones as `outer/inner`."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            found[f"{prefix}{name}"] = float(value)
    return found
