"""What a worker needs to know of a search before its first turn. Imports neither Ray nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysearch.core.segment import Config, Mode
from raysearch.spec.workers import GRACE_S, TIMEOUT_S
from raysearch.storage.mirror import mirror_of
from raysearch.storage.object_store import parse_address
from raysearch.worker.shipping import Shipped


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know of a search.

    Attributes:
        run: its folder on the machine of the coordinator.
        address: of the run at a store; each machine has a mirror of its own. Empty for a folder.
        is_fused: the trainable is a Learner, whose models are trained many at once if they can be.
        samples: some of the search's configurations, to find out whether they can be.
        must_save: the strategy needs checkpoints, and the trainable's code shows none: a segment without one
            fails, and with it the search.
        length: iterations of a training at most, as the strategy says; None if it does not.
        processes: of each worker, which train a trial together; 0: the worker trains by itself.
        cpu: of a worker, or of each of its processes.
        timeout_s: how long one of them may wait for the others.
        grace_s: what a worker that has to leave may take to end an iteration and save.
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
    must_save: bool = False
    grace_s: float = GRACE_S
    length: int | None = None
    processes: int = 0
    cpu: float = 1.0
    timeout_s: float = TIMEOUT_S

    @property
    def here(self) -> Path:
        """The run's folder on this machine."""
        return mirror_of(parse_address(self.address)).root if self.address else Path(self.run)
