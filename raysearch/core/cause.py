"""Why a segment failed or was lost, as far as a decision depends on it.

Errors arrive as text: exceptions of trainables and of processes that died, and the sentences in the journal.
`cause_of` is the one place that reads them.
"""

from __future__ import annotations

import enum
import re

RAN_OUT = "out of memory with"  # begins the error of a trial whose share proved too small
MEMORY_KILL = "its worker was ended by Ray because its node ran low on memory"
NO_CHECKPOINT = "the trainable writes no checkpoint"  # in the error of a segment that cannot do without
_MEMORY = re.compile(
    r"OutOfMemoryError|\bMemoryError\b|CUDA(?: error:)? out of memory|"
    r"not enough memory: you tried to allocate|"
    r"CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED|" + re.escape(MEMORY_KILL)
)


class Cause(enum.Enum):
    """Why a segment failed or was lost; the words stand in `Outcome.error`."""

    OTHER = "other"
    OUT_OF_MEMORY = "out of memory"  # the training's own allocation failed
    MEMORY_KILL = "memory kill"  # Ray's memory monitor ended the worker
    SHARE_TOO_SMALL = "share too small"  # memory ran out, and what becomes of the trial is decided
    NO_CHECKPOINT = "no checkpoint"  # the trainable writes none, and the segment needs one


def cause_of(error: str) -> Cause:
    """The cause that an error's text names.

    >>> cause_of("MemoryError: ")
    <Cause.OUT_OF_MEMORY: 'out of memory'>
    >>> cause_of("ValueError: bad")
    <Cause.OTHER: 'other'>
    """
    if not error:
        return Cause.OTHER
    if error.startswith(RAN_OUT):
        return Cause.SHARE_TOO_SMALL
    if error == MEMORY_KILL:
        return Cause.MEMORY_KILL
    if NO_CHECKPOINT in error:
        return Cause.NO_CHECKPOINT
    return Cause.OUT_OF_MEMORY if _MEMORY.search(error) else Cause.OTHER
