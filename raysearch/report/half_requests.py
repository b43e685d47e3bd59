"""HTTP connections of the board, closed when a request on them does not become whole in time.

The server itself only closes connections that are idle after an answer; one that sends half a request would
be kept for ever, and with it an open file.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HALF_S = 10.0  # in which a connection that is no answer's is looked at, and closed


class Timed(H11Protocol):
    """A connection with a limit on how long a request may take to come in."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops it."""
        if self._limit is not None:
            self._limit.cancel()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._limit = self.loop.call_later(HALF_S, self._look)

    def _look(self) -> None:
        """Closes the connection, unless an answer is under way."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self._begin()
