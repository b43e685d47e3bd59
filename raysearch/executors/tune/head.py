"""The cluster's head node: whether it is there, and what to say where it is gone."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import GetTimeoutError

from raysearch.cluster.connect import is_reachable
from raysearch.errors import ClusterLostError

ANSWER_S = 10.0  # without an answer for so long, the driver looks whether there still is a cluster
LOOK_S = 1.0  # between two looks at the head while there are answers
LOST_S = 40.0  # a head that is away for longer is lost; Ray ends its processes after 60 s
WORD_S = 50.0  # a search that still waits for something then says how to go on, before Ray ends it


class Head:
    """The cluster's head, looked at now and then: workers train on without it, until Ray ends them all.

    Ray itself would try for a minute, and then end this process without a word.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._looked_at = self._reached_at = time.monotonic()
        self.is_there = True  # at the last look

    def is_lost(self, now: float, after: float = LOST_S) -> bool:
        """True if it could not be reached for so many seconds that it will hardly come back."""
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self.is_there = is_reachable(self._address)
            if self.is_there:
                self._reached_at = now
        return now - self._reached_at > after


@contextlib.contextmanager
def last_words(run: str, say: Callable[[str], None]) -> Iterator[Head]:
    """Says how to go on, and ends this process, where a call to Ray waits for a head that is gone.

    Such a call never returns: Ray would end this process ten seconds later, without a word about the run.
    Gives the head, so that the caller can look before such a call.
    """
    head, over = Head(ray.get_runtime_context().gcs_address), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            if head.is_lost(time.monotonic(), WORD_S):
                say(f"error: {gone(run)}")
                sys.stderr.flush()
                os._exit(2)

    threading.Thread(target=watch, daemon=True, name="head").start()
    try:
        yield head
    finally:
        over.set()


def answer_of(reference: Any, run: str) -> Any:
    """The coordinator's answer, however often it dies before it gives it.

    Raises:
        ClusterLostError: there is neither an answer nor a head.
    """
    while True:
        try:
            return ray.get(reference, timeout=ANSWER_S)
        except GetTimeoutError:
            if not is_reachable(ray.get_runtime_context().gcs_address):
                raise ClusterLostError(gone(run)) from None


def gone(run: str) -> str:
    """How to go on with a run whose head node is gone."""
    return (
        "the node on which the search ran is gone, or Ray on it was ended. Every acknowledged outcome is "
        f"in the journal; go on with: raysearch resume {run}"
    )
