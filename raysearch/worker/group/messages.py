"""What a worker and its ranks say to each other. Imports neither Ray nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.engine.messages import Going

if TYPE_CHECKING:
    from raysearch.engine.messages import Lease
    from raysearch.worker.job import Job
    from raysearch.worker.reports import Trained

PROCESSES = "RAYSEARCH_PROCESSES"  # variable of a rank's environment: how many ranks there are
BEAT_S = 1.0  # between two signs of life of a rank


@dataclass(frozen=True, slots=True)
class Where:
    """Where a rank's process runs.

    Attributes:
        node: a name of the node, the same for all processes on it.
        address: of the node, where the other nodes reach it.
        began: when the process did, by its system's clock: a number may come to be another process's.
        gpus: ids of the GPUs that are its own.
    """

    node: str
    address: str
    pid: int
    began: float = 0.0
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A rank's place in its group, in torchrun's words.

    Attributes:
        addresses: of the node of rank 0, and of this rank's own.
        gpus: ids of all GPUs of the group on this node; the rank's own is number `local_rank` of them.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    addresses: tuple[str, str]
    gpus: tuple[str, ...] = ()

    def environment(self, port: int) -> dict[str, str]:
        """The variables that torchrun sets; `port` is where rank 0 keeps the store of the group."""
        found = {
            "RANK": self.rank,
            "WORLD_SIZE": self.world_size,
            "LOCAL_RANK": self.local_rank,
            "LOCAL_WORLD_SIZE": self.local_world_size,
            "GROUP_RANK": self.node_rank,
            "GROUP_WORLD_SIZE": max(1, self.world_size // self.local_world_size),
            "ROLE_RANK": self.rank,
            "ROLE_WORLD_SIZE": self.world_size,
            "ROLE_NAME": "default",
            "MASTER_ADDR": self.addresses[0],
            "MASTER_PORT": port,
            PROCESSES: self.world_size,
            "TORCHELASTIC_RUN_ID": "raysearch",
            "TORCHELASTIC_RESTART_COUNT": 0,
            "TORCHELASTIC_MAX_RESTARTS": 0,
        }
        return {name: str(value) for name, value in found.items()}


def places(found: list[Where]) -> list[Place]:
    """The places of ranks that run there, in this order; those of a node lie side by side.

    >>> found = places([Where("a", "10.0.0.1", 1), Where("a", "10.0.0.1", 2), Where("b", "10.0.0.2", 3)])
    >>> [(place.rank, place.local_rank, place.node_rank) for place in found]
    [(0, 0, 0), (1, 1, 0), (2, 0, 1)]
    """
    nodes = list(dict.fromkeys(where.node for where in found))
    result = []
    for rank, where in enumerate(found):
        here = [r for r, other in enumerate(found) if other.node == where.node]
        gpus = tuple(gpu for r in here for gpu in found[r].gpus)
        result.append(
            Place(
                rank,
                len(found),
                here.index(rank),
                len(here),
                nodes.index(where.node),
                (found[0].address, where.address),
                gpus,
            )
        )
    return result


# ---- from the worker to a rank


@dataclass(frozen=True, slots=True)
class Begin:
    """The first message: its place, and what it trains.

    Attributes:
        scratch: a folder for files of its own; None: it makes one.
        log: the name of the worker whose log it writes to; None: it prints where the worker does.
    """

    place: Place
    job: Job
    scratch: Path | None
    log: str | None


@dataclass(frozen=True, slots=True)
class Join:
    """Makes the process group, or makes it anew: number `generation` in the store at `port`."""

    port: int
    generation: int


@dataclass(frozen=True, slots=True)
class Train:
    """Trains a segment; `checkpoint` is where the lease's lies on the worker's machine."""

    lease: Lease
    checkpoint: Path | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all ranks do after an iteration.

    Attributes:
        diverged: on which rank the training diverged, in words; empty while it did not.
    """

    going: Going = Going.ON
    diverged: str = ""


@dataclass(frozen=True, slots=True)
class Save:
    """Writes the rank's part of a checkpoint into `folder`, which the worker has made."""

    folder: Path
    midway: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer to `Change`: the checkpoint of all ranks, or why there is none.

    Attributes:
        folder: None where no rank had anything to write.
    """

    folder: Path | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """Ends the live trial."""


# ---- from a rank to the worker


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life."""


@dataclass(frozen=True, slots=True)
class Store:
    """Rank 0 keeps the store of the process group at this port."""

    port: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The rank is done with what it was asked, and waits."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The trainable cannot be used here, or the process group cannot be made.

    Attributes:
        is_trainable: the trainable is at fault.
    """

    words: str
    is_trainable: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A rank has trained up to iteration `at`, and waits for the verdict.

    Attributes:
        ended: the training ended without another iteration.
        done: it ended with this one.
        diverged: the metric is not finite, in words.
    """

    at: int
    ended: bool = False
    done: bool = False
    diverged: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """The configuration changes in the midst of what is trained: the rank waits for `Save`, then `Kept`."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of the segment on this rank.

    Attributes:
        is_last: the process cannot train another one.
    """

    trained: Trained
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """The segment was given up: `unreadable` says that its checkpoint is, else the search is ending."""

    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a file of a checkpoint's part, from a machine that does not see the folder; in order.

    Attributes:
        name: of the file, below the part's folder.
    """

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Saved:
    """A part of a checkpoint is written.

    Attributes:
        iteration: after which it was; None where the rank has nothing to write.
        is_old: it is that from which the rank began: it counts where no rank has written one since.
        error: why it could not be written.
    """

    iteration: int | None
    error: str = ""
    is_old: bool = False
