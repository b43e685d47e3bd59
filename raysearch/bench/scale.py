"""`raysearch bench scale`: a search of 10,000 workers under a virtual clock, with spot losses and stragglers.

The Search is the real one, with caviar; only the training is a table of curves. Measured are what it costs
the coordinator (its own time an exchange, memory for the search, a snapshot, a look for silent workers) and
what of the work gets `done`: segments that ended well, beside the undisturbed search. Of the workers' time,
`lost` was trained for nothing, `away` passed without a machine, `slow` is what stragglers took longer.

The last rows are arithmetic: how many workers one coordinator serves, by the length of a segment, at the
exchanges a second that `raysearch bench coordinator` measured. A worker takes a quarter of a second of work
at a time, so shorter segments cost no more exchanges.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from importlib import resources
from typing import Any

import numpy as np

from raysearch.bench.support.contest import contend, serve, show

BATCH_S = 0.25  # see worker.loop
ROWS = 2000
EPOCHS = 27
LENGTHS_S = (0.1, 1.0, 10.0, 60.0, 600.0)
SCENARIOS: dict[str, dict[str, float]] = {
    "undisturbed": {},
    "spot, 0.1 losses/h": {"losses_per_hour": 0.1, "back_after_s": 180.0},
    "spot, 1 loss/h": {"losses_per_hour": 1.0, "back_after_s": 180.0},
    "5% slow, by 3": {"slow_share": 0.05, "slow_by": 3.0},
    "spot 1/h, 5% slow": {
        "losses_per_hour": 1.0,
        "back_after_s": 180.0,
        "slow_share": 0.05,
        "slow_by": 3.0,
    },
}


def main(argv: list[str]) -> int:
    """Runs the scenarios, each in a fresh process, and prints their figures."""
    parser = argparse.ArgumentParser(prog="raysearch bench scale", description=__doc__)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=1.0, help="virtual")
    parser.add_argument("--segment-s", type=float, default=60.0, help="mean length of a first segment")
    parser.add_argument("--sampler", default="random", help="of caviar: random, sobol or model")
    parser.add_argument("--exchanges", type=float, help="a second; as measured if not given")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    settings = {
        "workers": options.workers,
        "hours": options.hours,
        "segment_s": options.segment_s,
        "sampler": options.sampler,
    }
    rows = [contend(__name__, name, settings) for name in SCENARIOS]
    for row in rows:
        row["done"] = f"{row['segments'] / rows[0]['segments']:.1%}"
    notes = _reach(options.exchanges or measured_exchanges())
    show(f"{options.workers:,} workers, {options.hours:g} h", rows, notes, options.json)
    return 0


def measured_exchanges() -> float:
    """Exchanges a second of a saturated coordinator, from the kept results."""
    text = (resources.files("raysearch.bench") / "results" / "coordinator.json").read_text("utf-8")
    rows = json.loads(text)["rows"]
    return next(
        float(row["exchanges_per_s"])
        for row in rows
        if row["contender"] == "coordinator" and row["load"] == "saturated"
    )


def reach(exchanges_per_s: float, segment_s: float) -> int:
    """How many workers one coordinator serves when their segments take so long."""
    return math.floor(exchanges_per_s * max(segment_s, BATCH_S))


def _reach(exchanges_per_s: float) -> list[str]:
    found = ", ".join(f"{reach(exchanges_per_s, s):,} at {s:g} s" for s in LENGTHS_S)
    return [f"workers that {exchanges_per_s:,.0f} exchanges/s serve, by length of a segment: {found}"]


def simulate(scenario: str, workers: int, hours: float, segment_s: float, sampler: str) -> dict[str, Any]:
    """One scenario."""
    import raysearch
    from raysearch.bench.support.contest import peak_mb
    from raysearch.core.segment import Status
    from raysearch.executors.simulated import SimulatedFaults, Simulator

    table = _table(segment_s)
    strategy = raysearch.Caviar(
        samples=100_000_000, max_iterations=EPOCHS, min_iterations=1, sampler=sampler, variant="promotion",
        finish=None,
    )  # fmt: skip
    before = peak_mb()
    faults = SimulatedFaults(**SCENARIOS[scenario])  # type: ignore[arg-type]
    simulator = Simulator(
        table,
        strategy.start(table.space, metric="loss", mode="min"),
        workers,
        hours * 3600.0,
        faults,
    )
    began = time.process_time()
    trace = simulator.run()
    taken = time.process_time() - began
    there = workers * hours * 3600.0
    well, lost = trace.seconds.get(Status.COMPLETED, 0.0), trace.seconds.get(Status.LOST, 0.0)
    away = trace.outcomes.get(Status.LOST, 0) * faults.back_after_s
    slow = well * _slower(faults)
    return {
        "segments": trace.outcomes.get(Status.COMPLETED, 0),
        "losses": trace.outcomes.get(Status.LOST, 0),
        "us_per_exchange": round(1e6 * taken / max(1, trace.exchanges), 1),
        "mb": round(peak_mb() - before),
        "snapshot_ms": round(_timed_ms(lambda: simulator.search.status(hours * 3600.0)), 1),
        "watch_ms": round(_timed_ms(lambda: simulator.search.attendance.overdue(0.0)), 1),
        "lost": f"{lost / there:.1%}",
        "away": f"{away / there:.1%}",
        "slow": f"{slow / there:.1%}",
    }


def _slower(faults: Any) -> float:
    """Which part of the time of segments that ended well was a straggler's delay."""
    done_slowly = faults.slow_share  # they work all the time, as the others do
    return float(done_slowly * (1.0 - 1.0 / faults.slow_by))


def _timed_ms(act: Any) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


def _table(segment_s: float) -> Any:
    """Curves a + b / epoch^c; an epoch takes a time that differs between configurations, lognormally."""
    from raysearch.executors.simulated import Table
    from raysearch.space.space import Space

    rng = np.random.default_rng(0)
    space = Space.from_dict({"row": {"randint": [0, ROWS - 1]}})
    epochs = np.arange(1, EPOCHS + 1)
    a, b, c = rng.random((ROWS, 1)), rng.random((ROWS, 1)), 0.3 + rng.random((ROWS, 1))
    each = segment_s * rng.lognormal(-0.125, 0.5, (ROWS, 1))
    configs = [{"row": row} for row in range(ROWS)]
    return Table(space, configs, a + b / epochs**c, each * epochs, "loss", "min")


if __name__ == "__main__":
    import functools

    serve({name: functools.partial(simulate, name) for name in SCENARIOS})
