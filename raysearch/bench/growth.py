"""`raysearch bench growth`: how rate, memory, disk and waiting grow, up to a million trials.

Workers are simulated in one process; the engine (caviar decides) and the journal are real. Each round all
workers hand in an outcome and take a segment, and one flush makes the round durable. One thing grows at a
time:

- `trials`, begun by 64 workers, with 8 hyper-parameters and curves of 9 points;
- `trials, model`: the same with the sampler that learns, up to 10,000;
- `workers`, at 10,000 trials; `hyper-parameters`, at 2,000; `points` of a curve, at 100 trials.

Each search has a process of its own; then others resume it to the first new lease and look at it with
`status`, `best` and `trials --limit 10`, start of Python included. Seconds, and `us each` of an outcome, are
CPU time, the compaction's included, so that other load on the machine matters little; `turn ms`, the median
round with its wait for the disk, and `p99 ms` are not. Below stand fitted exponents (1: in proportion, 0:
fixed) and what grows faster than n log n: in trials, a round faster than log n.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.bench.resume import open_and_lease
from raysearch.bench.support.contest import contend, serve, show
from raysearch.bench.support.growth_fit import exponent, grows_too_fast
from raysearch.bench.support.growth_run import simulate
from raysearch.bench.support.regret_figure import check_figure
from raysearch.errors import SpecError

BASE: dict[str, Any] = {"trials": 1000, "workers": 64, "names": 8, "points": 9, "sampler": "random"}
MODEL_MOST = 10_000
LOOKS = {"status": ("status",), "best": ("best",), "trials": ("trials", "--limit", "10")}
COSTS = ("cpu_s", "turn_cpu_ms", "memory_mb", "disk_mb", "resume_s", "status_s", "best_s", "trials_s")
UNSHOWN = ("axis", "size", "outcomes", "cpu_s", "turn_cpu_ms")  # in the table
LEAST_MB = 4.0  # less memory is the allocator's


def main(argv: list[str]) -> int:
    """Runs the searches, prints a table and what grows too fast, and draws the figure if asked to."""
    options = _parser().parse_args(argv)
    figure = check_figure(options.figure) if options.figure else None
    searches = [one for one in plan(options.most, options.least) if _is_asked(one, options.only)]
    if not searches:
        raise SpecError(f"--only {' '.join(options.only)}: allowed: {', '.join(sorted(AXES))}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as scratch:
        for number, (axis, size, settings) in enumerate(searches):
            run = str(Path(options.folder or scratch) / f"growth-{number}")
            found = contend(__name__, "simulate", {"run": run, **settings})
            if axis != "workers":
                found |= contend(__name__, "look", {"run": run})
            rows.append({**found, "contender": f"{size:,} {axis}", "axis": axis, "size": size})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if figure is not None:
        from raysearch.bench.support.growth_figure import draw_growth

        draw_growth(figure, rows)
    shown = rows if options.json else [_without(row, *UNSHOWN) for row in rows]
    show("growth", shown, verdicts(rows), options.json)
    return 0


def look(run: str) -> dict[str, Any]:
    """CPU seconds of the run's resume (as in `bench resume`) and of looks at it, a process each."""
    spent = [_children_s()]
    open_and_lease(run, 1)
    spent.append(_children_s())
    for words in LOOKS.values():
        command = [sys.executable, "-m", "raysearch.cli", words[0], run, *words[1:]]
        subprocess.run(command, check=True, capture_output=True, text=True)
        spent.append(_children_s())
    names = ("resume", *LOOKS)
    return {f"{name}_s": after - before for name, before, after in zip(names, spent, spent[1:], strict=False)}


def _children_s() -> float:
    """CPU seconds of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def plan(most: int, least: int = 100) -> list[tuple[str, int, dict[str, Any]]]:
    """(what grows, how much of it there is, the settings) of each search, trials from `least` to `most`."""
    trials = [least * 10**k for k in range(10) if least * 10**k <= most]
    few = min(10 * least, most)
    changes = [
        ("trials", [{"trials": n} for n in trials]),
        ("trials, model", [{"trials": n, "sampler": "model"} for n in trials if n <= MODEL_MOST]),
        ("workers", [{"workers": n, "trials": 10 * few} for n in (1, 10, 100, 1000) if n <= most]),
        ("hyper-parameters", [{"names": n, "trials": 2 * few} for n in (1, 10, 50, 200)]),
        ("points", [{"points": n, "trials": least} for n in (1, 100, 1000, 10_000, 100_000)]),
    ]
    return [(axis, one[AXES[axis]], {**BASE, **one}) for axis, ones in changes for one in ones]


AXES = {
    "trials": "trials",
    "trials, model": "trials",
    "workers": "workers",
    "hyper-parameters": "names",
    "points": "points",
}


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fitted exponents for each thing that grew, and a sentence of what grows too fast."""
    notes, fast = [], []
    for axis in dict.fromkeys(row["axis"] for row in rows):
        here = [row for row in rows if row["axis"] == axis]
        if len(here) < 2:
            continue
        sizes = [float(row["size"]) for row in here]
        found = []
        for name in COSTS:
            costs = [float(row.get(name, 0.0)) for row in here]
            found.append(f"{name.rsplit('_', 1)[0]} {exponent(sizes, costs):.2f}")
            is_noise = name == "memory_mb" and max(costs) < LEAST_MB
            if not is_noise and grows_too_fast(
                sizes, costs, name == "turn_cpu_ms" and AXES[axis] == "trials"
            ):
                fast.append(f"{name.rsplit('_', 1)[0]} with {axis}")
        notes.append(f"exponents by {axis}: {', '.join(one for one in found if not one.endswith('nan'))}")
    return [*notes, f"faster than n log n: {', '.join(fast) or 'nothing'}"]


def _is_asked(search: tuple[str, int, dict[str, Any]], only: Sequence[str] | None) -> bool:
    return not only or search[0] in only


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench growth", description=__doc__)
    parser.add_argument("--most", type=int, default=100_000, help="trials of the largest search")
    parser.add_argument("--least", type=int, default=100, help="trials of the smallest one")
    parser.add_argument("--only", nargs="*", help=f"some of: {'; '.join(AXES)}")
    parser.add_argument("--figure", help="draw the costs into this .html file")
    parser.add_argument("--folder", help="leave the runs there")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    serve({"simulate": simulate, "look": look})
