"""The books of a search: where each segment stands, and who holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raysearch.core.segment import Segment
from raysearch.engine.leases import Leases
from raysearch.engine.queue import WaitingQueue
from raysearch.engine.segment_states import SegmentStates
from raysearch.engine.workers import WorkerTable


@dataclass(frozen=True, slots=True)
class Books:
    """What the parts of a `Search` read and change together.

    Attributes:
        leases: which worker holds which segment.
        states: where each segment stands.
        queue: the segments that wait for a worker.
        workers: the workers that are there.
    """

    leases: Leases
    states: SegmentStates
    queue: WaitingQueue
    workers: WorkerTable

    @classmethod
    def empty(cls, level_of: Callable[[Segment], int]) -> Books:
        """Without segments and workers; `level_of` says which share a segment needs."""
        leases = Leases()
        states = SegmentStates(leases)
        return cls(leases, states, WaitingQueue(states, level_of), WorkerTable(leases))
