"""What the hyper-parameters did: parallel coordinates, and one slice for each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.core.formatting import number, setting
from raysearch.core.segment import Mode, trial_name
from raysearch.results.plots.columns import as_floats, as_labels
from raysearch.results.plots.digest import Digest
from raysearch.results.plots.style import (
    BAD,
    BEST,
    GOOD_TO_POOR,
    GRID,
    INK,
    LOG_TICKS,
    QUIET,
    blank,
    empty,
    escape,
    hex_mix,
    metric_axis,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results.columns import Floats, Integers

BEST_LINES, OTHER_LINES = 60, 140
SLICE_POINTS = 900
SLICES = 12
LABELS = 12  # names of a choice that an axis shows


@dataclass(frozen=True)
class PlotAxis:
    """A hyper-parameter's values on [0, 1], NaN where it does not occur, and what its ends are."""

    name: str
    heights: Floats
    ticks: Sequence[tuple[float, str]]
    texts: Sequence[str]


def parallel(digest: Digest, order: Sequence[str] = ()) -> go.Figure:
    """A line a trial through its hyper-parameters to its value; the best trial stands out.

    Args:
        order: hyper-parameters to put nearest to the metric, the most important first.
    """
    positions, sampled = digest.sample(BEST_LINES, OTHER_LINES)
    axes = axes_of(digest, positions, order)
    if len(positions) < 2 or not axes:
        return empty("Parallel coordinates need two trials with values, and a hyper-parameter that varies.")
    axes = [*axes, *_metric_axes(digest, positions)]
    figure = blank(430, _lines_note(digest, positions, sampled), showlegend=False)
    ranks = np.argsort(np.argsort(digest.worse[positions], kind="stable"), kind="stable") / max(
        1, len(positions) - 1
    )
    best = digest.best
    figure.add_traces(  # all at once: plotly goes through all that is there at each addition
        [
            _line(digest, axes, positions, i, float(ranks[i]), best is not None and positions[i] == best)
            for i in np.argsort(-ranks, kind="stable").tolist()
        ]
    )
    line = {"type": "line", "y0": 0, "y1": 1, "line": {"color": INK, "width": 1}}
    figure.update_layout(
        shapes=[{**line, "x0": x, "x1": x} for x in range(len(axes))],
        annotations=[one for x, axis in enumerate(axes) for one in _texts_of(x, axis)],
    )
    figure.update_xaxes(visible=False, range=[-0.55, len(axes) - 0.65])
    figure.update_yaxes(visible=False, range=[-0.09, 1.14])
    return figure


def axes_of(digest: Digest, positions: Integers, order: Sequence[str] = ()) -> list[PlotAxis]:
    """An axis for each hyper-parameter that varies, the most important last, beside the metric."""
    columns = digest.columns(digest.trials.leaves[positions])
    names = [n for n in (digest.free or tuple(columns)) if n in columns]
    rank = {name: at for at, name in enumerate(order)}
    names.sort(key=lambda name: -rank.get(name, len(rank)))
    found = [_axis(name, columns[name], digest.is_log(name)) for name in names]
    return [axis for axis in found if axis is not None][-10:]


def _axis(name: str, values: Any, log: bool) -> PlotAxis | None:
    texts, numbers = as_labels(values), as_floats(values)
    if numbers is None:
        known = sorted({t for t in texts if t})
        if len(known) < 2:
            return None
        at = {t: i / (len(known) - 1) for i, t in enumerate(known)}
        ticks = [(at[t], t) for t in (known if len(known) <= LABELS else [known[0], known[-1]])]
        return PlotAxis(name, np.array([at.get(t, math.nan) for t in texts]), ticks, texts)
    scaled = np.log(np.where(numbers > 0, numbers, np.nan)) if log else numbers
    known_numbers = scaled[np.isfinite(scaled)]
    if not len(known_numbers) or known_numbers.min() == known_numbers.max():
        return None
    low, high = float(known_numbers.min()), float(known_numbers.max())
    back = math.exp if log else float
    ticks = [(t, setting(back(low + t * (high - low)), 2)) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if not log and float(known_numbers[0]).is_integer() and len(set(known_numbers.tolist())) <= LABELS:
        ticks = [((v - low) / (high - low), f"{v:g}") for v in sorted(set(known_numbers.tolist()))]
    return PlotAxis(name, (scaled - low) / (high - low), ticks, texts)


def _metric_axes(digest: Digest, positions: Integers) -> list[PlotAxis]:
    """What counts, the leading objective last; what only limits speak of stands with its low end up."""
    modes = digest.goals.modes
    further = [(n, v[positions], modes.get(n, "min")) for n, v in digest.further.items()]
    leading = digest.metric, digest.trials.values[positions], digest.mode
    return [_metric_axis(*one) for one in (*further, leading) if np.isfinite(one[1]).any()]


def _metric_axis(name: str, values: Floats, mode: Mode) -> PlotAxis:
    """A metric, the better end up; what lies far off at the poor end is held at the bottom."""
    settings = metric_axis(values.tolist(), mode)
    log = settings.get("type") == "log"
    scaled = np.log10(values) if log else values
    least, most = float(np.nanmin(scaled)), float(np.nanmax(scaled))
    cut = settings.get("range") or [least, most]
    low, high = max(cut[0], least), min(cut[1], most)
    span = high - low or 1.0
    share = np.clip((scaled - low) / span, 0.0, 1.0)
    up = mode == "max"
    ends = [(t, low + (t if up else 1 - t) * span) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    ticks = [(t, number(10**v if log else v, 3)) for t, v in ends]
    return PlotAxis(name, share if up else 1 - share, ticks, [number(v, 5) for v in values.tolist()])


def _line(
    digest: Digest, axes: Sequence[PlotAxis], at: Integers, i: int, rank: float, is_best: bool
) -> dict[str, Any]:
    heights = [float(axis.heights[i]) for axis in axes]
    x = [k for k, h in enumerate(heights) if h == h]  # where it does not occur, the line goes straight on
    trial = int(digest.trials.numbers[at[i]])
    lines = [f"<b>trial {trial_name(trial, ',')}</b>", f"{int(digest.trials.iterations[at[i]]):,} iterations"]
    lines += [f"{escape(axis.name)} {escape(axis.texts[i])}" for axis in axes if axis.texts[i]]
    return {
        "type": "scatter",
        "x": x,
        "y": [heights[k] for k in x],
        "mode": "lines",
        "line": {
            "color": BEST if is_best else BAD if digest.beyond[at[i]] else hex_mix(rank),
            "width": 3.5 if is_best else 1.2,
            "dash": "dot" if digest.beyond[at[i]] else "solid",
            "shape": "linear",
        },
        "opacity": 1.0 if is_best else 0.75 - 0.5 * rank,
        "hovertext": "<br>".join(lines),
        "hoverinfo": "text",
    }


def _texts_of(x: int, axis: PlotAxis) -> Iterator[dict[str, Any]]:
    """The name of an axis above it, and its ticks at its left."""
    name = axis.name if len(axis.name) <= 18 else f"{axis.name[:17]}…"
    bold = f"<b>{escape(name)}</b>"
    yield {"x": x, "y": 1.05, "text": bold, "showarrow": False, "yanchor": "bottom"}
    small = {"showarrow": False, "xanchor": "right", "xshift": -5, "font": {"size": 10.5}}
    for height, text in axis.ticks:
        yield {"x": x, "y": height, "text": escape(text if len(text) <= 14 else f"{text[:13]}…"), **small}


def _lines_note(digest: Digest, positions: Integers, sampled: bool) -> str:
    beyond = "Red, dotted lines are beyond the limits." if digest.beyond[positions].any() else ""
    if not sampled:
        return beyond
    return (
        f"{len(positions):,} of {len(digest.ranking):,} trials are drawn: the best {BEST_LINES:,} of those "
        f"trained the longest, and others at random. {beyond}"
    ).strip()


def slices(digest: Digest, order: Sequence[str] = ()) -> go.Figure:
    """One panel a hyper-parameter: its value against the metric, later points the longer trained."""
    from plotly.subplots import make_subplots

    positions, sampled = digest.sample(SLICE_POINTS // 3, SLICE_POINTS * 2 // 3)
    columns = digest.columns(digest.trials.leaves[positions])
    rank = {name: at for at, name in enumerate(order)}
    names = [n for n in (digest.free or tuple(columns)) if n in columns]
    names = [n for n in names if len({*as_labels(columns[n])} - {""}) > 1]
    names.sort(key=lambda name: rank.get(name, len(rank)))
    left_out, names = names[SLICES:], names[:SLICES]
    if not len(positions) or not names:
        return empty("Slices need trials with values, and a hyper-parameter that varies.")
    across = min(3, len(names))
    down = math.ceil(len(names) / across)
    note = f"{len(positions):,} of {len(digest.ranking):,} trials are drawn." if sampled else ""
    if left_out:
        note += f" The {len(left_out)} least important hyper-parameters are left out."
    figure = make_subplots(
        down, across, shared_yaxes=True, horizontal_spacing=0.05, vertical_spacing=0.32 / down
    )
    figure.update_layout(blank(80 + 230 * down, note.strip(), showlegend=False).layout)
    values = digest.trials.values[positions]
    for k, name in enumerate(names):
        _slice(figure, digest, positions, values, name, columns[name], k // across + 1, k % across + 1)
    figure.update_yaxes(
        **metric_axis(values.tolist(), digest.mode), gridcolor=GRID, zeroline=False, automargin=True
    )
    figure.update_yaxes(title_text=escape(digest.metric), col=1)
    return figure


def _slice(
    figure: go.Figure,
    digest: Digest,
    at: Integers,
    values: Floats,
    name: str,
    column: Any,
    row: int,
    col: int,
) -> None:
    numbers = as_floats(column)
    x = [escape(t) for t in as_labels(column)] if numbers is None else numbers
    iterations = digest.trials.iterations[at]
    depth = np.log1p(iterations) / max(1e-9, float(np.log1p(iterations.max())))
    figure.add_scatter(
        x=x,
        y=values,
        mode="markers",
        marker={
            "size": 4 + 4 * depth,
            "color": 1 - depth,
            "cmin": 0,
            "cmax": 1,
            "colorscale": GOOD_TO_POOR,
            "opacity": 0.7,
            "line": {"width": 0},
        },
        customdata=np.column_stack((digest.trials.numbers[at], iterations)),
        hovertemplate="trial %{customdata[0]:,}, %{customdata[1]:,} iterations<br>%{x}<br>%{y:.5g}<extra></extra>",  # noqa: E501
        row=row,
        col=col,
    )
    if digest.best is not None and digest.best in at:
        k = int(np.flatnonzero(at == digest.best)[0])
        figure.add_scatter(
            x=[x[k]], y=[values[k]], mode="markers", hoverinfo="skip", row=row, col=col,
            marker={"symbol": "circle-open", "size": 15, "color": BEST, "line": {"width": 2.5}},
        )  # fmt: skip
    figure.update_xaxes(
        title={"text": escape(name), "font": {"color": INK, "size": 12}, "standoff": 4},
        type="category" if numbers is None else "log" if digest.is_log(name) else "linear",
        gridcolor=GRID, zeroline=False, nticks=5, tickfont={"color": QUIET}, automargin=True, row=row, col=col,  # noqa: E501
    )  # fmt: skip
    if numbers is not None and digest.is_log(name):
        figure.update_xaxes(**LOG_TICKS, row=row, col=col)
