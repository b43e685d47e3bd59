"""How the figures look: one palette that reads on white and on dark, quiet grids, room for a thumb.

Backgrounds are transparent and text colours neutral, so that a figure stands on any page; the report
paints them with its own colours by CSS.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.core.formatting import cut
from raysearch.core.terminal_text import escaped

if TYPE_CHECKING:
    import plotly.graph_objects as go

TEXT_SHOWN = 300  # characters of one text in a figure
ACCENT, BEST, BAD, WARN, QUIET = "#4f7fe8", "#12a37a", "#e0524d", "#e09a2b", "#8b93a3"
INK, GRID = "#7a8394", "rgba(128,138,155,0.22)"
PALETTE = (ACCENT, WARN, BEST, "#b05fd0", "#d9568c", "#2ba3b8", "#8c7b5a", QUIET)
# On a log axis: whole numbers (0.002, not a small 2 beside 10^-3), few enough to stand side by side.
LOG_TICKS = {"tickformat": "~g", "nticks": 6}
STATUS_COLOURS = {"completed": ACCENT, "diverged": WARN, "failed": BAD, "lost": QUIET}
# From good to poor; both ends keep their distance from white and from black.
GOOD_TO_POOR: list[tuple[float, str]] = [(0.0, "#12a37a"), (0.35, "#4f7fe8"), (1.0, "#a9b2c4")]


def blank(height: int = 380, note: str = "", **layout: Any) -> go.Figure:
    """An empty figure in the common style; `note` says what it leaves out."""
    import plotly.graph_objects as go

    figure = go.Figure()
    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": GRID,
        "automargin": True,
        "tickfont": {"color": INK},
        "title": {"font": {"color": INK, "size": 12}, "standoff": 8},
    }
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 12, "t": 34, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": INK},
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"color": INK}},
        hoverlabel={"align": "left"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": INK, "activecolor": ACCENT},
        colorway=list(PALETTE),
        xaxis=axis,
        yaxis=axis,
        meta={"note": note},
        **layout,
    )
    return figure


def empty(why: str) -> go.Figure:
    """A figure that says why there is nothing to see."""
    figure = blank(height=120)
    figure.add_annotation(text=escape(why), showarrow=False, font={"color": INK, "size": 13})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def note_of(figure: go.Figure) -> str:
    """What the figure says it leaves out; nothing if it shows all."""
    return str((figure.layout.meta or {}).get("note", ""))


def escape(text: Any) -> str:
    """Text of users as plotly shows it as it is; plotly reads tags in any text."""
    return html.escape(escaped(cut(str(text), TEXT_SHOWN)), quote=False).replace("\n", "<br>")


def wrapped(text: str, width: int = 60, lines: int = 8) -> str:
    """Escaped text, broken into lines for a hover label."""
    import textwrap

    broken = textwrap.wrap(text[: 2 * width * lines], width)
    cut = broken[:lines] + (["…"] if len(broken) > lines else [])
    return "<br>".join(html.escape(line, quote=False) for line in cut)


def metric_axis(values: Sequence[float], mode: str) -> dict[str, Any]:
    """Settings of an axis of the metric: logarithmic where that reads better, or cut at its poor end."""
    known = np.asarray([v for v in values if np.isfinite(v)], np.float64)
    if len(known) > 3 and known.min() > 0 and mode == "min" and np.quantile(known, 0.98) > 20 * known.min():
        top = float(np.quantile(known, 0.995)) if len(known) > 50 else float(known.max())
        low, high = np.log10(float(known.min())), np.log10(top)
        pad = 0.06 * (high - low)
        return {
            "type": "log",
            "range": [low - pad, high + pad],
            **LOG_TICKS,
        }
    if mode == "min":
        return {"range": metric_range(known.tolist())}
    turned = metric_range((-known).tolist())
    return {"range": None if turned is None else [-turned[1], -turned[0]]}


def metric_range(values: Sequence[float], log: bool = False) -> list[float] | None:
    """An axis range in which a few very poor values do not flatten all others; None where it need not be cut."""  # noqa: E501
    known = np.asarray([v for v in values if np.isfinite(v)], np.float64)
    if len(known) < 8 or log:
        return None
    low, q3, high = float(known.min()), float(np.quantile(known, 0.9)), float(known.max())
    if high - low <= 6 * max(q3 - low, 1e-300):
        return None
    return [low - 0.05 * (q3 - low), q3 + 0.6 * (q3 - low)]


def hex_mix(share: float) -> str:
    """A colour between good (0) and poor (1)."""
    stops = GOOD_TO_POOR
    for (a, one), (b, two) in itertools.pairwise(stops):
        if share <= b:
            t = (share - a) / (b - a)
            parts = [
                round(int(one[i : i + 2], 16) * (1 - t) + int(two[i : i + 2], 16) * t) for i in (1, 3, 5)
            ]
            return "#" + "".join(f"{p:02x}" for p in parts)
    return stops[-1][1]
