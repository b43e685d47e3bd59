"""`raysearch bench kills`: the cost of one killed worker a minute in a search of long segments.

Workers that wait 20 s a segment, so that many fit on few cores. The same search twice, one after the other,
each on a Ray cluster of its own: left in peace, and with `kill -9` of a random worker every minute.
`seconds` from the first segment's begin to the last outcome; an independent reader checks both journals.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

from raysearch.bench.support import audit
from raysearch.bench.support.contest import cluster, contend, serve, show
from raysearch.bench.support.faults import WORKER
from raysearch.bench.support.processes import descendants
from raysearch.engine.snapshot import Snapshot

ITERATIONS = 20
ALLOWED = 0.10  # more wall time, at one kill a minute


def main(argv: list[str]) -> int:
    """Runs both and prints their figures; 1 if an outcome was lost or it took too long."""
    parser = argparse.ArgumentParser(prog="raysearch bench kills", description=__doc__)
    parser.add_argument("--segments", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=20.0, help="a segment")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0, help="decides which worker is killed")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args(argv)
    values = {"segments": o.segments, "seconds": o.seconds, "workers": o.workers, "seed": o.seed}
    calm = contend(__name__, "in peace", {**values, "every": 0.0})
    rough = contend(__name__, "with kills", {**values, "every": o.every})
    more = rough["seconds"] / calm["seconds"] - 1
    note = f"{rough['kills']} kills: {more:+.1%} wall time (at most {ALLOWED:+.0%})"
    show("kills", [calm, rough], [note], o.json)
    whole = all(row["outcomes"] == o.segments and row["doubled"] == 0 for row in (calm, rough))
    return 0 if whole and more <= ALLOWED else 1


def search(segments: int, seconds: float, workers: int, seed: int, every: float) -> dict[str, Any]:
    """One search of one-segment trials, with a kill every so many seconds (0: none)."""
    import raysearch

    with cluster(workers) as folder:
        over = threading.Event()
        killer = Killer(every, seed, over)
        if every:
            killer.start()
        raysearch.search(
            "raysearch.bench.support.witnessed:Witnessed",
            space={"lr": {"uniform": [0.01, 0.9]}},
            config={"seconds": seconds / ITERATIONS},
            metric="loss",
            mode="min",
            strategy=raysearch.Caviar(
                samples=segments,
                max_iterations=ITERATIONS,
                min_iterations=ITERATIONS,
                sampler="sobol",
                finish=None,
            ),
            workers=workers,
            storage=str(folder),
            name="kills",
            on_status=killer.look,
        )
        over.set()
        return {"kills": killer.kills, **_figures(folder / "kills" / "journal")}


class Killer(threading.Thread):
    """Kills a random worker that trains, again and again."""

    def __init__(self, every: float, seed: int, over: threading.Event) -> None:
        super().__init__(daemon=True, name="killer")
        self.kills = 0
        self._every = every
        self._rng = random.Random(seed)
        self._over = over
        self._trains = threading.Event()

    def look(self, status: Snapshot) -> None:
        """The driver's snapshots: the clock starts when all workers train."""
        if status.live.running == len(status.live.workers) > 0:
            self._trains.set()

    def run(self) -> None:
        self._trains.wait()
        while not self._over.wait(self._every):
            os.kill(self._rng.choice(_workers()), signal.SIGKILL)
            self.kills += 1


def _workers() -> list[int]:
    """The pids of this search's worker processes."""
    return sorted(p.pid for p in descendants(os.getpid()) if p.title.startswith(WORKER))


def _figures(journal: Path) -> dict[str, Any]:
    rows = [row for row in audit.read(journal) if row["event"] is None]
    finals = [row for row in rows if row["status"] != "lost"]
    segments = {(row["trial"], row["ordinal"]) for row in finals}
    began = min(row["finished_at"] - row["seconds"] for row in finals)
    return {
        "seconds": max(row["finished_at"] for row in finals) - began,
        "outcomes": len(segments),
        "doubled": len(finals) - len(segments),
        "tried_again": len(rows) - len(finals),
    }


if __name__ == "__main__":
    serve({"in peace": search, "with kills": search})
