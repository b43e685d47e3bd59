"""`raysearch bench script`: what a trial takes as a script, beyond the start of the script itself.

A script that reports its iterations and saves nothing, by each way of reporting: as a trial of a search in
this process, and started bare with the same words. `overhead` is what a trial takes from the end of the one
before it to its own, less the median of the bare starts; bare starts and searches take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from raysearch.bench.support.contest import show

TRIALS = 8  # of a search
WAYS = {
    "json": 'import json\nfor i in range(N):\n    print(json.dumps({"loss": 1.0 / (i + 1)}))\n',
    "report": 'import raysearch\nfor i in range(N):\n    raysearch.report({"loss": 1.0 / (i + 1)})\n',
}


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    parser = argparse.ArgumentParser(prog="raysearch bench script", description=__doc__)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args(list(args))
    rows = []
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as name:
        for way, text in WAYS.items():
            script = Path(name, f"train_{way}.py")
            script.write_text(f"N = {o.iterations}\n{text}", encoding="utf-8")
            rows.append({"contender": way, **compared(script, o.turns, o.iterations)})
    notes = [f"medians of {o.turns} x {TRIALS} trials of {o.iterations} iterations, one after another"]
    show("a trial as a script", rows, notes, o.json)
    return 0


def compared(script: Path, turns: int, iterations: int) -> dict[str, Any]:
    """Seconds of the script alone and as a trial."""
    bare: list[float] = []
    trials: list[float] = []
    for _ in range(turns):
        bare += [_alone(script) for _ in range(TRIALS)]
        trials += _searched(script, iterations)
    own, whole = median(bare), median(trials)
    return {
        "alone_ms": round(own * 1e3, 1),
        "trial_ms": round(whole * 1e3, 1),
        "overhead_ms": round((whole - own) * 1e3, 1),
        "of_the_quickest_ms": round((min(trials) - min(bare)) * 1e3, 1),
    }


def _alone(script: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, script, "--lr=0.5"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _searched(script: Path, iterations: int) -> list[float]:
    """Seconds from each outcome of a search to the next."""
    import raysearch

    strategy = raysearch.Caviar(
        TRIALS + 1, iterations, min_iterations=iterations, sampler="random", finish=None
    )
    with contextlib.redirect_stdout(io.StringIO()):  # what the script prints
        results = _results(script, strategy)
    ends = results.segments()["finished_at"].sort_values().tolist()
    return [after - before for before, after in itertools.pairwise(ends)]


def _results(script: Path, strategy: Any) -> Any:
    import raysearch

    return raysearch.search(
        {"program": str(script)},  # type: ignore[arg-type]
        space={"lr": {"uniform": [0.0, 1.0]}},
        metric="loss",
        mode="min",
        strategy=strategy,
        storage=str(script.parent),
        executor="inline",
        progress=False,
        say=lambda line: None,
    )
