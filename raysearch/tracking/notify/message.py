"""A message to people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell: its kind (`raysearch.spec.notify.KINDS`), and words."""

    kind: str
    text: str
