"""The line from a script's process to its worker: JSON, a message a line, each answered before it goes on.

This file is also imported by its bare name, in processes that know nothing else of raysearch.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

SOCKET = "RAYSEARCH_SOCKET"  # environment variable: where the worker listens


class Line:
    """Sends messages of this process to the worker that started it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process = 0

    def send(self, message: dict[str, Any]) -> None:
        """Hands a message over; returns when the worker says to go on.

        Raises:
            SystemExit: the trial is over.
        """
        text = json.dumps(message, default=_plain)
        try:
            line = self._connected()
            line.sendall(text.encode() + b"\n")
            answer = line.recv(1)
        except OSError:
            answer = b""
        if not answer:
            raise SystemExit(0)

    def _connected(self) -> socket.socket:
        if self._socket is None or self._process != os.getpid():  # a fork has a line of its own
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(os.environ[SOCKET])
            self._process = os.getpid()
        return self._socket


def is_open() -> bool:
    """Whether this process was started as a trial."""
    return SOCKET in os.environ


def _plain(value: Any) -> Any:
    """A tensor or array of one value as a number; anything else as its name."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return f"<{type(value).__name__}>"


LINE = Line()
