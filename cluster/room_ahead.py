"""Whether the cluster of a launch to come has room for one worker of several processes: for the dry run."""

from __future__ import annotations

import os
from pathlib import Path

from raysearch import ray_private
from raysearch.cluster.capacity import Amounts, fitting, resources_of, room, too_many_processes
from raysearch.cluster.connect import connected
from raysearch.errors import ClusterError
from raysearch.spec.workers import Workers


def check_room(workers: Workers, address: str | None, local: bool) -> None:
    """Looks at the cluster that a launch would use; starts none.

    Raises:
        ClusterError: it has no room for one worker, and none is said to come (`workers.min`).
    """
    resources = resources_of(workers)
    may_come = workers.min is not None or workers.max is not None
    if address is not None or (not local and _runs_here()):
        with connected(address, local):
            fitting(resources, may_come)
    elif not may_come and not room([this_machine()], resources, 1):
        raise ClusterError(too_many_processes(resources, [this_machine()]))


def this_machine() -> Amounts:
    """What a cluster that is started on this machine would have."""
    gpus = len([*Path("/dev").glob("nvidia[0-9]*")])
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(gpus)}


def _runs_here() -> bool:
    """Whether a launch without an address would find a cluster."""
    try:
        return ray_private.own_address("auto") is not None
    except (ConnectionError, ValueError):
        return False
