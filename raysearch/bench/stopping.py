"""`raysearch bench stopping SOURCE`: what `stop_when` saves and loses on recorded curves; do forecasts hold?

Each search is simulated to its end, once; the rule then says where it would have stopped. Columns: the share
of searches that stop; cost saved, of the whole search's; regret lost by it (0 is the best value in the table,
1 what the median configuration reaches; of trials at full length); false stops, of those after which the
rule's cost would have gained what the rule asks after all; how often forecast intervals of 90% hold what
came, and the pinball loss of the forecasts. Controls: stopping every search at the same share of its cost,
and two other forecasters, scaled to the tuning tasks. Tasks with even numbers are tuning tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysearch.bench.support.contenders import CONTENDERS
from raysearch.bench.support.contest import chosen, show
from raysearch.bench.support.curves import Columns
from raysearch.bench.support.families import read_family
from raysearch.bench.support.stopping import (
    LEVELS,
    RIVALS,
    Checked,
    Stop,
    Whole,
    checked,
    pinball,
    stop_of,
    stopped_at,
    whole_search,
)
from raysearch.errors import SpecError
from raysearch.executors.simulated import Table


@dataclass(frozen=True)
class Found:
    """What came of one search.

    Attributes:
        controls: stops at the shares of SHARES of its cost.
    """

    is_tuning: bool
    regret: float
    stop: Stop
    forecasts: list[Checked]
    controls: list[Stop]


SHARES = tuple(np.arange(0.05, 1.0, 0.05))
Work = tuple[Table, str, int, bool, argparse.Namespace]


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    options = _parser().parse_args(list(args))
    tasks = tuple(options.tasks.split(",")) if options.tasks else None
    tables = read_family(options.source, Columns(metric=options.metric, mode=options.mode, tasks=tasks))
    if not tables:
        raise SpecError(f"{options.source}: no task has curves of this metric")
    rows = []
    for name in chosen(options.methods, CONTENDERS):
        found = _all_found(name, tables, options)
        for part, is_tuning in (("tuning", True), ("held out", False)):
            mine = [one for one in found if one.is_tuning is is_tuning]
            if mine:
                rows.append({"contender": f"{name}, {part}", **_row(mine)})
                rows += _rivals(found, mine, f"{name}, {part}")
    notes = [
        f"{len(tables)} tasks, {options.seeds} seeds each, {options.workers} workers, {options.full:g} mean "
        f"full trainings of virtual time each; gain below {options.gain_below:g} of the span from the median "
        f"to the best configuration, at {options.cost:g} of the whole search's cost"
    ]
    show(f"stop_when on {options.source}", rows, notes, options.json)
    return 0


def _all_found(name: str, tables: Mapping[str, Table], options: argparse.Namespace) -> list[Found]:
    work: list[Work] = [
        (table, name, 1000 * k + seed, k % 2 == 0, options)
        for seed in range(options.seeds)
        for k, table in enumerate(tables.values())
    ]
    if options.jobs > 1:
        with ProcessPoolExecutor(options.jobs) as pool:
            return list(pool.map(_one, work))
    return [*map(_one, work)]


def _one(work: Work) -> Found:
    table, name, seed, is_tuning, options = work
    strategy = CONTENDERS[name](table, seed, options.workers)
    whole = whole_search(table, strategy, options.workers, options.full)
    return found_in(whole, options.gain_below, options.cost, is_tuning)


def found_in(whole: Whole, gain_below: float, cost: float, is_tuning: bool) -> Found:
    """What the rule makes of a search, its forecasts, and the controls."""
    ahead = cost * whole.cost
    controls = [
        stopped_at(whole, max(0, whole.index_at(share * whole.cost)), gain_below, ahead) for share in SHARES
    ]
    stop = stop_of(whole, gain_below, cost)
    return Found(is_tuning, whole.regret(whole.best[-1]), stop, checked(whole, cost), controls)


def _row(found: Sequence[Found]) -> dict[str, Any]:
    stops = [one.stop for one in found]
    false = [stop.is_false for stop in stops if stop.is_false is not None]
    saved = float(np.mean([stop.saved for stop in stops]))
    regret, lost = np.mean([one.regret for one in found]), np.mean([stop.lost for stop in stops])
    with_forecasts = [one for one in found if one.forecasts]
    held = [np.mean([c.holds for c in one.forecasts]) for one in with_forecasts]
    loss = [np.mean([c.loss for c in one.forecasts]) for one in with_forecasts]
    return {
        "searches": len(found),
        "stopped": _rounded(np.mean([stop.is_false is not None for stop in stops])),
        "saved": _rounded(saved),
        "regret without": _rounded(regret),
        "lost": _rounded(lost),
        "false stops": _rounded(np.mean(false)) if false else None,
        "coverage": _rounded(np.mean(held)) if held else None,
        "pinball": _rounded(np.mean(loss)) if loss else None,
        "lost by a fixed share": _rounded(_lost_at(found, saved)),
    }


def _lost_at(found: Sequence[Found], saved: float) -> float:
    """Regret that stopping every search at one share of its cost loses, where it saves as much on average."""
    each = range(len(SHARES) - 1, -1, -1)
    means = [float(np.mean([one.controls[k].saved for one in found])) for k in each]
    losses = [float(np.mean([one.controls[k].lost for one in found])) for k in each]
    return float(np.interp(saved, [0.0, *means], [0.0, *losses]))


def _rivals(found: Sequence[Found], mine: Sequence[Found], title: str) -> list[dict[str, Any]]:
    """Coverage and loss of other forecasters, whose scale is fitted to the tuning tasks."""
    rows = []
    for name in RIVALS:
        tuning = [c for one in found if one.is_tuning for c in one.forecasts]
        ratios = [_ratio(c.gained, c.guesses[name]) for c in tuning]
        factors = np.quantile(ratios, [0.05, *LEVELS], method="inverted_cdf") if ratios else np.ones(6)
        held, loss = [], []
        for one in (one for one in mine if one.forecasts):
            guesses = [(c, c.guesses[name]) for c in one.forecasts]
            held.append(np.mean([g * factors[0] <= c.gained <= g * factors[-1] for c, g in guesses]))
            loss.append(np.mean([pinball([*(g * factors[1:])], c.gained) for c, g in guesses]))
        if held:
            figures = {"coverage": _rounded(np.mean(held)), "pinball": _rounded(np.mean(loss))}
            rows.append({"contender": f"  {title}: {name}", **figures})
    return rows


def _ratio(gained: float, guess: float) -> float:
    """How many times the guess came; at most 100, and that too where something came that was not guessed."""
    if gained <= 0:
        return 0.0
    return min(gained / guess, 100.0) if guess > 0 else 100.0


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench stopping", description=__doc__)
    parser.add_argument("source", help="as of `raysearch bench tables`")
    parser.add_argument("--metric", help="list column; the first that tells of accuracy, else the first")
    parser.add_argument("--mode", choices=("min", "max"), help="max for accuracies and the like")
    parser.add_argument("--tasks", help="with commas; all if not given")
    parser.add_argument("--methods", default="caviar", help=f"with commas, of {', '.join(CONTENDERS)}")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--full", type=float, default=8.0, help="mean full trainings of each worker, at most")
    parser.add_argument("--gain-below", type=float, default=0.02, help="in units of regret")
    parser.add_argument("--cost", type=float, default=0.05, help="share of the whole search's cost")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", action="store_true")
    return parser
