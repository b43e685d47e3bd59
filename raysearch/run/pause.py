"""Orders to pause, stop or continue a run: what each does to its search.

`pause` lets running segments finish, `stop` gives them a short grace; then the workers leave one by one, and
the process ends. `resume` takes either back while a segment still runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raysearch.core.formatting import duration
from raysearch.engine.wind_down import PAUSED, STOPPED, WindDown

if TYPE_CHECKING:
    from raysearch.engine.search import Search

PAUSE, STOP, RESUME = "pause", "stop", "resume"
RUN_ORDERS = (PAUSE, STOP, RESUME)
GRACE_S = 30.0  # time for running segments to finish after a `stop`


def order(kind: str, grace_s: float | None = None) -> dict[str, Any]:
    """The order as a mapping for `Orders.give`; without a grace, running segments may finish."""
    return {"kind": kind, "grace_s": grace_s}


def begin(search: Search, kind: str, order: Mapping[str, Any], now: float) -> tuple[bool, str]:
    """Carries out an order; (whether the search accepts it, its words)."""
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
