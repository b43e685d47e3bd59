"""What passes between workers and a search at a worker's turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.segment import Segment

NO_CHECKPOINT = "the trainable writes no checkpoint"  # in the error of a segment that cannot do without


@dataclass(frozen=True, slots=True)
class Lease:
    """A segment handed to a worker, and how to get to its start.

    Attributes:
        checkpoint: the nearest ancestor's checkpoint that exists; None is a fresh model.
        origin: id of that ancestor.
        chain: the ancestors after it, to be grown again before the segment.
        alone: it may be what kills its workers: nothing else is to be trained meanwhile.
        begun: the curve so far, where an earlier worker had to go: the checkpoint lies in its midst.
    """

    segment: Segment
    checkpoint: str | None = None
    origin: int | None = None
    chain: tuple[Segment, ...] = ()
    alone: bool = False
    begun: Mapping[str, Sequence[float]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by position, as Segment is."""
        return Lease, (self.segment, self.checkpoint, self.origin, self.chain, self.alone, self.begun)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker gets for its outcomes.

    Attributes:
        stop: the search is over, or is being stopped; leases in hand are to be dropped.
        keep: checkpoints may be written (False: the quota is used up, segments are grown again).
        bars: score of the TOP-th best so far by `Segment.stop` (lower is better; absent while there are
            fewer): a checkpoint that would be cheaper to grow again is still written for an outcome that
            reaches its bar, so that the winner has one.
    """

    leases: tuple[Lease, ...] = ()
    stop: bool = False
    keep: bool = True
    bars: Mapping[int, float] = field(default_factory=dict)
