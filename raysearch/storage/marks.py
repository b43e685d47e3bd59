"""Marks of when a launch reached a point, for `raysearch bench startup --profile`; nothing otherwise.

The file is named in the environment, which Ray's processes on this machine get too: each appends lines of
its own, `1764567890.123456 words`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

VARIABLE = "RAYSEARCH_MARKS"
_FILE = os.environ.get(VARIABLE)


def mark(point: str) -> None:
    """Notes that this process is at `point` now, if anyone asked for marks."""
    if _FILE:
        with open(_FILE, "a", encoding="utf-8") as file:
            file.write(f"{time.time():.6f} {point}\n")


class Phase(NamedTuple):
    """From one mark to the next.

    Attributes:
        point: what was reached at its end.
        at: seconds from the beginning to there.
        seconds: how long it took.
    """

    point: str
    at: float
    seconds: float


def phases(lines: Iterable[str], began: float) -> list[Phase]:
    """The phases that the lines of a file of marks tell of, by time; `began` is when all began, in Unix time.

    >>> [tuple(phase) for phase in phases(["101.5 ready", "100.5 up"], 100.0)]
    [('up', 0.5, 0.5), ('ready', 1.5, 1.0)]
    """
    found = sorted((float(at) - began, point) for at, _, point in (line.partition(" ") for line in lines))
    before = [0.0, *(at for at, _ in found)]
    return [Phase(point, at, at - last) for (at, point), last in zip(found, before, strict=False)]
