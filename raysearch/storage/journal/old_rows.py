"""What the words of old rows meant: journals of 0.1 have the decision and the cause in sentences only.

The texts here are those that 0.1 wrote; no newer row is read so, whatever its words.
"""

from __future__ import annotations

import re

from raysearch.core.segment import FROM_BASELINE, Cause, Event

_BY_PREFIX = frozenset(event for event in Event if event not in (Event.NONE, Event.PROMOTION))
_MEMORY = "memory: "
_SHARE = "out of memory with"
_KILLED = "its worker was ended by Ray because its node ran low on memory"
_NO_CHECKPOINT = "the trainable writes no checkpoint"
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|\bMemoryError\b|CUDA(?: error:)? out of memory|"
    r"not enough memory: you tried to allocate|"
    r"CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED|" + re.escape(_KILLED)
)


def old_decision(reason: str) -> tuple[Event, str]:
    """(event, origin) that the reason of an old row tells."""
    word, colon, rest = reason.partition(": ")
    if reason.startswith("confirmation, "):
        return Event.CONFIRMATION, ""
    if colon and word in _BY_PREFIX:
        return Event(word), ""
    if word.startswith("rung ") and rest.endswith((", promoted", ", goes on")):
        return Event.PROMOTION, ""
    if reason == "the baseline":
        return Event.NONE, FROM_BASELINE
    return Event.NONE, rest if reason.startswith(_MEMORY) else ""


def old_cause(error: str) -> Cause:
    """The cause that the error of an old row tells."""
    if error.startswith(_SHARE):
        return Cause.SHARE_TOO_SMALL
    if error == _KILLED:
        return Cause.MEMORY_KILL
    if _NO_CHECKPOINT in error:
        return Cause.NO_CHECKPOINT
    return Cause.OUT_OF_MEMORY if _OUT_OF_MEMORY.search(error) else Cause.OTHER
