"""Decisions marked on the schedule of a raised model: accepted, rejected, put back, ordered, and why.

A rejected nudge stands at the value that was tried, so that the picture shows how far around the line
panda looked. What was taken back is drawn dotted in the panel of the metric, from where the line left it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raysearch.core.formatting import setting
from raysearch.core.segment import Event
from raysearch.results.plots.columns import as_floats, curve_of
from raysearch.results.plots.style import BAD, BEST, QUIET, WARN, escape, wrapped

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results.columns import Floats, Integers
    from raysearch.results.plots.digest import Digest

EVENT_COLOURS = {  # in the tree of segments too
    Event.ACCEPT: BEST,
    Event.ROLLBACK: BAD,
    Event.ORDER: "#b05fd0",
    Event.CLONE: "#2ba3b8",
    Event.REJECT: QUIET,
    Event.DECAY: WARN,
}
LOOKS = {  # event -> (name in the legend, symbol, size)
    Event.ACCEPT: ("accepted", "triangle-up", 11),
    Event.REJECT: ("rejected", "circle-open", 7),
    Event.ROLLBACK: ("put back", "x", 11),
    Event.ORDER: ("ordered", "star", 12),
}
BACKS_DRAWN = 24  # stretches that were taken back, the longest
ARMS = (Event.HOLD, Event.NUDGE)


@dataclass(frozen=True)
class Mark:
    """A decision on the way to the winner.

    Attributes:
        at: the iteration from which the line went on with it.
        row: of the segment whose values were decided on; of a rejected nudge those that were tried.
        other: of the segment that they are compared with, the arm beside it or the one before; -1: none.
    """

    event: Event
    at: int
    row: int
    other: int
    words: str


def marks_of(digest: Digest, path: Integers, parents: Integers) -> list[Mark]:
    """The decisions on a way to the winner, in its order."""
    segments = digest.segments
    starts = segments.integers("start")
    known = {int(row): one.event for row, one in zip(path, segments.decisions(path), strict=True)}
    reasons = dict(zip(known, digest.texts("reason", path), strict=True))
    arms = _arms(digest, parents)
    found = []
    for row, event in known.items():
        if event not in LOOKS:
            continue
        before = int(parents[row])
        beside = next((arm for arm in arms.get(int(parents[before]), ()) if arm != before), -1)
        if event not in (Event.ACCEPT, Event.REJECT) or before < 0:
            beside = -1
        is_tried = event == Event.REJECT and beside >= 0
        values, other = (beside, before) if is_tried else (row, beside if beside >= 0 else before)
        words = reasons[row].removeprefix(f"{event}: ")
        found.append(Mark(event, int(starts[row]), values, other, words))
    return found


def add_marks(
    figure: go.Figure,
    digest: Digest,
    marks: Sequence[Mark],
    names: Sequence[str],
    metric: tuple[Integers, Floats],
) -> None:
    """Adds them to the panel of each hyper-parameter that they are about, and what went back to the metric's.

    Args:
        names: of the panels' hyper-parameters, from the top; the metric's is the last panel.
        metric: (iterations, values) of the winner's curve.
    """
    rows = np.array([mark.row for mark in marks], np.int64)
    others = np.array([mark.other for mark in marks], np.int64)
    for k, name in enumerate(names):
        values = _numbers(digest, rows, name)
        beside = np.where(others >= 0, _numbers(digest, np.maximum(others, 0), name), np.nan)
        for event in LOOKS:
            at = [
                i
                for i, mark in enumerate(marks)
                if mark.event == event
                and np.isfinite(values[i])
                and (event in (Event.ROLLBACK, Event.ORDER) or values[i] != beside[i])
            ]
            y = [float(values[i]) for i in at]
            _scatter(figure, event, [marks[i] for i in at], y, (k + 1, f"{name} "))
    backs = [mark for mark in marks if mark.event == Event.ROLLBACK]
    if len(metric[0]) and backs:
        y = np.interp([mark.at for mark in backs], *metric).tolist()
        _scatter(figure, Event.ROLLBACK, backs, y, (len(names) + 1, ""))


def add_taken_back(figure: go.Figure, digest: Digest, path: Integers, parents: Integers, panel: int) -> None:
    """Draws the metric over the stretches that were taken back: of the longest BACKS_DRAWN of them."""
    for rows in taken_back(digest, path, parents):
        x, y = curve_of(digest, rows)
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": BAD, "width": 1.4, "dash": "dot"}, name="taken back",
            legendgroup="taken back", showlegend=not any(t.name == "taken back" for t in figure.data),
            hovertemplate="taken back, iteration %{x:,}<br>%{y:.5g}<extra></extra>", row=panel, col=1,
        )  # fmt: skip


def taken_back(digest: Digest, path: Integers, parents: Integers) -> list[Integers]:
    """Rows of the stretches that the winner's line left, each from the line on; probes are none."""
    segments = digest.segments
    on_path = {int(row) for row in path}
    children: dict[int, list[int]] = {}
    rows = digest.search_rows.tolist()
    for row in rows:
        children.setdefault(int(parents[row]), []).append(row)
    events = dict(zip(rows, (one.event for one in segments.decisions(rows)), strict=True))
    found = []
    for mother in on_path:
        for row in children.get(mother, ()):
            if row in on_path or (events[row] in ARMS and row not in children):
                continue
            way = [row]
            while nexts := children.get(way[-1]):
                way.append(max(nexts, key=lambda one: int(segments.reached[one])))
            found.append(np.array(way, np.int64))
    lengths = {id(way): int(segments.reached[way[-1]] - segments.integers("start")[way[0]]) for way in found}
    return sorted(found, key=lambda way: -lengths[id(way)])[:BACKS_DRAWN]


def range_of(values: Floats) -> list[float] | None:
    """An axis range for the winner's curve: a spike that was taken back leaves it; None for no curve."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return None
    low, high = float(known.min()), float(known.max())
    room = 0.08 * (high - low)
    return [low - room, high + room] if room else None


# ---- inside


def _arms(digest: Digest, parents: Integers) -> dict[int, list[int]]:
    """The arms of forks, by the row that they grew from."""
    rows = digest.search_rows
    found: dict[int, list[int]] = {}
    for row, decided in zip(rows.tolist(), digest.segments.decisions(rows), strict=True):
        if decided.event in ARMS and parents[row] >= 0:
            found.setdefault(int(parents[row]), []).append(row)
    return found


def _numbers(digest: Digest, rows: Integers, name: str) -> Floats:
    """A hyper-parameter's values in these segments; NaN where it is no number."""
    column = digest.columns(rows).get(name) if len(rows) else None
    numbers = as_floats(column) if column is not None else None
    return np.full(len(rows), np.nan) if numbers is None else numbers


def _scatter(
    figure: go.Figure, event: Event, marks: Sequence[Mark], y: Sequence[float], panel: tuple[int, str]
) -> None:
    if not marks:
        return
    (label, symbol, size), colour = LOOKS[event], EVENT_COLOURS[event]
    row, of = panel
    values = [f"{of}{setting(value)}" if of else setting(value) for value in y]
    figure.add_scatter(
        x=[mark.at for mark in marks],
        y=list(y),
        mode="markers",
        marker={"symbol": symbol, "color": colour, "size": size, "line": {"width": 1.4, "color": colour}},
        name=label,
        legendgroup=label,
        showlegend=not any(t.name == label for t in figure.data),
        hovertext=[
            f"<b>{label}</b> at iteration {mark.at:,}: {escape(value)}<br>{wrapped(mark.words)}"
            for mark, value in zip(marks, values, strict=True)
        ],
        hoverinfo="text",
        row=row,
        col=1,
    )
