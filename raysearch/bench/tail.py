"""`raysearch bench tail`: when a second search gets workers, while a first one trains its last trial.

Four CPUs. The first search has four trials, of which one takes `--seconds`; the second could use any number
of workers. Seconds from the second command to its first, second and third worker; a search that kept its
idle workers to its end would leave it two, half of the cluster, and the third only then.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raysearch.bench.support.contest import BenchError, cluster, contend, serve, show
from raysearch.bench.support.processes import wait_until
from raysearch.bench.support.witnessed import Witnessed
from raysearch.engine.snapshot import Snapshot

CPUS = 4
LONG = 0.68  # of four rates drawn evenly from 0.01 to 0.9 one is above
PATIENCE_S = 300.0
STAMPS = "workers-{}"


class Lopsided(Witnessed):
    """One trial of four is long."""

    def step(self) -> dict[str, float]:
        """One iteration, which is all of a trial."""
        time.sleep(self.config["long"] if self.config["lr"] > LONG else 0.0)
        return super().step()


def main(argv: list[str]) -> int:
    """Runs both searches and prints the second one's times."""
    parser = argparse.ArgumentParser(prog="raysearch bench tail", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the first search's last trial")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    found = contend(__name__, "both", {"seconds": options.seconds})
    show(
        "tail",
        [found],
        [f"the first search ended {found['first_ends_s']:.0f} s after the second began"],
        options.json,
    )
    return 0


def run_both(seconds: float) -> dict[str, Any]:
    """Seconds from the second search's begin to each of its workers, and to the end of the first."""
    import ray

    with cluster(CPUS) as folder:
        address = ray.get_runtime_context().gcs_address
        with _searching(folder, address, "first", seconds) as first:
            _await(lambda: _at(folder, "first", CPUS) is not None)
            began = time.time()
            with _searching(folder, address, "second", 0.0):
                _await(lambda: _at(folder, "second", CPUS - 1) is not None)
                _await(lambda: first.poll() is not None)
                ended = time.time()
        times = [(_at(folder, "second", count) or began) - began for count in range(1, CPUS)]
    return {**{f"worker_{i}_s": at for i, at in enumerate(times, 1)}, "first_ends_s": ended - began}


def run_search(folder: str, address: str, name: str, seconds: float) -> dict[str, Any]:
    """One search; notes when it first has so many workers. Without `seconds` it has no end."""
    import raysearch

    def look(status: Snapshot) -> None:
        count = sum(bool(worker.node) for worker in status.live.workers.values())
        for reached in range(1, count + 1):
            stamp = Path(folder, name + STAMPS.format(reached))
            if not stamp.exists():
                stamp.write_text(str(time.time()))

    raysearch.search(
        Lopsided,
        space={"lr": {"uniform": [0.01, 0.9]}},
        config={"long": seconds, "seconds": 0.0 if seconds else 0.5},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(
            samples=CPUS if seconds else 10**6, max_iterations=1, sampler="sobol", finish=None
        ),
        storage=folder,
        name=name,
        address=address,
        on_status=look,
        returns_when_stopped=True,
    )
    return {}


@contextmanager
def _searching(folder: Path, address: str, name: str, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """A search in a process of its own; Ctrl-C ends it, if it has not ended."""
    options = json.dumps({"folder": str(folder), "address": address, "name": name, "seconds": seconds})
    child = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "search", options], stdout=subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        child.wait(PATIENCE_S)


def _at(folder: Path, name: str, count: int) -> float | None:
    """When a search had so many workers; None if it never had."""
    stamp = folder / (name + STAMPS.format(count))
    return float(stamp.read_text() or "nan") if stamp.exists() else None


def _await(condition: Any) -> None:
    if not wait_until(condition, PATIENCE_S):
        raise BenchError("the second search did not get its workers")


if __name__ == "__main__":
    serve({"both": run_both, "search": run_search})
