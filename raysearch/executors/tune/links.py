"""Ways from a worker to the coordinator actor; `socket_link` is the fast one beside them."""

from __future__ import annotations

import dataclasses
from typing import Any

import ray

from raysearch.engine.messages import Answer, Link, Reply, Turn


class Signing:
    """A link whose turns say which process of its name the worker is."""

    def __init__(self, link: Link, epoch: int) -> None:
        self._link = link
        self._epoch = epoch

    def send(self, turn: Turn) -> Answer:
        """Starts an exchange."""
        return self._link.send(dataclasses.replace(turn, epoch=self._epoch))


class RayLink:
    """The way to the coordinator actor."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator

    def send(self, turn: Turn) -> RayAnswer:
        """Starts an exchange."""
        return RayAnswer(self._coordinator.exchange.remote(turn))


class RayAnswer:
    """An exchange under way."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def ready(self) -> bool:
        """True if the answer is there."""
        return bool(ray.wait([self._reference], timeout=0)[0])

    def get(self) -> Reply:
        """The answer; waits for it. A coordinator that died meanwhile has been started again by Ray."""
        return ray.get(self._reference)  # type: ignore[no-any-return]
