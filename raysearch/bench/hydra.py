"""`raysearch bench hydra`: how busy workers are with jobs of unequal length, beside Hydra's Optuna sweeper.

The same application, number of workers, and jobs, which wait, as jobs whose work a GPU does: two cores hold
twenty of them. Their lengths are lognormal. The peer asks for a batch of `--workers` jobs, has
hydra-joblib-launcher run them, and asks for the next when all have ended. `steady_busy` is the share of the
workers' time in jobs from when each worker process has begun one to when the last job began, NaN where some
never did: give more `--trials`; `up_s` is how long after the first job's begin that was. `busy` is the share
from the first job's begin to the last one's end; `wall_s` is the whole command with its start.

The peer needs hydra-optuna-sweeper and hydra-joblib-launcher, whose Optuna is older than raysearch's: give
the Python of an environment of theirs, `--peer PYTHON`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysearch.bench.support.contest import BenchError, show

APPLICATION = Path(__file__).parent / "support" / "hydra_jobs.py"
SPACE = ("lr=tag(log, interval(0.0001, 1))",)


def main(argv: list[str]) -> int:
    """Runs both sweeps and prints their figures."""
    parser = argparse.ArgumentParser(prog="raysearch bench hydra", description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--median", type=float, default=4.0, help="seconds that a job waits")
    parser.add_argument("--sigma", type=float, default=0.8, help="of the logarithm of its length")
    parser.add_argument("--peer", metavar="PYTHON", help="with hydra-optuna-sweeper; without it, ours alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    count, cpus = options.workers, round((os.cpu_count() or 1) / (options.workers + 1), 3)
    ours = (
        *("hydra/sweeper=raysearch", "hydra.sweeper.local=true", "hydra.sweeper.strategy=null"),
        f"hydra.sweeper.workers={{count: {count}, cpu: {cpus}}}",
    )
    sweeps: dict[str, tuple[str, tuple[str, ...]]] = {"raysearch": (sys.executable, ours)}
    if options.peer:
        theirs = (f"hydra.sweeper.n_jobs={count}", f"hydra.launcher.n_jobs={count}")
        sweeps["optuna"] = (options.peer, ("hydra/sweeper=optuna", "hydra/launcher=joblib", *theirs))
    rows = []
    for name, (python, arguments) in sweeps.items():
        print(f"running {name} ...", file=sys.stderr, flush=True)
        times = (f"median={options.median}", f"sigma={options.sigma}")
        trials = (f"hydra.sweeper.n_trials={options.trials}", *times)
        rows.append({"contender": name, **_swept(python, (*arguments, *trials), count)})
    asked = f"asked: steady_busy at least 0.95 with {count} workers"
    show("hydra", rows, [asked], options.json)
    return 0


def _swept(python: str, arguments: Sequence[str], workers: int) -> dict[str, Any]:
    """The figures of one sweep. Raises BenchError where it failed, with the end of what it printed."""
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as folder:
        stamps = Path(folder, "stamps")
        stamps.mkdir()
        command = [python, str(APPLICATION), "--multirun", *arguments, *SPACE, f"stamps={stamps}"]
        roots = os.pathsep.join(one for one in sys.path if one and "site-packages" not in one)
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
        if python == sys.executable:
            environment["PYTHONPATH"] = roots
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - began
        jobs = [_job(file.read_text("utf-8")) for file in stamps.iterdir()]
    if done.returncode or len(jobs) < workers:
        raise BenchError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return {**figures(jobs, workers), "wall_s": wall}


def _job(stamp: str) -> tuple[float, float, float]:
    begin, end, process = map(float, stamp.split())
    return begin, end, process


def figures(jobs: Sequence[tuple[float, float, float]], workers: int) -> dict[str, float]:
    """Shares of the workers' time in jobs, of their (begin, end, process), begin and end in seconds.

    >>> figures([(0.0, 1.0, 7), (1.0, 2.0, 7), (2.0, 4.0, 8), (2.5, 4.0, 7), (4.0, 5.0, 7)], 2)
    {'jobs': 5, 'steady_busy': 0.875, 'up_s': 2.0, 'busy': 0.65, 'job_s': 6.5}
    """
    begun: dict[float, float] = {}
    for begin, _, process in sorted(jobs):
        begun.setdefault(process, begin)
    start, last, end = (min(b for b, _, _ in jobs), max(b for b, _, _ in jobs), max(e for _, e, _ in jobs))
    first = sorted(begun.values())[workers - 1] if len(begun) >= workers else float("nan")

    def share(start: float, stop: float) -> float:
        spent = sum(max(0.0, min(e, stop) - max(b, start)) for b, e, _ in jobs)
        return spent / (workers * (stop - start)) if stop > start else float("nan")

    return {
        "jobs": len(jobs),
        "steady_busy": share(first, last),
        "up_s": first - start,
        "busy": share(start, end),
        "job_s": sum(e - b for b, e, _ in jobs),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
