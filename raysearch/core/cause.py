"""Why a segment failed or was lost, as far as a decision depends on it.

Whoever sees a fault says its cause: the worker from the type of an exception (`error_cause`), the executor
from how a process ended. The cause travels with the outcome and is kept in the journal; `Outcome.error` has
the words for people, and nothing is decided by them.
"""

from __future__ import annotations

import enum


class Cause(enum.Enum):
    """Why a segment failed or was lost. That a metric was NaN or infinite is `Status.DIVERGED`."""

    OTHER = "other"  # the trainable raised, or broke its contract
    OUT_OF_MEMORY = "out of memory"  # the training's own allocation failed
    MEMORY_KILL = "memory kill"  # Ray's memory monitor ended the worker
    SHARE_TOO_SMALL = "share too small"  # memory ran out, and what becomes of the trial is decided
    NO_CHECKPOINT = "no checkpoint"  # the trainable writes none, and the segment needs one
    CHECKPOINT = "checkpoint"  # one could not be read or written
    PROCESS_DIED = "process died"  # of the worker, or of the trial where each has its own
    NODE_LOST = "node lost"  # the worker went with its node
    UNREACHABLE = "unreachable"  # the worker was silent, or cannot be reached
    STALLED = "stalled"  # its training made no progress
    LEFT = "left"  # the worker had to go, and said so

    @classmethod
    def _missing_(cls, value: object) -> Cause:
        """A cause that this version does not know, as a newer one may write."""
        return cls.OTHER
