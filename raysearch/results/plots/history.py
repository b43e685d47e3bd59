"""One setting over the months: what its re-tests measured, and their verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.results.plots.style import STATUS_COLOURS, blank, empty, escape

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

COLOURS = {
    "fresh": STATUS_COLOURS["completed"],
    "stale": STATUS_COLOURS["failed"],
    "inconclusive": STATUS_COLOURS["lost"],
}


def history(retests: pd.DataFrame, metric: str) -> go.Figure:
    """The mean of the settings' whole trainings at each re-test, between the least and the greatest.

    Args:
        retests: as `raysearch.workflows.retest.history.history_frame` gives it.
    """
    if not len(retests):
        return empty("These settings were not re-tested yet.")
    figure = blank(300)
    for word, rows in retests.groupby("verdict", sort=False):
        figure.add_scatter(
            x=rows["day"],
            y=rows["mean"],
            error_y={"array": rows["high"] - rows["mean"], "arrayminus": rows["mean"] - rows["low"]},
            mode="markers",
            name=str(word),
            marker={"color": COLOURS.get(str(word)), "size": 10},
            text=[escape(text.splitlines()[0]) for text in rows["text"]],
            hovertemplate="%{x}: %{y:.5g}<br>%{text}<extra></extra>",
        )
    figure.update_yaxes(title=escape(metric))
    figure.update_xaxes(type="category")
    return figure
