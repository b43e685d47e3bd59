"""`raysearch bench resume`: from the start of a process to the first new lease of a run with a long past.

Makes the journal of a caviar search (asynchronous successive halving to 81 iterations, eta 3, seven
hyper-parameters of which one is conditional, two metrics an iteration) and stops it when it has the
segments asked for. Then a fresh process opens the run as `raysearch resume` does, replays the journal
into the strategy and asks for a lease. Made once for each size and seed, in --folder if that is given.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from raysearch.bench.support.contest import contend, peak_mb, serve, show

BATCH = 4096
HORIZON = 81


def main(argv: list[str]) -> int:
    """Makes the run if need be, opens it in fresh processes and prints how long each took."""
    parser = argparse.ArgumentParser(prog="raysearch bench resume", description=__doc__)
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the run is made, and found the next time")
    parser.add_argument("--times", type=int, default=3, help="how often it is opened")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as scratch:
        run = (options.folder or Path(scratch)) / f"resume-{options.segments}"
        values = {"run": str(run), "segments": options.segments}
        rows = [] if run.exists() else [contend(__name__, "make", values)]
        rows += [contend(__name__, "open", values) for _ in range(options.times)]
        opened = [row["first_lease_s"] for row in rows if "first_lease_s" in row]
        notes = [f"first new lease after {min(opened):.1f} to {max(opened):.1f} s"]
        show("resume", rows, notes, options.json)
    return 0


def _spec(run: Path) -> Any:
    from raysearch.spec.search_spec import make_spec
    from raysearch.strategies.caviar.settings import Caviar

    return make_spec(
        trainable="raysearch.bench.support.trivial:Trivial",
        name=run.name,
        storage=str(run.parent),
        metric="val_loss",
        mode="min",
        space={
            "lr": {"loguniform": [1e-5, 1.0]},
            "weight_decay": {"loguniform": [1e-6, 1e-1]},
            "momentum": {"uniform": [0.0, 0.99]},
            "dropout": {"uniform": [0.0, 0.5]},
            "batch_size": {"choice": [32, 64, 128, 256]},
            "optimizer": {"choice": ["sgd", "adamw"]},
            "beta2": {"uniform": [0.9, 0.999], "when": {"optimizer": "adamw"}},
        },
        strategy=Caviar(samples=100_000_000, max_iterations=HORIZON, sampler="random", finish=None),
        seed=1,
    )


def make(run: str, segments: int) -> dict[str, Any]:
    """The run's folder, with a journal of so many outcomes."""
    from raysearch.engine.search import Search
    from raysearch.storage.journal.journal import Journal
    from raysearch.storage.paths import RunPaths

    began = time.perf_counter()
    root = Path(run)
    root.mkdir(parents=True)
    spec = _spec(root)
    strategy = spec.strategy.start(spec.space, metric=spec.metric, mode=spec.mode, seed=spec.seed)
    written = 0
    with Journal.create(RunPaths(root).journal) as journal:
        search = Search(strategy, metric=spec.metric, mode=spec.mode, journal=journal, now=0.0)
        done: list[Any] = []
        while written < segments:
            worker, now = f"worker-{written // BATCH % 64}", 1e9 + written / 100
            reply = search.exchange(worker, done, min(BATCH, segments - written), now)
            done = [_outcome(lease.segment) for lease in reply.leases]
            written += len(done)
        search.exchange(worker, done, 0, now)
    RunPaths(root).spec.write_text(spec.to_yaml())
    files = sum(file.stat().st_size for file in RunPaths(root).journal.iterdir())
    return {"segments": written, "seconds": time.perf_counter() - began, "bytes_per_segment": files / written}


def _outcome(segment: Any) -> Any:
    """A completed training, whose loss falls with the root of the iteration to what its config is worth."""
    from raysearch.core.segment import Outcome, Status

    floor = abs(segment.config["momentum"] - 0.9) + segment.config["dropout"] / 10
    losses = [floor + 2.0 * i**-0.5 for i in range(segment.start + 1, segment.stop + 1)]
    curve = {"val_loss": losses, "val_accuracy": [1 / (1 + loss) for loss in losses]}
    return Outcome(segment, Status.COMPLETED, curve, None, 1.0 * (segment.stop - segment.start))


def open_and_lease(run: str, segments: int) -> dict[str, Any]:
    """Opens the run in a process of its own; counted from its start, imports included."""
    code = (
        "import time, sys; began = time.perf_counter()\n"
        "from raysearch.bench.resume import first_lease\n"
        "first_lease(sys.argv[1], began)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, run], capture_output=True, text=True, check=True, env={**os.environ}
    )
    seconds, replay, megabytes = (float(text) for text in done.stdout.split()[-3:])
    return {
        "segments": segments,
        "first_lease_s": seconds,
        "segments_per_s": segments / replay,
        "memory_mb": megabytes,
    }


def first_lease(run: str, began: float) -> None:
    """Prints (seconds since `began`, of them for opening, peak memory in MB) with the first lease."""
    from raysearch.run.session import Session, Setup
    from raysearch.spec.search_spec import load_spec

    opening = time.perf_counter()
    session = Session.open(Setup(run, load_spec(Path(run) / "spec.yaml")), time.time())
    opened = time.perf_counter() - opening
    reply = session.search.exchange("worker-0", [], 1, time.time())
    seconds = time.perf_counter() - began
    assert reply.leases, session.search.lifetime.ending
    session.journal.close()
    print(seconds, opened, peak_mb())


if __name__ == "__main__":
    serve({"make": make, "open": open_and_lease})
