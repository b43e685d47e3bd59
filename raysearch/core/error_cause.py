"""The cause that an exception's type names."""

from __future__ import annotations

from raysearch.core.cause import Cause
from raysearch.core.library_errors import is_out_of_memory
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
