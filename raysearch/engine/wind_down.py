"""How a search ends before its strategy does: nothing new is begun, and what is in training may end first."""

from __future__ import annotations

import math
from dataclasses import dataclass

PAUSED = "paused"
STOPPED = "stopped"
BY_SIGNAL = "stopped by"  # Ctrl-C or SIGTERM, which stands behind it


@dataclass(frozen=True, slots=True)
class Winding:
    """Why a search winds down, and how long it may take.

    Attributes:
        why: in words; what the search's end is called.
        cut_at: Unix time at which what is still in training is cut; infinity waits for it.
        ordered: by a person, who may take it back; a budget does not come back by itself.
    """

    why: str
    cut_at: float = math.inf
    ordered: bool = False

    def after(self, earlier: Winding | None) -> Winding:
        """This one, on top of an earlier one: the last word counts, and the sooner cut."""
        if earlier is None:
            return self
        return Winding(self.why, min(self.cut_at, earlier.cut_at), self.ordered and earlier.ordered)
