"""The process that tells people: `python -m raysearch.tracking.notify.process RUN`, until stdin is closed.

It follows the journal, hands messages on, and notes in `tracking/notified.json` when it told of which kind:
at most one message a kind and hour, in all lives of the run. What does not arrive is tried again at the next
looks, TRIES times; what happened is in `tracking/notify.log`, without addresses.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raysearch.core.yaml_io import read_yaml
from raysearch.errors import RaysearchError, first_line
from raysearch.spec.notify import KINDS
from raysearch.storage.atomic import read_text, replace_text
from raysearch.storage.checked_json import from_text, to_text
from raysearch.storage.paths import RunPaths
from raysearch.tracking.notify.deliver import Undelivered, ways
from raysearch.tracking.notify.message import Message
from raysearch.tracking.notify.watch import Watch

POLL_S = 2.0
HOUR_S = 3600.0
TRIES = 3
LATE_S = 5.0  # after the driver left, for the journal to say how the run ended


class Teller:
    """Hands messages on, at most one a kind and hour."""

    def __init__(
        self, notify: Mapping[str, Any], by_way: Mapping[str, Callable[[Message], None]], noted: Path
    ) -> None:
        self._kinds = notify.get("on") or KINDS
        self._ways = by_way
        self._noted = noted
        self._told_at = _noted(noted)
        self._waiting: list[tuple[str, Message, int]] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be tried again."""
        return not self._waiting

    def tell(self, message: Message, now: float) -> None:
        """Takes a message, unless its kind is not asked for or was told within the hour."""
        if message.kind not in self._kinds or now - self._told_at.get(message.kind, -HOUR_S) < HOUR_S:
            return
        self._told_at[message.kind] = now
        self._waiting += [(way, message, 0) for way in self._ways]
        try:
            replace_text(self._noted, to_text({"told_at": self._told_at}))
        except OSError as error:
            print(f"{self._noted}: cannot be written: {error.strerror}", flush=True)

    def hand_on(self) -> None:
        """Tries once what waits; what fails TRIES times is given up."""
        waiting, self._waiting = self._waiting, []
        for way, message, tries in waiting:
            try:
                self._ways[way](message)
                words = "told"
            except Undelivered as error:
                words = f"not told, {error}"
                if tries + 1 < TRIES:
                    self._waiting.append((way, message, tries + 1))
            print(f"{time.strftime('%F %T')} {message.kind} by {way}: {words}", flush=True)


def _noted(file: Path) -> dict[str, float]:
    """When each kind was told last; empty where the note is missing or damaged."""
    try:
        return {str(kind): float(at) for kind, at in from_text(read_text(file))["told_at"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def main(arguments: list[str]) -> None:
    """Tells people of a run until it has ended, or its driver has left and nothing waits."""
    run = Path(arguments[0])
    spec = read_yaml(RunPaths(run).spec.read_text(encoding="utf-8"), "spec.yaml")
    notify = spec.get("notify") or {}
    left = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        left.set()

    threading.Thread(target=wait, daemon=True, name="driver").start()
    teller = Teller(notify, ways(notify, os.environ), RunPaths(run).tracking / "notified.json")
    watch = Watch(run, spec, float(arguments[1]))
    until = None
    while True:
        try:
            for message in watch.look(time.time()):
                teller.tell(message, time.time())
        except RaysearchError as error:
            print(f"{time.strftime('%F %T')} {first_line(str(error))}", flush=True)
        teller.hand_on()
        if left.is_set():
            until = time.monotonic() + LATE_S if until is None else until
            if teller.is_idle and (watch.ended or time.monotonic() > until):
                return
        left.wait(POLL_S) if until is None else time.sleep(POLL_S / 4)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # not waiting for a server that hangs
