"""Learning curves: how the metric went while models were trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from raysearch.core.segment import FINALS, Role, trial_name
from raysearch.results.plots.columns import curve_of
from raysearch.results.plots.digest import Digest
from raysearch.results.plots.style import ACCENT, BEST, QUIET, WARN, blank, empty, escape, metric_axis

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results.columns import Floats, Integers

TOP, OTHERS = 15, 45


def curves(digest: Digest) -> go.Figure:
    """The metric over the iterations: the best trials, some others, and the finish's on fresh seeds."""
    positions, sampled = digest.sample(TOP, OTHERS)
    if not len(positions):
        return empty("No trial has reported a value yet.")
    note = (
        f"The best {TOP} trials and {OTHERS} others at random, of {len(digest.trials):,}." if sampled else ""
    )
    figure = blank(430, note)
    shown = {"other trials", "best trials", "winner", "baseline, fresh seeds", "finalists, fresh seeds"}
    values: list[Floats] = []
    best = digest.best
    for rank, at in reversed([*enumerate(positions.tolist())]):
        kind = (
            "winner"
            if at == best
            else "best trials"
            if rank < TOP and len(positions) > TOP
            else "other trials"
        )
        trial = int(digest.trials.numbers[at])
        rows = digest.trials.rows(at)
        if kind == "winner":
            rows = np.array([*digest.path], np.int64) if len(digest.path) else rows
        values.append(_curve(figure, digest, rows, kind, f"trial {trial_name(trial, ',')}", shown))
    for row_set, kind, name in _finals(digest):
        values.append(_curve(figure, digest, row_set, kind, name, shown))
    known = np.concatenate(values) if values else np.zeros(0)
    figure.update_xaxes(title_text="iteration", rangemode="tozero")
    figure.update_yaxes(title_text=escape(digest.metric), **metric_axis(known.tolist(), digest.mode))
    return figure


_LOOK = {
    "winner": (BEST, 3.0, 1.0),
    "best trials": (ACCENT, 1.4, 0.75),
    "other trials": (QUIET, 1.0, 0.45),
    "baseline, fresh seeds": (WARN, 1.4, 0.8),
    "finalists, fresh seeds": ("#b05fd0", 1.2, 0.6),
}


def _curve(
    figure: go.Figure, digest: Digest, rows: Integers, kind: str, name: str, unseen: set[str]
) -> Floats:
    x, y = curve_of(digest, rows)
    if not len(x):
        return y
    colour, width, opacity = _LOOK[kind]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines" if len(x) > 1 else "markers",
        name=kind,
        legendgroup=kind,
        showlegend=kind in unseen,
        line={"color": colour, "width": width},
        marker={"color": colour, "size": 5},
        opacity=opacity,
        hovertemplate=f"{escape(name)}, iteration %{{x:,}}<br>%{{y:.5g}}<extra></extra>",
    )
    unseen.discard(kind)
    return y


def _finals(digest: Digest) -> list[tuple[Integers, str, str]]:
    """(rows, kind, name) of each training of the finish, at most 40 of them."""
    segments = digest.segments
    rows = np.flatnonzero(segments.having("role", *FINALS))
    trials, starts = segments.integers("trial")[rows], segments.integers("start")[rows]
    order = np.lexsort((starts, trials))
    rows, trials = rows[order], trials[order]
    groups = np.split(rows, np.flatnonzero(np.diff(trials)) + 1) if len(rows) else []
    is_baseline = segments.having("role", Role.BASELINE)
    return [
        (group, "baseline, fresh seeds" if is_baseline[group[0]] else "finalists, fresh seeds", "finish")
        for group in groups[:40]
    ]
