"""Names in a space: `group/member` within, `group.member` for users; and the words they may not be."""

from __future__ import annotations

RESERVED = "constraints"
WHEN = "when"


def dotted(name: str) -> str:
    """`model.lr` for `model/lr`, as users write it."""
    return name.replace("/", ".")
