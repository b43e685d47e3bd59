"""The figure of `raysearch bench growth`: a column for what grows, a row for each kind of cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROWS = {
    "seconds": ("cpu_s", "resume_s", "status_s", "best_s", "trials_s"),
    "megabytes": ("memory_mb", "disk_mb"),
    "milliseconds a round": ("turn_cpu_ms", "turn_ms", "p99_ms"),
}


def draw_growth(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the figure as a page that needs no network; a dotted line grows with n log n.

    Args:
        path: where to; its folder is made.
        rows: figures of a search, with what grows under `axis` and how much there was of it under `size`.
    """
    from plotly.subplots import make_subplots

    from raysearch.results.plots.style import PALETTE

    axes = list(dict.fromkeys(row["axis"] for row in rows))
    figure = make_subplots(rows=len(ROWS), cols=len(axes), column_titles=axes, horizontal_spacing=0.05)
    for column, axis in enumerate(axes, 1):
        here = [row for row in rows if row["axis"] == axis]
        for line, (unit, names) in enumerate(ROWS.items(), 1):
            for name in names:
                seen = [(row["size"], row[name]) for row in here if row.get(name, 0) > 0]
                figure.add_scatter(
                    x=[size for size, _ in seen],
                    y=[cost for _, cost in seen],
                    name=name.replace("_", " "),
                    legendgroup=name,
                    showlegend=column == 1,
                    line={"color": PALETTE[[*ROWS["seconds"], *names].index(name) % len(PALETTE)]},
                    row=line,
                    col=column,
                )
            sizes = [row["size"] for row in here]
            tops = [row[name] for row in here[-1:] for name in names if row.get(name, 0) > 0]
            figure.add_scatter(
                x=sizes,
                y=[max(tops, default=1.0) * _law(size) / _law(sizes[-1]) for size in sizes],
                name="n log n",
                legendgroup="law",
                showlegend=line == column == 1,
                mode="lines",
                line={"color": "#999999", "dash": "dot"},
                row=line,
                col=column,
            )
            figure.update_yaxes(title=unit if column == 1 else None, row=line, col=column)
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    figure.update_layout(title="how costs grow", template="plotly_white", height=900)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path)


def _law(size: float) -> float:
    return size * math.log2(2 + size)
