"""The winner of a run: the best trial of its search, or the best of its finish over fresh seeds."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raysearch.core.segment import Config
from raysearch.errors import RunError, unknown
from raysearch.results.run_rows import RunRows
from raysearch.results.verdict import Contender
from raysearch.storage.checkpoints import checkpoints_of


@dataclass(frozen=True, slots=True)
class Best:
    """The winner.

    Attributes:
        value: the metric of this trial in the search, after `iteration` iterations. It was picked for
            being the best, so it is optimistic; `mean` is not.
        checkpoint: folder of the model as it was then. Where a function saves only now and then: as it was
            when it saved last, after the iteration that `.raysearch.json` in the folder says. None if it was
            not kept, or the trainable writes none.
        mean: over fresh seeds, `seeds` of them; None without a finish.
        interval: of the mean, 95%; None with fewer than two seeds.

    >>> best = results.best
    >>> print(f"trial {best.trial}: loss {best.mean:.3f} on {best.seeds} seeds")
    trial 5: loss 0.396 on 3 seeds
    """

    trial: int
    config: Config
    value: float
    iteration: int
    checkpoint: Path | None
    mean: float | None = None
    interval: tuple[float, float] | None = None
    seeds: int = 0


def best_of(run: RunRows, root: Path, finals: Contender | None, unfit: Collection[int] = frozenset()) -> Best:
    """The winner: `finals`, that of the finish, or without one the best trial of the search.

    `root` is the run's folder; trials numbered in `unfit` are never best.

    Raises:
        RunError: no trial ended well with a finite value; says how many failed, and of what first.
    """
    if finals is not None:
        return _crowned(run, root, finals)
    ranking = [at for at in run.trials.ranking() if int(run.trials.numbers[at]) not in unfit]
    if not len(ranking):
        raise RunError(_why_none(run))
    return _best_at(run, root, int(ranking[0]))


def contenders(run: RunRows, unfit: Collection[int] = frozenset()) -> list[Contender]:
    """The configurations of the longest finish: earlier, shorter ones do not compare."""
    rows, segments = run.finals, run.segments
    if not len(rows):
        return []
    picked = segments.table.take(rows)
    longest = max(picked["stop"].to_pylist())
    names = ("role", "source", "seed", "status", "stop", "error")
    values, configs = segments.last[rows].tolist(), segments.configs(rows)
    found: dict[tuple[str, int | None], Contender] = {}
    for row, value, config in zip(picked.select(names).to_pylist(), values, configs, strict=True):
        if row["stop"] < longest or row["status"] == "lost" or row["source"] in unfit:
            continue
        key = (row["role"], row["source"])
        old = found.get(key) or Contender(*key, config, {})
        value = value if row["status"] == "completed" else math.nan
        found[key] = Contender(*key, config, {**old.values, row["seed"]: value}, [*old.errors, row["error"]])
    return [*found.values()]


def failures(run: RunRows) -> tuple[int, str]:
    """(how many of the search's trials failed, the error of the first of them or nothing)."""
    leaves = run.trials.leaves
    failed = leaves[run.segments.having("status", "failed")[leaves]]
    errors = run.segments.table["error"].take(failed[:1]).to_pylist()
    return len(failed), str(errors[0] or "") if errors else ""


def _crowned(run: RunRows, root: Path, winner: Contender) -> Best:
    estimate = winner.estimate
    interval = None if math.isnan(estimate.low) else (estimate.low, estimate.high)
    at = np.flatnonzero(run.trials.numbers == winner.source)
    # A final can repeat a trial that this journal does not hold.
    best = _best_at(run, root, int(at[0])) if len(at) else _best_of_finals(run, root, winner)
    return Best(
        best.trial,
        winner.config,
        best.value,
        best.iteration,
        best.checkpoint,
        estimate.mean,
        interval,
        estimate.n,
    )


def _best_at(run: RunRows, root: Path, at: int) -> Best:
    trials, segments = run.trials, run.segments
    row, value, iteration = int(trials.leaves[at]), float(trials.values[at]), int(trials.iterations[at])
    ended_well = segments.having("status", "completed")
    if not ended_well[row]:  # its value is from before the failure
        rows = trials.rows(at)
        well = rows[ended_well[rows] & np.isfinite(segments.last[rows])]
        row = int(well[-1]) if len(well) else row
        value, iteration = float(segments.last[row]), int(segments.reached[row])
    (config,) = segments.configs([row])
    return Best(int(trials.numbers[at]), config, value, iteration, _checkpoint(run, root, row))


def _best_of_finals(run: RunRows, root: Path, winner: Contender) -> Best:
    segments = run.segments
    rows = [r for r in run.finals if segments.table["source"][int(r)].as_py() == winner.source]
    worse = [(-1 if segments.mode == "max" else 1) * segments.last[r] for r in rows]
    row = int(rows[int(np.nanargmin(worse))])
    trial = int(segments.integers("trial")[row])
    value, iteration = float(segments.last[row]), int(segments.reached[row])
    return Best(trial, winner.config, value, iteration, _checkpoint(run, root, row))


def _checkpoint(run: RunRows, root: Path, row: int) -> Path | None:
    name = run.segments.table["checkpoint"][row].as_py()
    checkpoints = checkpoints_of(root)
    return checkpoints.path(name) if name is not None and checkpoints.exists(name) else None


def _why_none(run: RunRows) -> str:
    """Why no trial is the best one."""
    trials, segments = run.trials, run.segments
    if not len(trials):
        return f"{run.path}: no trial has ended yet"
    failed, first_error = failures(run)
    parts = [f"{run.path}: no trial ended well: {failed} of {len(trials)} failed"]
    diverged = segments.having("status", "diverged")[trials.leaves]
    if diverged.any():
        parts.append(f"{int(diverged.sum())} diverged ({segments.metric} became NaN or infinite)")
    why = ", ".join(parts)
    if first_error:
        return f"{why}. The first error: {first_error}"
    reported = [name for name in segments.spans if name != segments.metric]
    if segments.metric not in segments.spans and reported:
        return f"{why}. {unknown('metric', segments.metric, reported)}"
    return why
