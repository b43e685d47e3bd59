"""What can be imported while something else starts, so that a search's first outcome comes sooner."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import ray

from raysearch.cluster.capacity import fitting, resources_of
from raysearch.cluster.connect import connected
from raysearch.executors.tune.head import Head, last_words
from raysearch.spec.workers import Workers
from raysearch.storage.marks import mark

DRIVER = "raysearch.executors.tune.driver"
WORKER = "raysearch.executors.tune.trial"
MOST = 16  # processes that import beside one another


@contextlib.contextmanager
def begun(
    address: str | None, local: bool, workers: Workers, run: str, say: Callable[[str], None]
) -> Iterator[Head]:
    """As `connect.connected` and `head.last_words`, whose Head it gives.

    This process imports Tune meanwhile, and idle ones of a cluster that it started what workers need.
    Raises as `connected` does.
    """
    mark("driver: the spec was checked, the run's folder made")
    ahead = threading.Thread(target=import_here, args=([DRIVER],), daemon=True, name="import")
    ahead.start()
    try:
        with connected(address, local, say=say) as is_new, last_words(run, say) as head:
            mark("driver: Ray is up")
            if is_new:
                warm_up(workers)
            yield head
    finally:
        ahead.join()  # a process that ends in the midst of an import may crash


def warm_up(workers: Workers) -> int:
    """Has idle processes of a new cluster on this machine import what workers need; returns how many.

    Ray makes workers of them. Each holds a worker's CPUs meanwhile, since libraries take the number of their
    threads from that as they are imported. None where workers take GPUs, which a process that has imported
    torch with other devices in sight might not see, or shares of other kinds: those start as ever.
    """
    is_plain = not (workers.gpu or workers.resources or workers.processes or workers.bundles or workers.train)
    if not is_plain or workers.cpu < 1:
        return 0
    room = fitting(resources_of(workers))
    count = min(room if workers.count == "auto" else workers.count, room, MOST)
    modules = [WORKER, *(["torch"] if "torch" in sys.modules else [])]
    task = ray.remote(num_cpus=workers.cpu, max_retries=0)(import_here)
    for _ in range(count):
        task.remote(modules)
    return count


def import_here(modules: Sequence[str]) -> None:
    """Imports the modules in this process, as far as that works: who needs one gets its error there."""
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    mark(f"{modules[0].rpartition('.')[2]}: imported")
