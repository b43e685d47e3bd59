"""A search on a cluster whose nodes come and go, in a process of its own: prints what happened as JSON.

The head has one CPU. When the first trial has ended, a node joins; when a worker on it has handed
something in, the node leaves by SIGTERM; when that was seen, another one joins, and is drained while its
worker is in the midst of a segment. When that segment has ended elsewhere, Ctrl-C ends the search.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import trainables
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

import raysearch
from raysearch.core.library_errors import RAY_SLOW_START
from raysearch.core.segment import Status
from raysearch.storage.journal.reading import read_outcomes


def patiently(start: Callable[[], Any], starts: int = 4) -> Any:
    """A node; started again where the machine is too busy for the time in which Ray wants it to be up."""
    try:
        return start()
    except Exception as error:
        if not RAY_SLOW_START.is_in(error) or not starts:
            raise
    return patiently(start, starts - 1)


class Story:
    """What happens, one thing after the other."""

    def __init__(self, cluster: Cluster, run: Path) -> None:
        self._cluster = cluster
        self._head = ray.get_runtime_context().get_node_id()
        self._run = run
        self._steps = [self.join, self.leave, self.join, self.drain, self.end]
        self._node: Any = None

    def __call__(self, status: dict[str, Any]) -> None:
        """Takes the next step when its time has come."""
        if self._steps and self._steps[0](status):
            self._steps.pop(0)

    def join(self, status: dict[str, Any]) -> bool:
        """A node joins once something has ended, and nobody is on another node."""
        if not status["trials"] or self._elsewhere(status):
            return False
        self._node = patiently(lambda: self._cluster.add_node(num_cpus=1))
        return True

    def leave(self, status: dict[str, Any]) -> bool:
        """It leaves once its worker has handed something in."""
        if not any(worker["segments"] for worker in self._elsewhere(status)):
            return False
        self._cluster.remove_node(self._node, allow_graceful=True)
        return True

    def drain(self, status: dict[str, Any]) -> bool:
        """It is drained once its worker is in the midst of a segment."""
        if not any(worker["iteration"] >= 1 for worker in self._elsewhere(status)):
            return False
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        client = ray._raylet.GcsClient(address=self._cluster.address)
        deadline = int((time.time() + 60) * 1000)
        return bool(client.drain_node(self._elsewhere(status)[0]["node"], reason, "spot", deadline)[0])

    def end(self, status: dict[str, Any]) -> bool:
        """What was broken off by the drain has ended."""
        rows = list(read_outcomes(self._run / "journal"))
        begun = {o.segment.id for o in rows if o.status is Status.LOST and o.checkpoint}
        if not begun & {o.segment.id for o in rows if o.status is Status.COMPLETED}:
            return False
        os.kill(os.getpid(), signal.SIGINT)
        return True

    def _elsewhere(self, status: dict[str, Any]) -> list[dict[str, Any]]:
        return [worker for worker in status["workers"].values() if worker["node"] not in ("", self._head)]


def main(storage: str) -> None:
    """Plays the story."""
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    ray.init(address=cluster.address, log_to_driver=False)
    last: dict[str, Any] = {}
    story = Story(cluster, Path(storage, "run"))

    def look(status: dict[str, Any]) -> None:
        last.update(status)
        story(status)

    raysearch.search(
        trainables.Slow,
        space={"rate": {"uniform": [0.0, 1.0]}},
        config={"seconds": 0.25},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(
            samples=500, max_iterations=9, min_iterations=9, sampler="sobol", finish=None
        ),
        storage=storage,
        name="run",
        on_status=look,
        returns_when_stopped=True,
    )
    Path(storage, "told.json").write_text(json.dumps([*last["warnings"]]))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
