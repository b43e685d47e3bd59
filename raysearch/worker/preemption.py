"""A worker that has to leave: after SIGTERM, or because its node is being drained.

The segment in training goes on to the end of its iteration and is saved. If that takes longer than the grace
period, the process ends without a checkpoint.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Protocol

ON_SIGTERM = "was told to go (SIGTERM)"


class Leaves(Protocol):
    """A loop that leaves at the end of an iteration once `leaving` is set."""

    leaving: str


class Left(Exception):
    """The worker has left the search, and its process can end."""


class Notice:
    """Tells a loop to leave, and sees that the process ends in time."""

    def __init__(self, loop: Leaves, grace_s: float, go_without: Callable[[str], object]) -> None:
        """Listens for SIGTERM, where this is the main thread.

        Args:
            go_without: says goodbye for a loop that did not end in time.
        """
        self._loop = loop
        self._grace_s = grace_s
        self._go_without = go_without
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def take(self, why: str) -> None:
        """Tells the loop to leave, once."""
        if not self._loop.leaving:
            self._loop.leaving = why
            threading.Thread(target=self._wait, args=(why,), daemon=True, name="grace").start()

    def _on_sigterm(self, number: int, frame: Any) -> None:
        self.take(ON_SIGTERM)

    def _wait(self, why: str) -> None:
        """Ends the process when the grace period is over; a loop that leaves ends it sooner."""
        threading.Event().wait(self._grace_s)
        self._go_without(f"{why}, and its iteration did not end within {self._grace_s:g} s")
        os._exit(1)
