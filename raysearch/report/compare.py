"""Searches side by side: the result, cost and speed of each.

A value is comparable only where metric and mode are the same; runs that differ in them are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.core.formatting import duration, number, settings
from raysearch.core.segment import trial_name
from raysearch.errors import RunError
from raysearch.results.plots import cluster
from raysearch.results.plots.progress import best_steps
from raysearch.results.plots.style import PALETTE, blank, empty, escape, metric_axis
from raysearch.space.names import dotted

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results.results import Results


@dataclass(frozen=True, slots=True)
class Compared:
    """One run of a comparison.

    Attributes:
        best: the metric of the best trial in its search, which is optimistic; NaN where none ended well.
        mean: of the winner on fresh seeds; None without a finish.
        better: than its baseline, in a word or two.
        worker_hours: trained by all workers together.
        busy: share of the workers' time in which they trained.
        reached_s: seconds from the start until the run first had what the poorest of the runs ended with;
            None where no run has a value.
    """

    run: str
    strategy: str
    trials: int
    segments: int
    best: float
    mean: float | None
    interval: tuple[float, float] | None
    significant: bool | None
    better: str
    config: dict[str, Any]
    failed: int
    wall_s: float
    worker_hours: float
    busy: float
    reached_s: float | None


def compare(runs: Sequence[Results]) -> list[Compared]:
    """One entry a run, in the order given.

    Raises:
        RunError: fewer than two runs, or their metrics or modes differ.
    """
    if len(runs) < 2:
        raise RunError("compare needs two runs or more")
    goals = {(*run.goals.modes.items(), *(limit.text for limit in run.goals.limits)) for run in runs}
    if len(goals) > 1:
        runs_text = ", ".join(f"{run.path} {_goal(run)}" for run in runs)
        raise RunError(f"these runs search for different things and cannot be compared: {runs_text}")
    target = _target(runs)
    return [_compared(run, target) for run in runs]


def _goal(run: Results) -> str:
    """What a run searches for: `min loss, max accuracy, latency_ms <= 20`."""
    modes = [f"{mode} {name}" for name, mode in run.goals.modes.items()]
    return ", ".join([*modes, *(limit.text for limit in run.goals.limits)])


def rows_of(results: Sequence[Results], found: Sequence[Compared]) -> list[tuple[str, ...]]:
    """One row a measure: its name, then a cell for each run."""
    goals = results[0].goals
    metric = f"{goals.leading} ({goals.note})" if goals.note else goals.leading
    rows = [
        ("strategy", *(one.strategy for one in found)),
        (f"best {metric}", *(number(one.best, 5) for one in found)),
        *_goal_rows(results),
        ("on fresh seeds", *(number(one.mean, 5) for one in found)),
        ("95% interval", *(_interval(one) for one in found)),
        ("better than its baseline", *(one.better for one in found)),
        (
            "as good as the poorest after",
            *(duration(one.reached_s) if one.reached_s is not None else "-" for one in found),
        ),
        ("trials", *(f"{one.trials:,}" for one in found)),
        ("failed segments", *(f"{one.failed:,}" for one in found)),
        ("took", *(duration(one.wall_s) for one in found)),
        ("trained", *(duration(one.worker_hours * 3600) for one in found)),
        ("workers busy", *(f"{one.busy:.0%}" for one in found)),
    ]
    configs = [settings(one.config, 5) for one in found]
    for name in dict.fromkeys(name for config in configs for name in config):
        rows.append((name, *(config.get(name, "-") for config in configs)))
    return rows


def _goal_rows(results: Sequence[Results]) -> list[tuple[str, ...]]:
    """What counts besides the leading objective, of the trial that each run takes, and its front."""
    goals = results[0].goals
    if goals.is_plain or any(run.raised is not None for run in results):
        return []
    picks = [run.front.pick() if run.front.members else None for run in results]
    rows = [
        (dotted(name), *("-" if pick is None else number(pick.values[name], 5) for pick in picks))
        for name in goals.metrics
        if name != goals.leading
    ]
    if goals.several:
        rows.append(("configurations on the front", *(str(len(run.front)) for run in results)))
    if goals.limits:
        rows.append(("trials beyond the limits", *(f"{int(run.digest.beyond.sum()):,}" for run in results)))
    return rows


def progress(runs: Sequence[Results]) -> go.Figure:
    """The best value so far of each run, over the hours since its own start."""
    steps = [(run, *best_steps(run.digest)) for run in runs]
    known = [s for s in steps if len(s[1])]
    if not known:
        return empty("No run has a value yet.")
    figure = blank(400)
    for i, (run, hours, values, trials) in enumerate(known):
        end = run.digest.took_s / 3600
        figure.add_scatter(
            x=[*hours, end],
            y=[*values, values[-1]],
            mode="lines",
            name=escape(run.path.name),
            line={"shape": "hv", "width": 2.2, "color": PALETTE[i % len(PALETTE)]},
            text=[f"trial {trial_name(int(t), ',')}" for t in [*trials, trials[-1]]],
            hovertemplate="%{text}<br>%{x:.3g} h<br>%{y:.5g}",
        )
    figure.update_xaxes(title_text="hours since the start")
    flat = np.concatenate([s[2] for s in known]).tolist()
    figure.update_yaxes(title_text=escape(known[0][0].metric), **metric_axis(flat, known[0][0].mode))
    return figure


def _target(runs: Sequence[Results]) -> float | None:
    """The poorest of the values that the runs ended with."""
    ends = [float(best_steps(run.digest)[1][-1]) for run in runs if len(best_steps(run.digest)[1])]
    if not ends:
        return None
    return max(ends) if runs[0].mode == "min" else min(ends)


def _compared(run: Results, target: float | None) -> Compared:
    digest, verdict = run.digest, run.verdict()
    try:
        best: Any = run.best
    except RunError:
        best = None
    share, hours, _ = cluster.utilisation(digest)
    when, values, _ = best_steps(digest)
    there = values <= target if run.mode == "min" and target is not None else values >= (target or 0.0)
    return Compared(
        run=str(run.path),
        strategy=str(run.spec.get("strategy", {}).get("name", "?")),
        trials=len(digest.trials),
        segments=len(digest.segments),
        best=float(best.value) if best else float("nan"),
        mean=best.mean if best else None,
        interval=best.interval if best else None,
        significant=verdict.significant,
        better=verdict.better,
        config=dict(best.config) if best else {},
        failed=int(digest.segments.having("status", "failed").sum()),
        wall_s=digest.took_s,
        worker_hours=hours,
        busy=share,
        reached_s=float(when[there][0]) * 3600 if target is not None and there.any() else None,
    )


def _interval(one: Compared) -> str:
    return "-" if one.interval is None else f"{number(one.interval[0], 5)} to {number(one.interval[1], 5)}"
