"""A figure of regret over time: a panel for each number of workers, a line for each contender."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raysearch.errors import SpecError

Floats = npt.NDArray[np.float64]
LEAST = 1e-3  # regret below this is drawn here: the axis is logarithmic


def check_figure(path: str) -> Path:
    """The path of a figure. Raises SpecError unless it ends with .html."""
    if Path(path).suffix != ".html":
        raise SpecError(f"--figure {path}: must end with .html, such as regret.html")
    return Path(path)


def draw_regrets(path: Path, title: str, times: Floats, regrets: Mapping[int, Mapping[str, Floats]]) -> None:
    """Writes the figure as a page that needs no network.

    Args:
        path: where to; its folder is made.
        title: what was searched.
        times: in mean full trainings.
        regrets: by number of workers, then contender: mean regret at each time.
    """
    from plotly.subplots import make_subplots

    from raysearch.results.plots.style import PALETTE

    panels = [f"{workers} worker{'s' if workers > 1 else ''}" for workers in regrets]
    figure = make_subplots(cols=len(panels), shared_yaxes=True, subplot_titles=panels)
    for column, lines in enumerate(regrets.values(), 1):
        for number, (name, values) in enumerate(lines.items()):
            dash = ("solid", "dash", "dot")[number // len(PALETTE) % 3]
            figure.add_scatter(
                x=times,
                y=np.maximum(values, LEAST),
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                line={"color": PALETTE[number % len(PALETTE)], "dash": dash},
                row=1,
                col=column,
            )
    figure.update_xaxes(type="log", title="mean full trainings of virtual time")
    figure.update_yaxes(type="log")
    figure.update_yaxes(title="mean normalised regret", col=1)
    figure.update_layout(title=title, template="plotly_white")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path)
