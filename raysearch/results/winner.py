"""The winner of a run: the best trial of its search, or the best of its finish over fresh seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raysearch.core.segment import Config, score
from raysearch.errors import RunError, unknown
from raysearch.results.model import Model, horizon_of, model_of, reach
from raysearch.results.verdict import Contender, Verdict
from raysearch.strategies.hand_over import handed_over

if TYPE_CHECKING:
    from raysearch.results.run_rows import RunRows

NONE_KEPT = "none was kept, or its trainable writes none"
NONE_OF_FINISH = (
    "no checkpoint of the finish was kept; that of the trial in the search was {}, and the verdict is on "
    "whole trainings"
)


@dataclass(frozen=True, slots=True)
class Best:
    """The winner.

    Attributes:
        value: the metric of this trial in the search, after `iteration` iterations. It was picked for
            being the best, so it is optimistic; `mean` is not.
        checkpoint: folder of the model that is handed over, which `model` says more of; None if none was
            kept, or the trainable writes none.
        mean: over fresh seeds, `seeds` of them; None without a finish.
        interval: of the mean, 95%; None with fewer than two seeds.
        horizon: iterations of a whole training; None if the strategy does not say. The trial may have fewer.
        model: after a finish the model of one of its trainings of the winner, the best; else that of the
            trial. Where a function saves only now and then: as it was when it saved last.
        no_model: why there is none; empty where there is one.
        baseline: the baseline as the finish trained it, with its own model; None without one, or where it
            is the winner itself.

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
    horizon: int | None = None
    model: Model | None = None
    no_model: str = ""
    baseline: Best | None = None

    @property
    def reach(self) -> str:
        """The iteration of `value`; where the trial is shorter than a whole training, `3 of 9`."""
        is_short = self.horizon is not None and self.iteration < self.horizon
        return reach(self.iteration, self.horizon if is_short else None)


def best_of(
    run: RunRows, root: Path, verdict: Verdict, unfit: Collection[int] = frozenset(), limited: bool = False
) -> Best:
    """The winner: that of the finish, or without one the best trial of the search.

    Args:
        root: the run's folder.
        unfit: numbers of trials that are never best.
        limited: there are limits, within which only ends of lines are known to be.

    Raises:
        RunError: no trial ended well with a finite value; says how many failed, and of what first.
    """
    if verdict.winner is not None:
        best = _crowned(run, root, verdict.winner)
        if verdict.baseline is None or verdict.baseline_won:
            return best
        return dataclasses.replace(best, baseline=_crowned(run, root, verdict.baseline))
    found = _best_line(run, root, unfit, limited) if run.raises else _best_trial(run, unfit)
    if found is None:
        raise RunError(_why_none(run))
    best, row = found
    return _with_model(best, model_of(run, root, row), NONE_KEPT)


def failures(run: RunRows) -> tuple[int, str]:
    """(how many of the search's trials failed, the error of the first of them or nothing)."""
    leaves = run.trials.leaves
    failed = leaves[run.segments.having("status", "failed")[leaves]]
    errors = run.segments.table["error"].take(failed[:1]).to_pylist()
    return len(failed), str(errors[0] or "") if errors else ""


def _crowned(run: RunRows, root: Path, winner: Contender) -> Best:
    """A contender of a finish, the winner or the baseline, with the model of one of its trainings there."""
    estimate = winner.estimate
    interval = None if math.isnan(estimate.low) else (estimate.low, estimate.high)
    rows = _final_rows(run, winner)
    at = np.flatnonzero(run.trials.numbers == winner.source)
    # A final can repeat a trial that this journal does not hold.
    found = _best_at(run, int(at[0])) if len(at) else None
    best, row = found or (_best_there(run, rows[0]), rows[0])
    best = dataclasses.replace(
        best, config=winner.config, mean=estimate.mean, interval=interval, seeds=estimate.n
    )
    of_finish = (model_of(run, root, final, len(rows)) for final in rows)
    model = next((model for model in of_finish if model is not None), None)
    if model is not None:
        return _with_model(best, model)
    searched = model_of(run, root, row)
    if searched is None or searched.iteration >= run.segments.reached[rows[0]]:
        return _with_model(best, searched, NONE_KEPT)
    trained = f"trained {reach(searched.iteration, searched.horizon)} iterations"
    return _with_model(best, None, NONE_OF_FINISH.format(trained))


def _with_model(best: Best, model: Model | None, why_none: str = "") -> Best:
    if model is None:
        return dataclasses.replace(best, no_model=why_none)
    return dataclasses.replace(best, checkpoint=model.path, model=model)


def _final_rows(run: RunRows, winner: Contender) -> list[int]:
    """Rows of the whole trainings of a contender that ended well, the best first."""
    segments, rows = run.segments, run.finals
    of_it = segments.having("role", winner.role)[rows] & segments.having("status", "completed")[rows]
    rows = rows[of_it & (segments.integers("stop")[rows] == segments.integers("stop")[rows].max())]
    sources = segments.table["source"].take(rows).to_pylist()
    mine = [int(row) for row, source in zip(rows, sources, strict=True) if source == winner.source]
    values = {row: score(float(segments.last[row]), segments.mode) for row in mine}
    return sorted((row for row in mine if math.isfinite(values[row])), key=lambda row: values[row])


def _best_trial(run: RunRows, unfit: Collection[int]) -> tuple[Best, int] | None:
    ranking = (int(at) for at in run.trials.ranking() if int(run.trials.numbers[at]) not in unfit)
    at = next(ranking, None)
    return None if at is None else _best_at(run, at)


def _best_line(run: RunRows, root: Path, unfit: Collection[int], limited: bool) -> tuple[Best, int] | None:
    numbers = run.segments.integers("trial")
    row = next((int(row) for row in run.line_ranking if int(numbers[row]) not in unfit), None)
    if row is None:
        return None
    trial = int(numbers[row])
    row = row if limited else _handed_over(run, root, row)
    return dataclasses.replace(_best_there(run, row), trial=trial), row


def _handed_over(run: RunRows, root: Path, end: int) -> int:
    """The row of the segment whose model a line hands over that ended with this row.

    An earlier one of a whole training, where it is better beyond noise and its checkpoint is there.
    """
    segments = run.segments
    if run.horizon is None or segments.reached[end] < run.horizon:
        return end
    way = run.way_to(end)
    row = way[handed_over([score(float(segments.last[one]), segments.mode) for one in way])]
    return end if row == end or model_of(run, root, row) is None else row


def _best_at(run: RunRows, at: int) -> tuple[Best, int]:
    """(a trial as the winner, the row of its last segment that ended well)."""
    trials, segments = run.trials, run.segments
    row, value, iteration = int(trials.leaves[at]), float(trials.values[at]), int(trials.iterations[at])
    ended_well = segments.having("status", "completed")
    if not ended_well[row]:  # its value is from before the failure
        rows = trials.rows(at)
        well = rows[ended_well[rows] & np.isfinite(segments.last[rows])]
        row = int(well[-1]) if len(well) else row
        value, iteration = float(segments.last[row]), int(segments.reached[row])
    return dataclasses.replace(_best_there(run, row), value=value, iteration=iteration), row


def _best_there(run: RunRows, row: int) -> Best:
    """The trial, the line or the training of the finish that ends with this segment, as the winner."""
    segments = run.segments
    (config,) = segments.configs([row])
    trial, reached = int(segments.integers("trial")[row]), int(segments.reached[row])
    return Best(trial, config, float(segments.last[row]), reached, None, horizon=horizon_of(run))


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
