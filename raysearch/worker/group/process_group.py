"""The process group of a rank: made once, kept from segment to segment.

Training code for torchrun makes it and takes it down itself. In a rank it is there already, so that
`init_process_group` and `destroy_process_group` of the whole group find that there is nothing to do.
"""

from __future__ import annotations

import datetime
import functools
import os
from typing import Any

from raysearch.core.interfaces import use_interface
from raysearch.errors import TrainableError
from raysearch.worker.group.messages import Join, Place

BOTH = "cpu:gloo,cuda:nccl"


class ProcessGroup:
    """The default process group of torch in this process."""

    def __init__(self, place: Place, timeout_s: float, uses_gpu: bool) -> None:
        self._place = place
        self._timeout = datetime.timedelta(seconds=timeout_s)
        self._uses_gpu = uses_gpu
        self._store: Any = None
        self._take_down: Any = None

    def serve(self) -> int:
        """Keeps the store that all ranks meet at; returns its port. Called on rank 0."""
        import torch.distributed

        dist: Any = torch.distributed  # which does not say that it exports its stores
        address, world_size = self._place.addresses[0], self._place.world_size
        self._store = dist.TCPStore(
            address, 0, world_size, is_master=True, timeout=self._timeout, wait_for_workers=False
        )
        port: int = self._store.port
        return port

    def join(self, order: Join) -> None:
        """Makes the process group; when there is one already, a new one in its place.

        Raises:
            Exception: of torch, where the ranks do not reach each other in time.
        """
        import torch.distributed

        dist: Any = torch.distributed
        place = self._place
        os.environ.update(place.environment(order.port))
        use_interface(place.addresses[1])
        if self._store is None:
            self._store = dist.TCPStore(
                place.addresses[0], order.port, place.world_size, is_master=False, timeout=self._timeout
            )
        if self._take_down is None:
            make, self._take_down = dist.init_process_group, dist.destroy_process_group
            self._make = make
            _lend(dist, place, self._uses_gpu)
        elif dist.is_initialized():
            self._take_down()
        self._make(
            backend=BOTH if self._uses_gpu else "gloo",
            store=dist.PrefixStore(f"group{order.generation}", self._store),
            rank=place.rank,
            world_size=place.world_size,
            timeout=self._timeout,
        )
        dist.barrier()


def _lend(dist: Any, place: Place, uses_gpu: bool) -> None:
    """Has torch's functions find the process group that is there."""
    make, take_down = dist.init_process_group, dist.destroy_process_group

    @functools.wraps(make)
    def init_process_group(backend: Any = None, *arguments: Any, **named: Any) -> None:
        if not dist.is_initialized():
            make(backend, *arguments, **named)
            return
        asked = named.get("world_size", -1)
        if asked not in (-1, place.world_size):
            raise TrainableError(
                f"init_process_group(world_size={asked}): the worker has {place.world_size} processes "
                "(`workers.processes`)"
            )
        if "nccl" in str(backend or "") and not uses_gpu:
            raise TrainableError(
                f"init_process_group({str(backend)!r}): the worker's processes have no GPU; give them one "
                "(`workers.gpu`), or use gloo"
            )

    @functools.wraps(take_down)
    def destroy_process_group(group: Any = None) -> None:
        if group not in (None, dist.group.WORLD):
            take_down(group)

    for module in (dist, dist.distributed_c10d):
        module.init_process_group = init_process_group
        module.destroy_process_group = destroy_process_group
