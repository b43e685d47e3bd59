"""Text of others, made safe to show: it cannot move the cursor, recolour, or turn the words beside it."""

from __future__ import annotations

import re

# C0 without tab and newline, DEL, C1, bidirectional marks, line and paragraph separators, lone surrogates.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escaped(text: str) -> str:
    """The text; control characters, bidirectional marks and lone surrogates as `\\x1b`, `\\u202e`."""
    return UNSAFE.sub(lambda found: _escape(ord(found[0])), text)


def json_escaped(text: str) -> str:
    """JSON, in which the same characters are escaped as JSON has it; it reads alike."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cell(text: str) -> str:
    """The text of a cell; behind an apostrophe where a spreadsheet would compute it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
