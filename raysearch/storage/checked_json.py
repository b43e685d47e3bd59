"""Small JSON files with a checksum among their entries, for what is written once and read back.

    replace_text(path, to_text({"rows": 12}))       # {"rows": 12, "checksum": "crc32:0c1b5f2e"}
    from_text(path.read_text(encoding="utf-8"))     # {"rows": 12}; ValueError if a byte was changed

A file that has neither the entry nor the word in its value is of an older version, and taken as it is.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

ENTRY = "checksum"
WORD = "crc32:"


def to_text(value: Mapping[str, Any], indent: int | None = None) -> str:
    """The mapping, of values that JSON has, with its checksum."""
    plain = json.loads(json.dumps({**value}))
    return json.dumps({**plain, ENTRY: checksum_of(plain)}, indent=indent)


def from_text(text: str) -> dict[str, Any]:
    """The mapping without its checksum.

    Raises:
        ValueError: it is no mapping in JSON, or its checksum is wrong.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"it holds {type(value).__name__}, not a mapping")
    if ENTRY not in value and WORD not in text:
        return value
    said = value.pop(ENTRY, None)
    if said != checksum_of(value):
        raise ValueError("its checksum is wrong: a disk or a program changed it")
    return value


def checksum_of(value: Any) -> str:
    """The checksum of a value as JSON gives it back: of its values, whatever their order and layout."""
    return f"{WORD}{zlib.crc32(json.dumps(value, sort_keys=True).encode()):08x}"
