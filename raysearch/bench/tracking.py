"""`raysearch bench tracking`: the cost of W&B to a search, and how long sending takes. Needs the tests' stand-in server.

Three figures, against a server on loopback that takes what the real client sends: how fast 200 lean runs
are sent; the memory of the tracking process (and of the client's own) while it sends 10,000 trials; and
how much slower a search is with W&B than without, in one run, the order alternating.
"""  # noqa: E501

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

KEY = "0" * 40
SPEC = """name: bench
metric: loss
mode: min
space: {{lr: {{loguniform: [1.0e-5, 1.0]}}, dropout: {{uniform: [0.0, 0.6]}}}}
strategy: {{name: caviar, samples: {samples}, max_iterations: 81}}
wandb: {{mode: online, project: bench, entity: team}}
"""


def main(argv: list[str]) -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="raysearch bench tracking", description=__doc__)
    parser.add_argument("--standin", default="tests", help="folder with wandb_standin.py")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3, help="of the search with and without W&B")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    sys.path.insert(0, options.standin)
    server = importlib.import_module("wandb_standin").StandIn()
    os.environ.update(WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows.append({"what": "lean runs", **pushed(folder / "runs", options.runs)})
        rows.append({"what": "large search", **pushed(folder / "large", options.trials)})
        if options.repeats:
            rows.append({"what": "search", **slowed(folder, options.trials, options.repeats)})
    server.close()
    for row in rows:
        print(
            json.dumps(row) if options.json else "  ".join(f"{name} {value}" for name, value in row.items())
        )
    return 0


def pushed(run: Path, trials: int) -> dict[str, Any]:
    """Seconds to push a run of so many trials, and the peak memory of the process and of the client's own."""
    from raysearch.bench.report import outcomes
    from raysearch.storage.journal.journal import Journal
    from raysearch.tracking.supervisor import end, start

    run.mkdir()
    (run / "spec.yaml").write_text(SPEC.format(samples=trials))
    with Journal.create(run / "journal") as journal:
        journal.append_event("start", {}, 1000.0)
        journal.append([*outcomes(trials)])
        journal.append_event("end", {"ending": "complete"}, 2000.0)
    began = time.perf_counter()
    process = start(run, KEY, "--push")
    peaks = {"process": 0.0, "client": 0.0}
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks), daemon=True)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - began
    end(process)
    state = json.loads((run / "tracking" / "wandb.json").read_text())
    return {
        "trials": trials,
        "complete": code == 0,
        "runs": state["runs"],
        "rows": state["rows"],
        "seconds": round(seconds, 1),
        "process_mb": round(peaks["process"]),
        "client_mb": round(peaks["client"]),
    }


def _watch(pid: int, peaks: dict[str, float]) -> None:
    """Peak resident memory of a process and, apart, of the W&B client's own process below it."""
    import psutil

    try:
        process = psutil.Process(pid)
        while True:
            peaks["process"] = max(peaks["process"], process.memory_info().rss / 2**20)
            for child in process.children(recursive=True):
                if "wandb-core" in child.name():
                    peaks["client"] = max(peaks["client"], child.memory_info().rss / 2**20)
            time.sleep(0.1)
    except psutil.NoSuchProcess:
        return


def slowed(folder: Path, trials: int, repeats: int) -> dict[str, Any]:
    """How much longer a search takes with W&B than without: medians, and the ratio of them."""
    seconds: dict[str, list[float]] = {"off": [], "online": []}
    for repeat in range(repeats):
        for mode in ("off", "online") if repeat % 2 == 0 else ("online", "off"):
            seconds[mode].append(_search(folder / f"{mode}-{repeat}", trials, mode))
    off, online = statistics.median(seconds["off"]), statistics.median(seconds["online"])
    return {
        "trials": trials,
        "without_s": round(off, 2),
        "with_s": round(online, 2),
        "slower": f"{online / off - 1:+.1%}",
        "each": {mode: [round(s, 2) for s in each] for mode, each in seconds.items()},
    }


def _search(folder: Path, trials: int, mode: str) -> float:
    """Seconds from the first outcome to the last of a search on Ray; sending the rest afterwards is not counted."""  # noqa: E501
    import numpy as np

    import raysearch
    from raysearch.bench.support.contest import cluster
    from raysearch.bench.support.working import Working

    with cluster(2) as scratch:
        results = raysearch.search(
            Working,
            space={"x": {"uniform": [0.0, 1.0]}},
            metric="loss",
            mode="min",
            strategy=raysearch.Caviar(
                samples=trials, max_iterations=9, min_iterations=1, sampler="random", finish=None
            ),
            workers=2,
            storage=str(scratch),
            name=folder.name,
            wandb={"mode": mode, "project": "bench", "entity": "team"},
            say=lambda line: None,
        )
        ends = np.asarray(results.segments()["finished_at"])
        return float(ends.max() - ends.min())
