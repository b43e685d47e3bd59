"""Warnings for the user, each text once."""

from __future__ import annotations

from raysearch.errors import without_keys

WARNINGS_KEPT = 100


class Warnings(dict[str, int]):
    """Text -> how often it came, the newest last; the oldest go when there are too many."""

    def add(self, text: str) -> None:
        """Counts a warning; keys that an error in it repeats are taken out."""
        text = without_keys(text)
        self[text] = self.pop(text, 0) + 1
        if len(self) > WARNINGS_KEPT:
            self.pop(next(iter(self)))
