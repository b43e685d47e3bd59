"""Ranks as actors of Ray, in the bundles of the worker's placement group."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Sequence
from multiprocessing.connection import Client
from typing import Any

import psutil
import ray
from ray.exceptions import RayError
from ray.util import get_current_placement_group, get_node_ip_address
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raysearch.core.error_text import in_words
from raysearch.errors import TrainableError
from raysearch.worker.group.messages import Where

RANK = "raysearch.worker.group.rank"  # found by its name, as where a rank is a process of its own


@ray.remote(max_restarts=0)
class Rank:
    """The process of a rank."""

    def serve(self, address: Any, key: bytes) -> None:
        """Trains what the worker at `address` asks for, to the end of this process."""
        context = ray.get_runtime_context()
        gpus = tuple(str(gpu) for gpu in ray.get_gpu_ids())
        began = psutil.Process().create_time()
        where = Where(context.get_node_id(), get_node_ip_address(), os.getpid(), began, gpus)
        importlib.import_module(RANK).serve(Client(address, authkey=key), where)


class ActorRanks:
    """Starts each rank in a bundle of the placement group in which this process is."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.address = get_node_ip_address()
        self._actors: list[Any] = []
        self._calls: list[Any] = []

    def start(self, address: Any, key: bytes) -> None:
        """Starts processes that connect to `address`, where `key` lets them in."""
        group = get_current_placement_group()
        if group is None:
            raise TrainableError("this worker has no placement group in which its processes could start")
        each = self.count // group.bundle_count
        for rank in range(self.count):
            share = {name: amount / each for name, amount in group.bundle_specs[rank // each].items()}
            place = PlacementGroupSchedulingStrategy(group, rank // each, True)
            cpus, gpus, memory = (share.pop(name, 0) for name in ("CPU", "GPU", "memory"))
            others = {name: amount for name, amount in share.items() if ":" not in name}
            options = Rank.options(  # type: ignore[attr-defined]
                num_cpus=cpus, num_gpus=gpus, memory=memory, resources=others, scheduling_strategy=place
            )
            self._actors.append(options.remote())
        self._calls = [actor.serve.remote(address, key) for actor in self._actors]

    def lost(self) -> str:
        """Why a process has ended that was to connect, in words; empty while all may still come."""
        ended, _ = ray.wait(self._calls, num_returns=1, timeout=0)
        if not ended:
            return ""
        try:
            ray.get(ended)
        except RayError as error:
            return in_words(error)
        return "its process ended"

    def kill(self, here: Sequence[Where]) -> None:
        """Ends all processes at once; those on this machine without Ray too, which a frozen one ignores."""
        for actor in self._actors:
            ray.kill(actor)
        for where in here:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(where.pid)
                if process.create_time() == where.began:
                    process.kill()
        self._actors, self._calls = [], []
