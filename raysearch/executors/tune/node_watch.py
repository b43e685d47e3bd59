"""Which nodes of the cluster are there, and which are about to go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from raysearch.cluster.capacity import alive, draining

VERDICT_S = 60.0  # how long Ray may take to see that a node is dead
NODES_S = 1.0  # between two looks for nodes that are about to go


class NodeWatch:
    """Looks at the cluster's nodes now and then, from the first worker on."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._draining: set[str] = set()
        self._alive: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def begin(self, node: str) -> None:
        """A worker is on this node; the watch begins with the first that has one."""
        self._alive.add(node)
        if node and self._task is None:
            self._task = asyncio.create_task(self._look_forever())

    def end(self) -> None:
        """Ends the watch."""
        if self._task is not None:
            self._task.cancel()

    def is_draining(self, node: str) -> bool:
        """True if the node is about to go."""
        return node in self._draining

    async def is_gone(self, node: str) -> bool:
        """Whether the node is declared dead; Ray takes a while to notice."""
        until = time.monotonic() + VERDICT_S
        while node in self._alive and time.monotonic() < until:
            await asyncio.sleep(NODES_S)
        return node not in self._alive

    async def _look_forever(self) -> None:
        while True:
            try:
                self._draining = await asyncio.to_thread(draining)
                self._alive = self._draining | (await asyncio.to_thread(alive)).keys()
            except Exception as error:  # noqa: BLE001  (Ray may be away for a while; it is asked again)
                self._warn(f"Ray did not say which nodes are drained: {type(error).__name__}")
            await asyncio.sleep(NODES_S)
