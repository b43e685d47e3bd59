"""How the search went: the best so far over time, and how many trials came how far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raysearch.core.formatting import duration, number
from raysearch.core.segment import trial_name
from raysearch.results.plots.digest import Digest, goal_ends, time_scale, unit_of
from raysearch.results.plots.style import (
    ACCENT,
    BEST,
    QUIET,
    STATUS_COLOURS,
    blank,
    empty,
    escape,
    metric_axis,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results.columns import Floats, Integers

POINTS = 1500
RIVALS = 8  # of the best trials, whose cost is compared


def best_steps(digest: Digest) -> tuple[Floats, Floats, Integers]:
    """(hours since the start, value, trial) at which the best value so far changed.

    Segments count by the metric's last value when they ended, whatever iteration that was; of limits those
    within them.
    """
    rows = digest.search_rows
    if digest.goals.limits:
        rows = rows[goal_ends(digest, rows)[1]]
    at, values = digest.ended[rows], digest.segments.last[rows]
    order = np.argsort(at, kind="stable")
    order = order[np.isfinite(values[order])]
    worse = values[order] if digest.mode == "min" else -values[order]
    if not len(order):
        return np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
    running = np.minimum.accumulate(worse)
    new = np.append(True, running[1:] < running[:-1])
    kept = order[new]
    return (at[kept] - digest.zero) / 3600, values[kept], digest.segments.integers("trial")[rows[kept]]


def progress(digest: Digest) -> go.Figure:
    """The metric of each trial at its end, and the best so far, over the time that the run was run."""
    positions, sampled = digest.sample(POINTS // 3, POINTS * 2 // 3)
    if not len(positions):
        return empty("No trial has a value yet.")
    hours, steps, numbers = best_steps(digest)
    scale, unit = time_scale(digest)
    trials = digest.trials
    ends = (digest.ended[trials.leaves[positions]] - digest.zero) / 3600 * scale
    note = (
        f"{len(positions):,} of {len(digest.ranking):,} trials are drawn: the best {POINTS // 3:,}, and others at random."  # noqa: E501
        if sampled
        else ""
    )
    about = f"{digest.metric} {digest.goals.note}." if digest.goals.note else ""
    figure = blank(400, " ".join(filter(None, (about, note, digest.lives_note))))
    figure.add_scatter(
        x=ends,
        y=trials.values[positions],
        mode="markers",
        name="trials, where they ended",
        marker={"color": QUIET, "size": 5, "opacity": 0.55},
        text=[
            f"trial {trial_name(n, ',')}, {i:,} iterations"
            for n, i in zip(
                trials.numbers[positions].tolist(), trials.iterations[positions].tolist(), strict=True
            )
        ],
        hovertemplate="%{text}<br>%{y:.5g}<extra></extra>",
    )
    last = float(np.nanmax(digest.ended[digest.search_rows]) - digest.zero) / 3600
    if len(steps):
        _best_line(figure, hours * scale, steps, numbers, last * scale)
    _baseline(figure, digest, last * scale)
    figure.update_xaxes(title_text=f"{unit} since the start")
    figure.update_yaxes(
        title_text=f"{escape(digest.metric)} ({digest.way}{', leads' if digest.goals.several else ''})",
        **metric_axis([*trials.values[positions], *steps], digest.mode),
    )
    return figure


def _best_line(figure: go.Figure, x: Floats, steps: Floats, numbers: Integers, last: float) -> None:
    """The best value so far, to the end of the search."""
    figure.add_scatter(
        x=[*x, last],
        y=[*steps, steps[-1]],
        mode="lines",
        name="best so far",
        line={"color": BEST, "width": 2.5, "shape": "hv"},
        text=[f"trial {trial_name(n, ',')}" for n in [*numbers.tolist(), int(numbers[-1])]],
        hovertemplate="%{text}<br>best so far %{y:.5g}<extra></extra>",
    )


@dataclass(frozen=True, slots=True)
class Settling:
    """What the best trials had cost by the time that each was there.

    Attributes:
        trials: their numbers, the best first.
        values: of the metric at their ends.
        spent: hours of training in all trials by the time that each of these had ended.
        total: hours of training in the whole search, without the finish.
    """

    trials: Integers
    values: Floats
    spent: Floats
    total: float

    @property
    def words(self) -> str:
        """What it would have cost to settle for the second best; empty with fewer than two trials."""
        if len(self.trials) < 2 or not self.total > 0:
            return ""
        (best, second), (value, other) = self.trials[:2].tolist(), self.values[:2].tolist()
        named = f"The second best, trial {trial_name(second, ',')} with {number(other)},"
        if self.spent[1] >= self.spent[0]:
            first = f"trial {trial_name(best, ',')} with {number(value)}"
            return f"{named} was there no sooner than the best, {first}."
        saved = float(self.total - self.spent[1])
        return (
            f"{named} was there after {self.spent[1] / self.total:.0%} of the training. A search that had "
            f"settled for it would have saved {duration(3600 * saved)} of training and been worse by "
            f"{number(abs(other - value), 3)}."
        )


def settling(digest: Digest) -> Settling:
    """The best few trials, as `digest.ranking` has them, and what had been spent when each was there."""
    positions, rows = digest.ranking[:RIVALS], digest.search_rows
    order = np.argsort(digest.ended[rows], kind="stable")
    spent = np.cumsum(np.nan_to_num(digest.segments.floats("seconds"))[rows][order]) / 3600
    ends = digest.ended[digest.trials.leaves[positions]]
    upto = np.searchsorted(digest.ended[rows][order], ends, side="right") - 1
    total = float(spent[-1]) if len(spent) else 0.0
    return Settling(digest.trials.numbers[positions], digest.trials.values[positions], spent[upto], total)


def settled(digest: Digest) -> go.Figure:
    """The best trials by what all training had cost when each was there."""
    found = settling(digest)
    if len(found.trials) < 2:
        return empty("Fewer than two trials have a value yet.")
    figure = blank(280)
    scale, unit = unit_of(found.total)
    figure.add_scatter(
        x=found.spent * scale,
        y=found.values,
        mode="markers+text",
        text=[f"{rank}." for rank in range(1, len(found.trials) + 1)],
        textposition="top center",
        marker={"color": [BEST, *([ACCENT] * (len(found.trials) - 1))], "size": 10},
        customdata=[trial_name(n, ",") for n in found.trials.tolist()],
        hovertemplate="trial %{customdata}<br>%{y:.5g} after %{x:.3g} "
        + f"{unit} of training<extra></extra>",
        showlegend=False,
        cliponaxis=False,
    )
    figure.update_xaxes(
        title_text=f"{unit} of training, all trials together", range=[0, found.total * scale * 1.03]
    )
    figure.update_yaxes(title_text=f"{escape(digest.metric)} ({digest.better})", nticks=6)
    return figure


def rungs(digest: Digest) -> go.Figure:
    """How many trials were trained to each iteration at which they are compared, and how they ended there."""
    rows = digest.search_rows
    stops = digest.segments.integers("stop")[rows]
    levels = np.unique(stops)
    if not len(levels):
        return empty("No segment has ended yet.")
    if len(levels) > 40:  # no rungs: a model raised in many small steps
        return reached(digest)
    figure = blank(max(240, 90 + 34 * len(levels)), barmode="stack")
    names = [f"{level:,}" for level in levels.tolist()]
    trials = digest.segments.integers("trial")[rows]
    totals = [len(np.unique(trials[stops == level])) for level in levels]
    for status, colour in STATUS_COLOURS.items():
        here = digest.segments.having("status", status)[rows]
        counts = [len(np.unique(trials[here & (stops == level)])) for level in levels]
        if any(counts):
            figure.add_bar(
                y=names,
                x=counts,
                name=status,
                orientation="h",
                marker={"color": colour},
                hovertemplate="to iteration %{y}: %{x:,} " + status + "<extra></extra>",
            )
    labels = [f"{n:,}" + (f" · {n / totals[0]:.0%}" if totals[0] and i else "") for i, n in enumerate(totals)]
    figure.add_scatter(
        x=totals, y=names, mode="text", text=labels, textposition="middle right", showlegend=False,
        cliponaxis=False, hoverinfo="skip",
    )  # fmt: skip
    figure.update_yaxes(
        type="category", autorange="reversed", title_text="trained to iteration", showgrid=False
    )
    figure.update_xaxes(title_text="trials", range=[0, max(totals) * 1.18])
    return figure


def reached(digest: Digest) -> go.Figure:
    """How many trials reached at least each iteration."""
    iterations = np.sort(digest.trials.iterations)[::-1]
    if not len(iterations):
        return empty("No segment has ended yet.")
    picks = np.unique(np.linspace(0, len(iterations) - 1, min(400, len(iterations))).astype(np.int64))
    figure = blank(300)
    figure.add_scatter(
        x=iterations[picks],
        y=picks + 1,
        mode="lines",
        line={"color": ACCENT, "width": 2, "shape": "vh"},
        fill="tozeroy",
        fillcolor="rgba(79,127,232,0.15)",
        name="trials",
        hovertemplate="%{y:,} trials reached iteration %{x:,}<extra></extra>",
    )
    figure.update_xaxes(title_text="iteration")
    figure.update_yaxes(title_text="trials that reached it", rangemode="tozero")
    return figure


def _baseline(figure: go.Figure, digest: Digest, last: float) -> None:
    """A line at the baseline's mean; a trace, since plotly sets labels of lines wrongly on a log axis."""
    baseline = digest.verdict.baseline
    if baseline is None:
        return
    mean = baseline.estimate.mean
    figure.add_scatter(
        x=[0, last],
        y=[mean, mean],
        mode="lines",
        name=f"baseline {number(mean)}",
        line={"color": STATUS_COLOURS["diverged"], "dash": "dot", "width": 1.5},
        hovertemplate="baseline, fresh seeds<br>%{y:.5g}<extra></extra>",
    )
