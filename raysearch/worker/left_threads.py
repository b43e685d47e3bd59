"""Threads that a trial leaves running in its process, beside the trials that follow."""

from __future__ import annotations

import threading
from collections.abc import Iterator

NAMES_TOLD = 3


class LeftThreads:
    """Knows which threads were there before, and which the trials of this process have left.

    Attributes:
        left: those that still run, libraries' own ones among them.
    """

    def __init__(self) -> None:
        self._known: set[threading.Thread] | None = None  # of those that ran at the last look
        self._has_said = False
        self.left: list[threading.Thread] = []

    def look(self, of_daemon: bool) -> Iterator[str]:
        """A trial is over, and its model is gone; yields a remark, once, where it left threads of its own.

        Libraries keep daemons, or threads of classes of their own: of those nothing is said. A function runs
        in a daemon itself, and so do all threads that it starts (`of_daemon`).
        """
        running = threading.enumerate()
        if self._known is None:
            self._known = set(running)
            return
        new = [thread for thread in running if thread not in self._known]
        self.left = [thread for thread in (*self.left, *new) if thread.is_alive()]
        self._known = set(running)
        plain = [thread for thread in new if type(thread) is threading.Thread]
        own = [thread.name for thread in plain if of_daemon or not thread.daemon]
        if own and not self._has_said:
            self._has_said = True
            names = ", ".join(own[:NAMES_TOLD]) + (", ..." if len(own) > NAMES_TOLD else "")
            yield (
                f"a trial left {len(own)} of its threads running ({names}): they go on beside the trials "
                "that follow. End them in cleanup(), or before the function returns; isolate: true ends them "
                "with their trial"
            )
