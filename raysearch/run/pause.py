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
from raysearch.engine.wind_down import PAUSED, STOPPED, Winding

PAUSE, STOP, RESUME = "pause", "stop", "resume"
RUN_ORDERS = (PAUSE, STOP, RESUME)
GRACE_S = 30.0  # what is in training may end within so long after a `stop`


def order(kind: str, grace_s: float | None = None) -> dict[str, Any]:
    """The order as it is left in the run's folder; without a grace, what is in training is waited for."""
    return {"kind": kind, "grace_s": grace_s}


def begin(search: Search, kind: str, said: Mapping[str, Any], now: float) -> tuple[bool, str]:
    """Carries an order out: (was it accepted, in words)."""
    if kind == RESUME:
        if search.go_on():
            return True, "the order to end is taken back: the search goes on"
        return False, f"it is ending: {search.ending or 'now'}" if search.over else "it is going on already"
    if search.over:
        return False, f"it is ending already: {search.ending}"
    grace = said.get("grace_s")
    cut_at = math.inf if grace is None else now + float(grace)
    words = _in_words(search, kind, grace)
    search.wind_down(Winding(PAUSED if kind == PAUSE else STOPPED, cut_at, ordered=True))
    search.check(now)
    return True, words


def _in_words(search: Search, kind: str, grace: float | None) -> str:
    word = "pausing" if kind == PAUSE else "stopping"
    busy = sum(1 for state in search.leases.workers.values() if state.leases)
    if not busy:
        return f"{word}: nothing is in training"
    who = "what 1 worker trains" if busy == 1 else f"what {busy} workers train"
    if grace is None:
        return f"{word}: {who} is finished first"
    if not grace:
        return f"{word}: {who} is cut"
    return f"{word}: {who} is finished first if it ends within {duration(grace)}"
