"""Several objectives, and limits: the front among all trials, and the hypervolume over time and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.core.hypervolume import hypervolume as volume_of
from raysearch.core.pareto import non_dominated
from raysearch.core.segment import trial_name
from raysearch.results.columns import Booleans, Floats
from raysearch.results.front import FrontMember
from raysearch.results.plots.digest import Digest, goal_ends, time_scale
from raysearch.results.plots.style import (
    ACCENT,
    BAD,
    BEST,
    GRID,
    INK,
    QUIET,
    WARN,
    blank,
    empty,
    escape,
    metric_axis,
)
from raysearch.space.limits import Limit

if TYPE_CHECKING:
    import plotly.graph_objects as go

PANELS = 3  # metrics that are drawn against the leading one
POINTS = 1500
STEPS = 400  # places at which the hypervolume is computed
GRID_POINTS = 512  # at which a limit is tried, to shade what is beyond it
MARGIN = 0.1  # of the front's range, by which the reference point is beyond the worst of the front
SHADE = "rgba(224,82,77,0.10)"
STYLE = {  # of every axis; `blank` sets those of the first panel alone
    "gridcolor": GRID,
    "zeroline": False,
    "automargin": True,
    "tickfont": {"color": INK},
    "title_font": {"color": INK, "size": 12},
}


def front(digest: Digest) -> go.Figure:
    """The leading objective against each other metric that counts: trials, limits, the front's intervals."""
    names = [*digest.further][:PANELS]
    positions, sampled = digest.sample(POINTS // 3, POINTS * 2 // 3)
    if not names or not len(positions):
        return empty("A front needs trials that ended well, and more than one metric that counts.")
    from plotly.subplots import make_subplots

    figure = make_subplots(1, len(names), shared_yaxes=True, horizontal_spacing=0.04)
    figure.update_layout(blank(460, _note(digest, len(positions), sampled)).layout)
    y, y_axis = digest.trials.values[positions], _axis(digest, digest.metric, positions)
    for col, name in enumerate(names, 1):
        x, x_axis = digest.further[name][positions], _axis(digest, name, positions)
        _shade(figure, digest, (name, x_axis), y_axis, col)
        _trials(figure, digest, positions, x, y, col)
        _members(figure, digest, name, len(digest.goals.modes) == 2 and name in digest.goals.modes, col)
        figure.update_xaxes(
            title_text=f"{escape(name)}{_way(digest, name)}", **x_axis, **STYLE, row=1, col=col
        )
        figure.update_yaxes(**y_axis, **STYLE, row=1, col=col)
    figure.update_yaxes(title_text=f"{escape(digest.metric)}{_way(digest, digest.metric)}", row=1, col=1)
    return figure


def hypervolume(digest: Digest) -> go.Figure:
    """How much of the room before a reference point the front so far dominates, over time and iterations."""
    found = volumes(digest)
    if found is None:
        return empty("A hypervolume needs trials that ended well within the limits.")
    from plotly.subplots import make_subplots

    hours, iterations, shares, reference = found
    scale, unit = time_scale(digest)
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    at = ", ".join(f"{name} {value:.4g}" for name, value in zip(digest.goals.modes, reference, strict=True))
    note = (
        f"1 is the best of every objective at once; the reference point is {at}, a tenth of the front's "
        "range beyond its worst. Segments count when they end, whatever their iteration."
    )
    figure.update_layout(blank(340, f"{note} {digest.lives_note}".strip(), showlegend=False).layout)
    for col, (x, title) in enumerate(
        ((hours * scale, f"{unit} since the start"), (iterations, "iterations trained")), 1
    ):
        figure.add_scatter(
            x=x,
            y=shares,
            mode="lines",
            line={"color": BEST, "width": 2.5, "shape": "hv"},
            hovertemplate="%{x:.4g}: %{y:.3f}<extra></extra>",
            row=1,
            col=col,
        )
        figure.update_xaxes(title_text=title, **STYLE, row=1, col=col)
    figure.update_yaxes(rangemode="tozero", **STYLE)
    figure.update_yaxes(title_text="hypervolume", row=1, col=1)
    return figure


def volumes(digest: Digest) -> tuple[Floats, Floats, Floats, Floats] | None:
    """(hours, iterations trained so far, hypervolume as a share, the reference point's raw values).

    The share is of the box between the best of each objective and the reference point. None where no segment
    ended within the limits.
    """
    goals, rows = digest.goals, digest.search_rows
    rows = rows[np.argsort(digest.ended[rows], kind="stable")]
    ends, is_within = goal_ends(digest, rows)
    signs = np.array([1.0 if mode == "min" else -1.0 for mode in goals.modes.values()])
    points = np.column_stack([ends[name] for name in goals.modes]) * signs
    usable = is_within & np.isfinite(points).all(axis=1) & digest.segments.having("status", "completed")[rows]
    if not usable.any():
        return None
    known = points[usable]
    whole = known[_front_rows(known)]
    best, worst = whole.min(axis=0), whole.max(axis=0)
    span = np.where(worst > best, worst - best, np.maximum(known.max(axis=0) - best, 1e-12))
    reference = worst + MARGIN * span
    box = float(np.prod(reference - best))
    cuts = np.unique(np.linspace(0, len(rows), min(STEPS, len(rows)) + 1).astype(np.int64))[1:]
    shares, front, before = [], points[:0], 0
    for cut in cuts.tolist():
        new = points[before:cut][usable[before:cut]]
        before = cut
        if len(new):
            front = np.concatenate([front, new])
            front = front[_front_rows(front)]
        shares.append(volume_of(front, reference) / box)
    at = cuts - 1
    trained = np.cumsum(digest.segments.points[rows]).astype(np.float64)
    return (digest.ended[rows][at] - digest.zero) / 3600, trained[at], np.array(shares), reference * signs


# ---- inside


def _front_rows(points: Floats) -> Booleans:
    """Which points nothing dominates; many are first compared with the few that are best by sum."""
    if len(points) < 2048 or points.shape[1] == 2:
        return non_dominated(points)
    ranks = np.argsort(np.argsort(points, axis=0), axis=0).sum(axis=1)
    some = points[np.argsort(ranks)[:64]]
    kept = np.ones(len(points), np.bool_)
    for one in some:
        kept &= ~((one <= points).all(axis=1) & (one < points).any(axis=1))
    rows = np.flatnonzero(kept)
    kept[rows] = non_dominated(points[rows])
    return kept


def _axis(digest: Digest, name: str, positions: Any) -> dict[str, Any]:
    """Settings of a metric's axis, its range always given, so that what is beyond a limit can be shaded."""
    values = (digest.trials.values if name == digest.metric else digest.further[name])[positions]
    values = np.concatenate([values, _interval_ends(digest, name)])
    known = values[np.isfinite(values)]
    settings = metric_axis(known.tolist(), digest.goals.modes.get(name, "min"))
    if settings.get("range") is None and len(known):
        low, high = float(known.min()), float(known.max())
        pad = 0.06 * (high - low or abs(high) or 1.0)
        settings["range"] = [low - pad, high + pad]
    return settings


def _interval_ends(digest: Digest, name: str) -> Floats:
    ends = [
        v for m in _on(digest) if name in m.estimates for v in (m.estimates[name].low, m.estimates[name].high)
    ]
    return np.array([*ends, *(m.values[name] for m in _on(digest))], np.float64)


def _on(digest: Digest) -> Sequence[FrontMember]:
    return digest.front.members if digest.front is not None else ()


def _way(digest: Digest, name: str) -> str:
    if name not in digest.goals.modes:
        return " (limited)"
    leads = ", leads" if digest.goals.several and name == digest.goals.leading else ""
    return f" ({'lower' if digest.goals.modes[name] == 'min' else 'higher'} is better{leads})"


def _trials(figure: go.Figure, digest: Digest, positions: Any, x: Floats, y: Floats, col: int) -> None:
    """All trials where they ended; those beyond the limits as crosses."""
    beyond = digest.beyond[positions]
    numbers, iterations = digest.trials.numbers[positions], digest.trials.iterations[positions]
    for here, title, marker in (
        (~beyond, "trials", {"color": QUIET, "size": 6, "opacity": 0.6}),
        (beyond, "beyond the limits", {"color": BAD, "size": 7, "symbol": "x-thin-open", "opacity": 1.0}),
    ):
        if here.any():
            pairs = zip(numbers[here].tolist(), iterations[here].tolist(), strict=True)
            figure.add_scatter(
                x=x[here],
                y=y[here],
                mode="markers",
                name=title,
                legendgroup=title,
                showlegend=col == 1,
                marker=marker,
                text=[f"trial {trial_name(n, ',')}, {i:,} iterations" for n, i in pairs],
                hovertemplate="%{text}<br>%{x:.5g}<br>%{y:.5g}<extra></extra>",
                row=1,
                col=col,
            )


def _members(figure: go.Figure, digest: Digest, name: str, is_line: bool, col: int) -> None:
    """The members of the front with their 95% intervals, joined where two objectives make it a line."""
    members = _on(digest)
    if not members:
        return
    leading = digest.metric
    title = "the front, fresh seeds" if digest.front is not None and digest.front.certified else "the front"
    figure.add_scatter(
        x=[m.values[name] for m in members],
        y=[m.values[leading] for m in members],
        error_x=_errors(members, name),
        error_y=_errors(members, leading),
        mode="lines+markers" if is_line else "markers",
        line={"color": BEST, "width": 1.5, "dash": "dot"},
        marker={"size": 10, "color": [WARN if m.is_baseline else BEST for m in members]},
        name=title,
        legendgroup=title,
        showlegend=col == 1,
        text=[m.name for m in members],
        hovertemplate="%{text}<br>%{x:.5g}<br>%{y:.5g}<extra></extra>",
        row=1,
        col=col,
    )
    assert digest.front is not None
    knee = digest.front.pick()
    figure.add_scatter(
        x=[knee.values[name]], y=[knee.values[leading]], mode="markers", name="the knee", legendgroup="knee",
        showlegend=col == 1 and digest.goals.several, hoverinfo="skip", row=1, col=col,
        marker={"symbol": "circle-open", "size": 17, "color": ACCENT, "line": {"width": 2.5}},
    )  # fmt: skip


def _errors(members: Sequence[FrontMember], name: str) -> dict[str, Any]:
    """Intervals as plotly's error bars; of a mean of one training none."""
    known = [m.estimates.get(name) for m in members]
    above = [e.high - e.mean if e is not None and e.high == e.high else 0.0 for e in known]
    return {
        "type": "data",
        "array": above,
        "color": BEST,
        "thickness": 1.2,
        "width": 3,
        "visible": any(above),
    }


def _shade(
    figure: go.Figure, digest: Digest, x: tuple[str, dict[str, Any]], y_axis: dict[str, Any], col: int
) -> None:
    """Shades what is beyond limits that speak of one of the panel's two metrics alone."""
    name, x_axis = x
    (left, right), (low, high) = _ends(x_axis), _ends(y_axis)
    for limit in digest.goals.limits:
        stripes: list[tuple[float, float, float, float]] = []
        if limit.names == {name}:
            stripes = [(a, b, low, high) for a, b in _beyond(limit, name, x_axis)]
        elif limit.names == {digest.metric}:
            stripes = [(left, right, a, b) for a, b in _beyond(limit, digest.metric, y_axis)]
        for a, b, c, d in stripes:
            figure.add_scatter(
                x=[a, b, b, a, a], y=[c, c, d, d, c], fill="toself", fillcolor=SHADE, mode="lines",
                line={"width": 0}, hoverinfo="skip", name="beyond a limit", legendgroup="limits",
                showlegend=not any(trace.legendgroup == "limits" for trace in figure.data), row=1, col=col,
            )  # fmt: skip


def _ends(axis: dict[str, Any]) -> tuple[float, float]:
    """Both ends of an axis, in its own values."""
    low, high = axis["range"]
    return (10.0**low, 10.0**high) if axis.get("type") == "log" else (low, high)


def _beyond(limit: Limit, name: str, axis: dict[str, Any]) -> list[tuple[float, float]]:
    """The stretches of an axis on which a limit is exceeded."""
    low, high = axis["range"]
    places = np.linspace(low, high, GRID_POINTS)
    values = 10.0**places if axis.get("type") == "log" else places
    beyond = np.array([limit.excess({name: float(value)}) > 0 for value in values])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], beyond.astype(np.int64), [0]])))
    return [(float(values[a]), float(values[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _note(digest: Digest, drawn: int, sampled: bool) -> str:
    parts = []
    if digest.goals.several:
        parts.append(f"{digest.goals.leading} leads; ringed is the knee.")
    if digest.front is not None and digest.front.certified:
        parts.append("Bars are 95% intervals of the means over fresh seeds; grey trials are as searched.")
    odd = [limit.text for limit in digest.goals.limits if len(limit.names) > 1]
    if odd:
        parts.append(f"Not shaded, for it speaks of several metrics: {'; '.join(odd)}.")
    if len(digest.further) > PANELS:
        parts.append(f"Not drawn: {', '.join([*digest.further][PANELS:])}.")
    if sampled:
        parts.append(f"{drawn:,} of {len(digest.ranking):,} trials are drawn.")
    return " ".join(parts)
