"""`raysearch bench join`: from the moment a node joins to its first segment.

A search runs on a head with one CPU; nodes join one after the other, each with room for one worker, and
go again. Beside it, in the same cluster and in turn, what Ray needs to start an actor on a node that has
just joined: one that does nothing, and one that imports Ray Tune as every Tune trial does.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raysearch.bench.support.contest import contend, serve, show
from raysearch.bench.support.trivial import Trivial

PATIENCE_S = 120.0
STAMPS = "[0-9a-f]" * 56  # files named like nodes


class Stamping(Trivial):
    """Writes when its node's first iteration began."""

    def step(self) -> dict[str, Any]:
        """One iteration."""
        import ray

        _stamp(Path(self.config["folder"], ray.get_runtime_context().get_node_id()))
        return super().step()


class BareActor:
    """An actor that does nothing, or imports Ray Tune."""

    def __init__(self, folder: str, imports: bool) -> None:
        import ray

        if imports:
            import ray.tune
        _stamp(Path(folder, ray.get_runtime_context().get_node_id()))


def main(argv: list[str]) -> int:
    """Runs the rounds and prints medians."""
    parser = argparse.ArgumentParser(prog="raysearch bench join", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    found = contend(__name__, "rounds", {"rounds": options.rounds})
    rows = [
        {
            "from join to": what,
            "median_s": statistics.median(times),
            "least_s": min(times),
            "most_s": max(times),
        }
        for what, times in found.items()
        if what != "contender"
    ]
    beyond = [ours - bare for ours, bare in zip(found["first segment"], found["bare actor"], strict=True)]
    note = f"first segment beyond a bare actor, paired: median {statistics.median(beyond):.2f} s, "
    show(
        "join",
        rows,
        [f"{note}most {max(beyond):.2f} s of {options.rounds} rounds (asked: under 5 s)"],
        options.json,
    )
    return 0


def run_rounds(rounds: int) -> dict[str, list[float]]:
    """Seconds from join to the first segment, and to each kind of actor, by round."""
    import tempfile

    import ray
    from ray.cluster_utils import Cluster

    found: dict[str, list[float]] = {"bare actor": [], "actor that imports Ray Tune": [], "first segment": []}
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        try:
            with _searching(Path(folder), cluster.address):
                for _ in range(rounds):
                    _round(found, cluster, Path(folder))
        finally:
            ray.shutdown()
            cluster.shutdown()
    return found


def _round(found: dict[str, list[float]], cluster: Any, folder: Path) -> None:
    """One node for each kind of actor, and one for the search."""
    import ray

    for imports, what in ((False, "bare actor"), (True, "actor that imports Ray Tune")):
        actor = ray.remote(BareActor).options(num_cpus=0, resources={"bare": 1}).remote(str(folder), imports)
        found[what].append(_joined(cluster, folder, num_cpus=0, resources={"bare": 1}))
        ray.kill(actor)
    found["first segment"].append(_joined(cluster, folder, num_cpus=1))


def _joined(cluster: Any, folder: Path, **node: Any) -> float:
    """Seconds from when a new node is known to the cluster to its first stamp; the node leaves afterwards."""
    before = {n["NodeID"] for n in _nodes()}
    seen: list[tuple[str, float]] = []
    watching = threading.Thread(target=lambda: seen.append((_await(lambda: _new(before)), time.time())))
    watching.start()
    added = cluster.add_node(**node)  # in this thread: Ray sets signal handlers
    watching.join()
    new, joined = seen[0]
    stamp = folder / new
    at = _await(lambda: float(stamp.read_text() or "nan") if stamp.exists() else None)
    cluster.remove_node(added)
    _await(lambda: new not in {n["NodeID"] for n in _nodes()} or None)
    return float(at - joined)


def _new(before: set[str]) -> str | None:
    return next((n["NodeID"] for n in _nodes() if n["NodeID"] not in before), None)


@contextmanager
def _searching(folder: Path, address: str) -> Iterator[None]:
    """A search that goes on meanwhile, in a process of its own; Ctrl-C ends it."""
    options = json.dumps({"folder": str(folder), "address": address})
    child = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "search", options], stdout=subprocess.DEVNULL
    )
    try:
        _await(lambda: next(folder.glob(STAMPS), None))
        yield
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(PATIENCE_S)


def run_search(folder: str, address: str) -> dict[str, Any]:
    """Trains on all nodes of the cluster until it is interrupted."""
    import raysearch

    raysearch.search(
        Stamping,
        space={"x": {"uniform": [0.0, 1.0]}},
        config={"seconds": 0.2, "folder": folder},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(samples=10**6, max_iterations=9, sampler="random", finish=None),
        storage=folder,
        name="join",
        address=address,
        returns_when_stopped=True,
    )
    return {}


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _stamp(file: Path) -> None:
    if not file.exists():
        file.write_text(str(time.time()))


def _await(look: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while (found := look()) is None:
        if time.monotonic() > until:
            raise TimeoutError("a node that joined got no work")
        time.sleep(0.01)
    return found


if __name__ == "__main__":
    serve({"rounds": run_rounds, "search": run_search})
