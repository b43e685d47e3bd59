"""`raysearch bench tables FILE`: how well strategies search recorded learning curves, at equal virtual time.

Mean normalised regret of the best value seen so far, at any epoch: 0 is the best value in the table, 1
what the median configuration reaches. Time is counted in mean full trainings, each worker's own.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raysearch.bench.support.contest import chosen, show
from raysearch.bench.support.curves import Columns, read_tables
from raysearch.bench.support.rivals import FullTrainings, OneEpoch, RayAsha, shuffled
from raysearch.executors.simulated import Floats, RowsOf, SimulatedFaults, Simulator, Table
from raysearch.strategies.base import Strategy
from raysearch.strategies.caviar.settings import Caviar
from raysearch.strategies.samplers.factory import make_sampler

Contender = Callable[[Table, int], Strategy]


def caviar(recipe: Caviar) -> Contender:
    """The recipe, without its finish, its proposals moved to the nearest unused rows."""

    def start(table: Table, seed: int) -> Strategy:
        sampler = make_sampler(recipe.sampler, table.space, seed, table.epochs)
        mine = replace(
            recipe,
            samples=len(table.configs),
            max_iterations=table.epochs,
            sampler=RowsOf(table, sampler),
            finish=None,
        )
        return mine.start(table.space, metric=table.metric, mode=table.mode, seed=seed)

    return start


def full_trainings(table: Table, seed: int) -> Strategy:
    """Random search."""
    return FullTrainings(shuffled(table.configs, seed), table.epochs)


def one_epoch(table: Table, seed: int) -> Strategy:
    """One epoch for as many as cost four full trainings, then the best fully."""
    configs = shuffled(table.configs, seed)[: 4 * table.epochs]
    return OneEpoch(configs, table.epochs, table.metric, table.mode)


def ray_asha(table: Table, seed: int) -> Strategy:
    """Ray Tune's ASHA with eta 3 and grace period 1."""
    return RayAsha(shuffled(table.configs, seed), table.epochs, table.metric, table.mode, eta=3, first=1)


CAVIAR = Caviar(samples=1, max_iterations=1)
CONTENDERS: Mapping[str, Contender] = {
    "random": full_trainings,
    "one-epoch": one_epoch,
    "ray-asha": ray_asha,
    "caviar-random": caviar(replace(CAVIAR, sampler="random")),
    "caviar-sobol": caviar(replace(CAVIAR, sampler="sobol")),
    "caviar": caviar(CAVIAR),
    "caviar-stopping": caviar(replace(CAVIAR, variant="stopping")),
}


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    options = _parser().parse_args(list(args))
    names = chosen(options.methods, CONTENDERS)
    tables = read_tables(options.file, _columns(options))
    at = [float(a) for a in options.at.split(",")]
    faults = SimulatedFaults(options.worker_dies, options.fails, options.diverges)
    rows = [
        {"contender": name, **measure(CONTENDERS[name], tables, options.seeds, options.workers, at, faults)}
        for name in names
    ]
    one = next(iter(tables.values()))
    title = f"regret on {options.file}: {one.metric} ({one.mode})"
    notes = [
        f"{len(tables)} tasks, {options.seeds} seeds each, {options.workers} workers, after "
        f"{options.at} mean full trainings of virtual time; se: standard error of the last column"
    ]
    show(title, rows if options.json else [_without_tasks(r) for r in rows], notes, options.json)
    return 0


def measure(
    contender: Contender,
    tables: Mapping[str, Table],
    seeds: int,
    workers: int,
    at: Sequence[float],
    faults: SimulatedFaults,
) -> dict[str, Any]:
    """Mean regret at each time, over all tasks and seeds, and by task."""
    began = time.perf_counter()
    regrets = np.array(
        [
            [
                run(contender(table, seed), table, workers, at, replace(faults, seed=seed))
                for seed in range(1000 * task, 1000 * task + seeds)
            ]
            for task, table in enumerate(tables.values())
        ]
    )
    mean = regrets.mean((0, 1))
    spread = regrets[..., -1].mean(1).std(ddof=1) if len(tables) > 1 else math.nan
    return {
        **{f"{a:g}": round(float(m), 4) for a, m in zip(at, mean, strict=True)},
        "se": round(float(spread / math.sqrt(len(tables))), 4),
        "real_s": round(time.perf_counter() - began, 1),
        "tasks": {n: r.mean(0).round(4).tolist() for n, r in zip(tables, regrets, strict=True)},
    }


def run(
    strategy: Strategy, table: Table, workers: int, at: Sequence[float], faults: SimulatedFaults
) -> Floats:
    """The regret at each time; 1 while nothing was seen."""
    times = [a * table.full_seconds for a in at]
    trace = Simulator(table, strategy, workers, max(times), faults).run()
    best = trace.best_at(times, table.mode)
    return np.where(np.isfinite(best), table.regret(np.nan_to_num(best)), 1.0)


def _columns(options: argparse.Namespace) -> Columns:
    return Columns(
        metric=options.metric,
        mode=options.mode,
        seconds=options.time,
        log=tuple(filter(None, options.log.split(","))) if options.log is not None else None,
        tasks=tuple(options.tasks.split(",")) if options.tasks else None,
    )


def _without_tasks(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != "tasks"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench tables", description=__doc__)
    parser.add_argument("file", help="Parquet: columns task or problem, hp_*, and list columns of curves")
    parser.add_argument("--metric", help="list column; the first that tells of accuracy, else the first")
    parser.add_argument("--mode", choices=("min", "max"), help="max for accuracies and the like")
    parser.add_argument("--time", help="list column of cumulative seconds; without one an epoch costs 1")
    parser.add_argument("--log", help="hyper-parameters on a log scale, with commas; else decided by range")
    parser.add_argument("--tasks", help="with commas; all if not given")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--at", default="0.25,0.5,1,2", help="times, in mean full trainings")
    parser.add_argument("--methods", help=f"with commas, of {', '.join(CONTENDERS)}; all if not given")
    parser.add_argument("--worker-dies", type=float, default=0.0, help="probability a segment")
    parser.add_argument("--fails", type=float, default=0.0, help="probability a segment")
    parser.add_argument("--diverges", type=float, default=0.0, help="probability a segment")
    parser.add_argument("--json", action="store_true")
    return parser
