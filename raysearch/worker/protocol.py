"""What workers and the search say to each other. Imports neither Ray nor torch."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from raysearch.core.segment import Config, Mode, Outcome
from raysearch.engine.messages import Reply
from raysearch.spec.trainables import Shipped
from raysearch.spec.workers import GRACE_S
from raysearch.storage.mirror import mirror_of
from raysearch.storage.object_store import parse_address

WITH_ITS_NODE = "left with its node"
SUPERSEDED = "was given up, and another one has its name"


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know of a search.

    Attributes:
        run: its folder on the machine of the coordinator.
        address: of the run at a store; each machine has a mirror of its own. Empty for a folder.
        is_fused: the trainable is a Learner, whose models are trained many at once if they can be.
        samples: some of the search's configurations, to find out whether they can be.
        grace_s: what a worker that is told to go may take to end an iteration and save.
    """

    run: str
    trainable: Shipped
    metric: str
    mode: Mode
    constants: Mapping[str, Any] = field(default_factory=dict)
    seed_as: str | None = None
    isolate: bool = False
    is_fused: bool = False
    samples: tuple[Config, ...] = ()
    address: str = ""
    grace_s: float = GRACE_S

    @property
    def here(self) -> Path:
        """The run's folder on this machine."""
        return mirror_of(parse_address(self.address)).root if self.address else Path(self.run)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a worker sends at its turn.

    Attributes:
        want: how many leases it has room for.
        holding: ids it has in hand.
        unreadable: checkpoints that could not be loaded: (name, segment, cause).
        leaving: why it goes now, in words; empty while it stays.
        epoch: which process of that name it is, as `hello` said; 0 for who has no processes.
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
    WITH_NODE = "with its node"
    UNCLEAR = "unclear"  # it cannot be reached: its node may turn out to be dead


class Going(enum.IntEnum):
    """What a trial in training is told after an iteration."""

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
