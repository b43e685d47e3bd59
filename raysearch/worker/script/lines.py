"""Metrics in what a script prints: lines of JSON, printed dicts, and what regular expressions find."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from raysearch.core.nested import flat_names

LONGEST = 20_000  # characters of a printed dict that is read
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)", re.I)


def numbers_in(line: str, patterns: Mapping[str, str]) -> dict[str, float]:
    """The metrics in a printed line.

    >>> numbers_in('{"epoch": 3, "val": {"loss": 0.25}, "note": "x"}', {})
    {'epoch': 3.0, 'val/loss': 0.25}
    >>> numbers_in("INFO:train: {'loss': '0.25', 'epoch': 3}", {})
    {'loss': 0.25, 'epoch': 3.0}
    >>> numbers_in("epoch 3: loss=0.25 (best 0.2)", {"val_loss": "loss=(.*)"})
    {'val_loss': 0.25}

    Args:
        patterns: metric -> regular expression; its first group begins with the value.
    """
    text = line.rstrip()
    found = _of_object(text[text.index("{") :]) if text.endswith("}") and "{" in text else {}
    for name, pattern in patterns.items():
        match = re.search(pattern, line)
        number = _NUMBER.match(match[1] or "") if match else None
        if number is not None:
            found[name] = float(number[0])
    return found


def _of_object(text: str) -> dict[str, float]:
    """The numbers of an object of JSON, or of a dict as Python prints it: there numbers may be texts."""
    try:
        said = json.loads(text)
    except ValueError:
        said = _literal(text)
    return flat(said) if isinstance(said, dict) else {}


def _literal(text: str) -> Any:
    """A printed dict, numbers in texts as numbers: a Hugging Face Trainer prints so. None for others."""
    if len(text) > LONGEST:
        return None
    try:
        said = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return {name: _number(value) for name, value in said.items()} if isinstance(said, dict) else None


def _number(value: Any) -> Any:
    is_number = isinstance(value, str) and _NUMBER.fullmatch(value.strip())
    return float(value) if is_number else value


def flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the metrics; nested ones as `outer/inner`."""
    named = flat_names(metrics, "/").items()
    return {name: float(value) for name, value in named if isinstance(value, (int, float))}
