"""The conversation of workers and a search: turns with outcomes in, replies with leases out.

Imports neither Ray nor torch.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from raysearch.core.segment import Outcome, Segment

BEAT_S = 2.0  # between two signs of life of a worker
WITH_ITS_NODE = "left with its node"
MEMORY_KILL = "its worker was ended by Ray because its node ran low on memory"


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


@dataclass(frozen=True, slots=True)
class Turn:
    """What a worker sends at its turn.

    Attributes:
        want: how many leases it has room for.
        holding: ids it has in hand.
        unreadable: checkpoints that could not be loaded: (name, segment, cause).
        leaving: why it goes now, in words; empty while it stays.
        epoch: which process of that name it is, as `hello` answered; 0: an executor without worker processes.
    """

    worker: str
    outcomes: Sequence[Outcome] = ()
    want: int = 0
    holding: tuple[int, ...] = ()
    unreadable: tuple[tuple[str, int, str], ...] = ()
    leaving: str = ""
    epoch: int = 0


class Death(enum.Enum):
    """How a worker's process ended, as far as the driver can tell."""

    ALONE = "alone"  # its node lives
    OUT_OF_MEMORY = "out of memory"  # Ray ended it because its node ran low; the node lives
    WITH_NODE = "with its node"
    UNCLEAR = "unclear"  # it cannot be reached: its node may turn out to be dead


class Dismissal(str, enum.Enum):
    """Whether a worker has to go, and why: the words follow its name."""

    NONE = ""
    DRAINED = "left its node, which is being drained"
    SUPERSEDED = "was given up, and another one has its name"

    __hash__ = str.__hash__
    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]


class Going(enum.IntEnum):
    """What a training trial has to do after an iteration."""

    ON = 0
    STOP = 1  # the search is over: what was trained is dropped
    PAUSE = 2  # the worker has to go: what was trained is to be saved


class Answer(Protocol):
    """An exchange under way. `get` waits for the reply; `ready` says whether it would."""

    def ready(self) -> bool: ...

    def get(self) -> Reply: ...


class Link(Protocol):
    """The way to the search."""

    def send(self, turn: Turn) -> Answer: ...
