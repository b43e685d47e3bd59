"""The cause of a fault, from an exception's type.

Whoever sees a fault says its cause: the worker from an exception, the executor from how a process ended. It
travels with the outcome and is kept in the journal; `Outcome.error` has the words for people, and nothing is
decided by them.
"""

from __future__ import annotations

from raysearch.core.library_errors import is_out_of_memory
from raysearch.core.segment import Cause
from raysearch.errors import CheckpointError, NoCheckpointError


def cause_of(error: BaseException) -> Cause:
    """The cause that an exception's type names; those that it wraps count too where memory ran out.

    >>> cause_of(MemoryError())
    <Cause.OUT_OF_MEMORY: 'out of memory'>
    >>> cause_of(ValueError("CUDA out of memory"))
    <Cause.OTHER: 'other'>
    """
    if is_out_of_memory(error):
        return Cause.OUT_OF_MEMORY
    if isinstance(error, NoCheckpointError):
        return Cause.NO_CHECKPOINT
    return Cause.CHECKPOINT if isinstance(error, CheckpointError) else Cause.OTHER
