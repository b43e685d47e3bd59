"""`raysearch bench transfer FILE`: the gain from remembered searches, leaving one task out at a time.

Every task is searched without a past first; what it tried becomes its record. Then each task is searched
beginning from the records of all others: as they are (good), with their scores shuffled (random), and turned
upside down, so that the worst look best (misleading). `speed-up` is how much sooner, in virtual time, a
search reaches the regret that the one without a past has after one full training; its median over the tasks.

With `--foreign N` each task also begins from its own history elsewhere: a study of Optuna's (TPE, median
pruner) of N trials, written by Optuna and read as `raysearch memory import` does; as it is, and upside down.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raysearch.bench.support.contest import show
from raysearch.bench.support.curves import Columns, read_tables
from raysearch.bench.support.foreign_history import foreign_record
from raysearch.core.segment import Outcome
from raysearch.engine.search import Search
from raysearch.executors.simulated import Floats, RowsOf, Simulator, Table, Trace
from raysearch.strategies.caviar.settings import Caviar
from raysearch.strategies.samplers.factory import make_sampler
from raysearch.strategies.samplers.transfer_settings import Transfer
from raysearch.workflows.memory.recall import Record, recall

PASTS = ("good", "random", "misleading")
FOREIGN = ("foreign", "foreign, misleading")  # a study of Optuna's of the same task
GRID = np.geomspace(0.01, 4.0, 400)  # times in full trainings


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    o = _parser().parse_args(list(args))
    names = tuple(o.tasks.split(",")) if o.tasks else None
    columns = Columns(metric=o.metric, log=tuple(o.log.split(",")) if o.log else None, tasks=names)
    tables = read_tables(o.file, columns)
    alone = {n: [search(t, s, o.workers, o.until, None) for s in range(o.seeds)] for n, t in tables.items()}
    records = {n: record_of(n, tables[n], alone[n][0][1]) for n in tables}
    rows = [row("none", tables, {n: [r[0] for r in runs] for n, runs in alone.items()}, alone, o.at)]
    for past in filter(None, o.pasts.split(",")):
        traces = {}
        for number, (name, table) in enumerate(tables.items()):
            others = [spoilt(r, past, number) for n, r in records.items() if n != name]
            recalled = recall(others, table.space, table.metric, table.mode)
            traces[name] = [
                search(table, s, o.workers, o.until, recalled.transfer)[0] for s in range(o.seeds)
            ]
        rows.append(row(past, tables, traces, alone, o.at))
    for past in FOREIGN if o.foreign else ():
        begun = {n: _foreign(n, t, o.foreign, past) for n, t in tables.items()}
        traces = {
            n: [search(t, s, o.workers, o.until, begun[n])[0] for s in range(o.seeds)]
            for n, t in tables.items()
        }
        rows.append(row(past, tables, traces, alone, o.at))
    notes = [
        f"{len(tables)} tasks, {o.seeds} seeds, {o.workers} workers; regret after {o.at} full trainings of "
        f"virtual "
        "time; times to the regret of no past after one, as a multiple of its own time"
    ]
    show(f"transfer on {o.file}", rows, notes, o.json)
    return 0


def search(
    table: Table, seed: int, workers: int, until: float, transfer: Transfer | None
) -> tuple[Trace, Search]:
    """A caviar search of a table, begun from a past or not."""
    inner = RowsOf(table, make_sampler("model", table.space, seed, table.epochs))
    recipe = Caviar(len(table.configs), table.epochs, sampler=inner, finish=None, transfer=transfer)
    strategy = recipe.start(table.space, metric=table.metric, mode=table.mode, seed=seed)
    kept = RecordedStrategy(strategy)
    trace = Simulator(table, kept, workers, until * table.full_seconds).run()
    return trace, kept  # type: ignore[return-value]


class RecordedStrategy:
    """A strategy that remembers its outcomes."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self.outcomes: list[Outcome] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strategy, name)

    def tell(self, outcome: Outcome) -> None:
        """Notes an outcome and passes it on."""
        self.outcomes.append(outcome)
        self._strategy.tell(outcome)


def record_of(name: str, table: Table, watched: Any) -> Record:
    """The record of a search in a memory."""
    last: dict[int, Outcome] = {}
    for outcome in watched.outcomes:
        trial = outcome.segment.trial
        if trial not in last or outcome.reached > last[trial].reached:
            last[trial] = outcome
    done = list(last.values())
    return Record(
        task=name,
        run=name,
        metric=table.metric,
        mode=table.mode,
        space=table.space.to_dict(),
        configs=[o.segment.config for o in done],
        iterations=[o.reached for o in done],
        values=[o.curve[table.metric][-1] for o in done],
        at=0.0,
    )


def spoilt(record: Record, past: str, seed: int) -> Record:
    """A record as it is, shuffled, or turned upside down."""
    if past == "good":
        return record
    if past == "random":
        order = np.random.default_rng((5, seed)).permutation(len(record.configs))
        return replace(record, configs=[record.configs[i] for i in order])
    order = np.argsort(record.scores)
    turned: list[Any] = [None] * len(order)
    for best, worst in zip(order, order[::-1], strict=True):
        turned[best] = record.configs[worst]
    return replace(record, configs=turned)


def row(
    name: str,
    tables: Mapping[str, Table],
    traces: Mapping[str, Sequence[Trace]],
    alone: Mapping[str, Sequence[tuple[Trace, Any]]],
    at: str,
) -> dict[str, Any]:
    """Mean regrets, and how long it took to where the search without a past was after one full training."""
    regrets = np.array([np.mean([curve(tables[n], t) for t in traces[n]], axis=0) for n in tables])
    without = np.array([np.mean([curve(tables[n], t) for t, _ in alone[n]], axis=0) for n in tables])
    ratios = np.array([first_below(r, w) / first_below(w, w) for r, w in zip(regrets, without, strict=True)])
    means = {a: round(float(regrets.mean(0)[np.searchsorted(GRID, float(a))]), 4) for a in at.split(",")}
    return {
        "contender": f"past: {name}",
        **means,
        "speed_up": round(float(1 / np.median(ratios)), 2),
        "time_median": round(float(np.median(ratios)), 3),
        "time_mean": round(float(np.exp(np.log(ratios).mean())), 3),
        "time_worst": round(float(ratios.max()), 2),
    }


def _foreign(name: str, table: Table, trials: int, past: str) -> Transfer:
    """The transfer from a study of Optuna's of the same task."""
    record = foreign_record(name, table, trials)
    used = record if past == FOREIGN[0] else spoilt(record, "misleading", 0)
    return recall([used], table.space, table.metric, table.mode).transfer


def curve(table: Table, trace: Trace) -> Floats:
    """The regret on the grid of times; 1 while nothing was seen."""
    best = trace.best_at((GRID * table.full_seconds).tolist(), table.mode)
    return np.where(np.isfinite(best), table.regret(np.nan_to_num(best)), 1.0)


def first_below(regret: Floats, reference: Floats) -> float:
    """The first time at which a regret is at most the reference's after one full training."""
    target = reference[np.searchsorted(GRID, 1.0)]
    reached = np.flatnonzero(regret <= target + 1e-12)
    return float(GRID[reached[0]]) if len(reached) else float(GRID[-1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench transfer", description=__doc__)
    parser.add_argument("file", help="Parquet of learning curves, as for bench tables")
    parser.add_argument("--metric")
    parser.add_argument("--log", help="hyper-parameters on a log scale, with commas; else decided by range")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--until", type=float, default=float(GRID[-1]), help="full trainings of virtual time")
    parser.add_argument("--at", default="0.25,0.5,1,2")
    parser.add_argument("--pasts", default=",".join(PASTS))
    parser.add_argument("--foreign", type=int, default=0, metavar="N", help="trials of a study elsewhere")
    parser.add_argument("--tasks", help="of the file, with commas; all if left out")
    parser.add_argument("--json", action="store_true")
    return parser
