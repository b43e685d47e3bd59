"""What is known of a cluster before a search: plain values, gathered by `doctor`, judged by `findings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StorageSeen:
    """What one node finds at the storage.

    Attributes:
        error: why it cannot be written or read there; None if it can.
        reads: it finds what the driver wrote.
        is_read: the driver finds what it wrote.
        free: bytes on its disk; None for a store.
    """

    error: str | None = None
    reads: bool = True
    is_read: bool = True
    free: int | None = None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node that answered.

    Attributes:
        resources: as Ray knows them: CPU, GPU, memory, object_store_memory, ...
        versions: of python, ray, raysearch, torch; without what is not installed.
        clock_s: bounds on its clock minus the driver's.
        disk: (free, total) bytes where Ray keeps its files.
        open_files: as many a process of Ray may open.
        shm_bytes: size of /dev/shm; 0 where there is none.
        memory_free: bytes; None if unknown.
        data_ok: an object put by the driver came through the object store.
        storage: None where no storage was asked for.
        trainable: why the trainable cannot be loaded there; None if it can, or was not asked for.
    """

    name: str
    resources: Mapping[str, float]
    versions: Mapping[str, str]
    clock_s: tuple[float, float] = (0.0, 0.0)
    disk: tuple[int, int] = (0, 0)
    open_files: int = 65536
    shm_bytes: int = 0
    memory_free: int | None = None
    data_ok: bool = True
    storage: StorageSeen | None = None
    trainable: str | None = None

    def amount(self, resource: str) -> float:
        """How much it has of a resource."""
        return float(self.resources.get(resource, 0.0))


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster as the driver finds it.

    Attributes:
        here: versions of the driver.
        nodes: that answered; the driver's own is the first.
        silent: name of a node that did not answer in time -> why, in words.
        waited_s: how long they had.
        expected: how many nodes there should be; None for any number.
        storage: which was looked at; None if none was.
        storage_error: why the driver cannot even write there; nodes were then not asked.
        has_trainable: it was asked for.
        worker: what one worker takes, in words; empty without a spec.
        room: how many workers fit at once; 0 with `no_room` saying why not even one.
        apart: pairs of nodes whose processes cannot be one process group, and why; None: not tried.
        groups: a worker's processes may lie on several nodes.
        wandb: (a text about sending to W&B, whether it names a problem); None without `wandb:`.
    """

    here: Mapping[str, str]
    nodes: tuple[NodeFacts, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    waited_s: float = 0.0
    expected: int | None = None
    storage: str | None = None
    storage_error: str = ""
    has_trainable: bool = False
    worker: str = ""
    room: int = 0
    no_room: str = ""
    apart: tuple[tuple[str, str, str], ...] | None = None
    groups: bool = False
    wandb: tuple[str, bool] | None = None

    def total(self, resource: str) -> float:
        """How much of a resource the nodes have together."""
        return sum(node.amount(resource) for node in self.nodes)


def node_facts(
    name: str,
    resources: Mapping[str, float],
    said: Mapping[str, Any],
    sent_at: float,
    answered_at: float,
    is_read: bool,
) -> NodeFacts:
    """The facts of a node: its own answer (`node_probe.look`), and what the driver knows about it.

    Args:
        sent_at, answered_at: by the driver's clock; the node's own began and ended in between.
        is_read: the driver found the node's file at the storage.
    """
    storage = said.get("storage")
    return NodeFacts(
        name=name,
        resources=resources,
        versions=said["versions"],
        clock_s=(said["ended"] - answered_at, said["began"] - sent_at),
        disk=(said["disk"][0], said["disk"][1]),
        open_files=said["open_files"],
        shm_bytes=said["shm_bytes"],
        memory_free=said["memory_free"],
        data_ok=said["data_ok"],
        storage=StorageSeen(storage["error"], storage["reads"], is_read, storage["free"])
        if storage
        else None,
        trainable=said.get("trainable"),
    )
