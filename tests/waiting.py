"""Waiting for something to become true, rather than for a number of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Returns when `condition()` is true; AssertionError when it never becomes so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "never came true"
        time.sleep(0.05)
