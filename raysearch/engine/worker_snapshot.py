"""How one worker stands, as a snapshot of the search shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """How one worker stands.

    Attributes:
        leases: segments that it holds.
        current, segment, iteration: name and id of what it trains, and how far that is.
        segments, busy_s: outcomes it handed in, and their seconds.
        silent_s: since the search last heard from it.
        lives: processes of this name that have started.
        level: which of the shares it has.
    """

    leases: int
    current: str | None
    segment: int | None
    iteration: int
    segments: int
    busy_s: float
    silent_s: float
    lives: int
    node: str
    level: int

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by position, as Segment is: thousands go to the driver twice a second."""
        return WorkerSnapshot, tuple(getattr(self, name) for name in self.__slots__)
