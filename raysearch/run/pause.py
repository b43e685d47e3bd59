"""Orders to pause, stop or go on with a run: what each does to the search that takes it in.

`pause` lets what is in training end, `stop` gives it a short grace; both then end the run's life, its
workers leaving one by one. Either is taken back by `resume` as long as something is still in training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from raysearch.core.formatting import duration
from raysearch.engine.search import Search
from raysearch.engine.wind_down import PAUSED, STOPPED, WindDown

PAUSE, STOP, RESUME = "pause", "stop", "resume"
RUN_ORDERS = (PAUSE, STOP, RESUME)
GRACE_S = 30.0  # what is in training may end within so long after a `stop`


def order(kind: str, grace_s: float | None = None) -> dict[str, Any]:
    """The order as it is left in the run's folder; without a grace, what is in training is waited for."""
    return {"kind": kind, "grace_s": grace_s}


def begin(search: Search, kind: str, order: Mapping[str, Any], now: float) -> tuple[bool, str]:
    """Carries an order out: (was it accepted, in words)."""
    lifetime = search.lifetime
    if kind == RESUME:
        if lifetime.go_on():
            return True, "the order to end is taken back: the search goes on"
        ending = lifetime.ending or "now"
        return False, f"it is ending: {ending}" if lifetime.over else "it is going on already"
    if lifetime.over:
        return False, f"it is ending already: {lifetime.ending}"
    grace = order.get("grace_s")
    cut_at = math.inf if grace is None else now + float(grace)
    words = _in_words(search.leases.busy, kind, grace)
    lifetime.wind_down(WindDown(PAUSED if kind == PAUSE else STOPPED, cut_at, ordered=True))
    lifetime.check(now)
    return True, words


def _in_words(busy: int, kind: str, grace: float | None) -> str:
    word = "pausing" if kind == PAUSE else "stopping"
    if not busy:
        return f"{word}: nothing is in training"
    work = "what 1 worker trains" if busy == 1 else f"what {busy} workers train"
    if grace is None:
        return f"{word}: {work} is finished first"
    if not grace:
        return f"{word}: {work} is cut"
    return f"{word}: {work} is finished first if it ends within {duration(grace)}"
