"""`raysearch bench plan`: how good the advice of `raysearch plan` is, on simulated situations.

Each situation is a landscape (see `landscapes`), a number of workers, a budget of whole trainings and a
deadline. In each every strategy that fits is run, sized as the plan would size it, from settings that are
middling guesses. The log of the true loss of what is handed over, less the best of all in hindsight, is the
regret: 0.1 is a loss 10% higher. `within 10%`: the share of situations in which the advised strategy is that
    near to the best.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysearch.bench.support.contest import show
from raysearch.bench.support.landscapes import Landscape, run
from raysearch.strategies import advice as planning
from raysearch.strategies.advice import Advice, advise
from raysearch.strategies.situation import Situation

NAMES = ("caviar", "panda", "two_stage", "guarded")


@dataclass(frozen=True)
class Case:
    """A situation on a landscape; `guess` is how far, in decades, the learning rate at hand may be off."""

    task: Landscape
    situation: Situation
    guess: float
    seed: int


def cases(count: int, first: int) -> list[Case]:
    """Situations drawn over budgets, depths, workers and curve families."""
    found = []
    for number in range(first, first + count):
        rng = np.random.default_rng((3, number))
        workers = int(rng.choice([1, 2, 4, 8, 16, 32]))
        depth = float(np.exp(rng.uniform(math.log(1.05), math.log(12.0))))
        horizon = int(rng.choice([27, 81]))
        task = Landscape(
            seed=number,
            condition=float(10 ** rng.uniform(1, 3)),
            noise=float(10 ** rng.uniform(-1.5, 0)),
            others=int(rng.integers(1, 5)),
            penalty=float(10 ** rng.uniform(-0.5, 2.0)),
            blur=float(10 ** rng.uniform(-2.5, -1)),
            steps=int(rng.choice([10, 40, 160])) * 81 // horizon,
            horizon=horizon,
            scheduled=bool(rng.random() < 0.5),
        )
        hours = depth * horizon / 3600
        situation = Situation(
            horizon,
            1.0,
            workers,
            hours=hours,
            dimension=task.space.dimension,
            has_schedule=task.scheduled,
            nudgeable=task.space.dimension,
        )
        found.append(Case(task, situation, float(rng.uniform(0.2, 1.2)), number))
    return found


def outcomes(case: Case, seeds: int = 3) -> dict[str, float]:
    """Mean log of the true loss that each strategy hands over; absent if it does not fit."""
    found: dict[str, float] = {}
    for name, advice in alternatives(case.situation).items():
        recipe: Any = advice.recipe(case.situation.horizon)
        losses = []
        for seed in range(seeds):
            rng = np.random.default_rng((case.seed, seed))
            task = case.task.fresh()
            middle = task.space.decode(np.clip(0.5 + rng.normal(0, 0.15, task.space.dimension), 0, 1))
            baseline = {**middle, "lr": float(np.clip(10 ** (-1.5 + case.guess * rng.normal()), 1e-4, 1.0))}
            strategy = recipe.start(task.space, metric="loss", mode="min", seed=seed, baseline=baseline)
            until = case.situation.depth * case.situation.horizon
            losses.append(math.log(max(min(run(strategy, task, case.situation.workers, until), 1e3), 1e-12)))
        found[name] = float(np.mean(losses))
    return found


def alternatives(s: Situation) -> dict[str, Advice]:
    """Each strategy, sized for the situation."""
    found = {"guarded": planning._guarded(s, ()), "caviar": planning._caviar(s, (), 3)}
    found["panda"] = planning._panda(s, (), ())
    if s.depth >= planning.TWICE:
        found["two_stage"] = planning._both(s, (), 3)
    return found


def advised(s: Situation) -> str:
    """The name of the advised strategy, as in `alternatives`."""
    advice = advise(s)
    is_guarded = advice.strategy == "panda" and advice.settings.get("budget") == 1.0 and advice.trials == 1
    return "guarded" if is_guarded else advice.strategy


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    o = _parser().parse_args(list(args))
    began = time.perf_counter()
    every = cases(o.situations, o.first)
    with ProcessPoolExecutor(o.processes) as pool:
        results = list(pool.map(outcomes, every, [o.seeds] * len(every)))
    rows = table(every, results)
    notes = [f"{len(every)} situations, {o.seeds} seeds each, {time.perf_counter() - began:.0f} s"]
    show("plan: regret of the advice", rows, notes, o.json)
    return 0


def table(every: Sequence[Case], results: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """A row for the advice and one for each strategy taken always; where it does not fit, the guarded run."""
    rows = []
    for name in ("the plan", *NAMES):
        picks = [advised(c.situation) if name == "the plan" else name for c in every]
        taken = [r.get(p, r["guarded"]) for p, r in zip(picks, results, strict=True)]
        regrets = np.array([t - min(r.values()) for t, r in zip(taken, results, strict=True)])
        rows.append(
            {
                "contender": name,
                "within_10%": round(float((regrets <= math.log(1.1)).mean()), 3),
                "mean_regret": round(float(regrets.mean()), 3),
                "median_regret": round(float(np.median(regrets)), 3),
                "worst": round(float(regrets.max()), 2),
                "chosen": sum(advised(c.situation) == name for c in every) if name != "the plan" else None,
            }
        )
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench plan", description=__doc__)
    parser.add_argument("--situations", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first situation")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser
