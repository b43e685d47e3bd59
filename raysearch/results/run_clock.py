"""The lives of a run, and a clock that stands still between them.

A run that was paused, stopped or killed, and then resumed, has several lives, each from a start to its end.
Durations are measured by this clock, so that a night in which no process ran the run is not idle time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

OF_A_LIFE = ("spent", "forecast", "end")  # events noted while it lasts; others may come between two


@dataclass(frozen=True)
class Lives:
    """Unix times at which each life began, and seconds without a process before it (0 for the first)."""

    starts: Floats
    gaps: Floats

    @classmethod
    def of(cls, events: Iterable[Any], finished_at: Floats) -> Lives:
        """From a journal's events, in order, and when its outcomes came.

        A life that was killed ends with its last event or outcome.
        """
        starts: list[float] = []
        known: list[float] = []
        for event in events:
            if event.kind == "start":
                starts.append(event.at)
                known.append(event.at)
            elif starts and event.kind in OF_A_LIFE:
                known[-1] = max(known[-1], event.at)
        began, last = np.asarray(starts, np.float64), np.asarray(known, np.float64)
        if len(began) > 1 and len(finished_at):
            life = np.searchsorted(began, finished_at, "right") - 1
            np.maximum.at(last, life[life >= 0], finished_at[life >= 0])
        gaps = np.zeros(len(began))
        gaps[1:] = np.maximum(0.0, began[1:] - last[:-1])
        return cls(began, gaps)

    @property
    def count(self) -> int:
        """The number of lives; 1 for a run whose journal names none."""
        return max(1, len(self.starts))

    def which(self, at: Floats) -> npt.NDArray[np.int64]:
        """The number of the life, from 0, that each moment lies in."""
        return np.maximum(0, np.searchsorted(self.starts, at, "right") - 1)

    def clock(self, at: Floats) -> Floats:
        """These moments less the time before them in which no process ran the run."""
        if self.count == 1:
            return at
        return np.asarray(at - np.cumsum(self.gaps)[self.which(at)], np.float64)


ONE = Lives(np.zeros(0), np.zeros(0))
