"""The lineage of a raised model: its schedules, and the tree of all segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from raysearch.core.formatting import number, setting
from raysearch.core.segment import trial_name
from raysearch.core.used_values import slot_of
from raysearch.results.columns import Floats, Integers
from raysearch.results.plots import decisions
from raysearch.results.plots.columns import as_floats, as_labels, curve_of
from raysearch.results.plots.digest import Digest
from raysearch.results.plots.style import (
    ACCENT,
    BEST,
    GRID,
    LOG_TICKS,
    QUIET,
    blank,
    empty,
    escape,
    wrapped,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

NODES = 1200  # segments that a tree shows
ENDS = ("first", "last")
MEMBERS = 8  # other lines beside the winner's schedule


def has_changes(digest: Digest) -> bool:
    """Whether any model changed its configuration as it trained: whether there is something to draw."""
    return bool(len(changes(digest)))


def changes(digest: Digest) -> Integers:
    """Rows of the search whose configuration is another than their parent's."""
    segments, rows = digest.segments, digest.search_rows
    parents = _parents(digest)
    child = rows[parents[rows] >= 0]
    if not len(child):
        return child
    shape = segments.table["shape"].combine_chunks().indices.to_numpy()
    numbers = segments.table["numbers"].combine_chunks()
    offsets, flat = numbers.offsets.to_numpy(), numbers.values.to_numpy()
    mother = parents[child]
    sizes = offsets[child + 1] - offsets[child]
    other = (shape[child] != shape[mother]) | (sizes != offsets[mother + 1] - offsets[mother])
    for k in range(int(sizes.max())):
        here = ~other & (k < sizes)
        at = np.flatnonzero(here)
        other[at] |= flat[offsets[child[at]] + k] != flat[offsets[mother[at]] + k]
    return np.asarray(child[other], np.int64)


def schedules(digest: Digest) -> go.Figure:
    """Each hyper-parameter that changed, over the iterations: the winner's line, and other members'."""
    from plotly.subplots import make_subplots

    lines = [np.array([*digest.path], np.int64)] if len(digest.path) else []
    lines += _members(digest, {int(r) for r in digest.path})
    names = _changing(digest, lines)
    if not names:
        return empty("No hyper-parameter changed while a model was trained.")
    figure = make_subplots(len(names) + 1, 1, shared_xaxes=True, vertical_spacing=0.05)
    figure.update_layout(blank(150 + 170 * len(names), "").layout)
    for at, rows in reversed([*enumerate(lines)]):
        _schedule(figure, digest, rows, names, at == 0 and bool(len(digest.path)))
    if len(digest.path):
        parents = _parents(digest)
        decisions.add_taken_back(figure, digest, lines[0], parents, len(names) + 1)
        marks = decisions.marks_of(digest, lines[0], parents)
        curve = curve_of(digest, lines[0])
        decisions.add_marks(figure, digest, marks, names, curve)
        figure.update_yaxes(range=decisions.range_of(curve[1]), row=len(names) + 1, col=1)
    for k, name in enumerate(names):
        figure.update_yaxes(
            title_text=escape(name),
            **({"type": "log", **LOG_TICKS} if digest.is_log(name) else {"nticks": 6}),
            row=k + 1,
            col=1,
        )
    figure.update_yaxes(title_text=escape(digest.metric), row=len(names) + 1, col=1)
    figure.update_xaxes(title_text="iteration", row=len(names) + 1, col=1)
    for k in range(len(names) + 1):
        figure.update_yaxes(
            gridcolor=GRID,
            zeroline=False,
            automargin=True,
            row=k + 1,
            col=1,
        )
        figure.update_xaxes(gridcolor=GRID, zeroline=False, row=k + 1, col=1)
    return figure


def tree(digest: Digest) -> go.Figure:
    """Every segment as a node over the iterations, its parent to the left; the reason on hover."""
    rows, dropped = _shown(digest)
    if not len(rows):
        return empty("No segment has ended yet.")
    parents = _parents(digest)
    lanes = _lanes(digest, rows, parents)
    lane_of = dict(zip(rows.tolist(), lanes, strict=True))
    path = {int(r) for r in digest.path}
    figure = blank(
        int(min(760, max(260, 120 + 16 * (max(lanes, default=0) + 1)))),
        f"{len(rows):,} of {len(digest.search_rows):,} segments are drawn: those that led to the winner, and the latest others."  # noqa: E501
        if dropped
        else "",
    )
    for on_path in (False, True):
        x, y = _branches(digest, [r for r in rows.tolist() if (r in path) == on_path], parents, lane_of)
        figure.add_scatter(
            x=x, y=y, mode="lines", hoverinfo="skip",
            name="what led to the winner" if on_path else "tried and left",
            line={"color": BEST if on_path else QUIET, "width": 3 if on_path else 1.2, "shape": "linear"},
        )  # fmt: skip
    _add_ends(figure, digest, rows, lanes)
    figure.update_yaxes(visible=False, autorange="reversed")
    figure.update_xaxes(title_text="iteration", rangemode="tozero")
    return figure


# ---- inside


def _branches(
    digest: Digest, rows: Sequence[int], parents: Integers, lane_of: Mapping[int, int]
) -> tuple[list[int | None], list[int | None]]:
    """(x, y) of a line for each segment: from its parent's lane along its own; None between."""
    starts, reached = digest.segments.integers("start"), digest.segments.reached
    x: list[int | None] = []
    y: list[int | None] = []
    for row in rows:
        lane = lane_of[row]
        x += [int(starts[row]), int(starts[row]), int(reached[row]), None]
        y += [lane_of.get(int(parents[row]), lane), lane, lane, None]
    return x, y


def _add_ends(figure: go.Figure, digest: Digest, rows: Integers, lanes: Sequence[int]) -> None:
    """Adds a point at the end of each segment, with its reason on hover."""
    path = {int(r) for r in digest.path}
    reasons = digest.texts("reason", rows)
    errors = digest.texts("error", rows)
    figure.add_scatter(
        x=digest.segments.reached[rows],
        y=lanes,
        mode="markers",
        showlegend=False,
        marker={
            "size": [9 if int(r) in path else 6 for r in rows],
            "color": [
                decisions.EVENT_COLOURS.get(decided.event, BEST if int(r) in path else ACCENT)
                for r, decided in zip(rows, digest.segments.decisions(rows), strict=True)
            ],
        },
        hovertext=_hovers(digest, rows, reasons, errors),
        hoverinfo="text",
    )


def _parents(digest: Digest) -> Integers:
    """The row of each segment's parent; -1 where it has none that is there."""
    segments = digest.segments
    ids = segments.integers("id")
    wanted = np.asarray(segments.table["parent"].fill_null(-1).to_numpy(), np.int64)
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids, wanted, sorter=order), max(0, len(ids) - 1))
    if not len(ids):
        return wanted
    found = order[at]
    return np.where(ids[found] == wanted, found, -1)


def _members(digest: Digest, path: set[int]) -> list[Integers]:
    """The longest trainings besides the winner's, from their roots on."""
    parents, trials = _parents(digest), digest.trials
    order = np.argsort(-trials.iterations, kind="stable")
    found: list[Integers] = []
    for at in order.tolist():
        leaf = int(trials.leaves[at])
        if leaf in path or len(found) >= MEMBERS:
            continue
        rows = [leaf]
        while parents[rows[-1]] >= 0:
            rows.append(int(parents[rows[-1]]))
        found.append(np.array(rows[::-1], np.int64))
    return found


def _changing(digest: Digest, lines: list[Integers]) -> list[str]:
    if not lines:
        return []
    changed = set()
    for rows in lines:
        for name, values in digest.columns(rows).items():
            numbers = as_floats(values)
            if numbers is not None and len({*as_labels(values)} - {""}) > 1:
                changed.add(name)
    return [n for n in (digest.free or sorted(changed)) if n in changed][:6]


def _schedule(figure: go.Figure, digest: Digest, rows: Integers, names: list[str], is_winner: bool) -> None:

    segments, columns = digest.segments, digest.columns(rows)
    starts, reached = segments.integers("start")[rows], segments.reached[rows]
    reasons = digest.texts("reason", rows)
    look = {"color": BEST if is_winner else QUIET, "width": 2.6 if is_winner else 1.0, "shape": "hv"}
    label = "winner" if is_winner else "other lines"
    for k, name in enumerate(names):
        numbers = as_floats(columns[name]) if name in columns else None
        if numbers is None:
            continue
        figure.add_scatter(
            x=[*starts.tolist(), int(reached[-1])],
            y=[*numbers.tolist(), float(numbers[-1])],
            mode="lines",
            line=look,
            opacity=1.0 if is_winner else 0.5,
            name=label,
            legendgroup=label,
            showlegend=k == 0 and not any(t.name == label for t in figure.data),
            hovertext=[
                f"iteration {a:,}: {escape(name)} {setting(float(v))}<br>{wrapped(w)}"
                for a, v, w in zip(
                    [*starts, reached[-1]], [*numbers, numbers[-1]], [*reasons, ""], strict=True
                )
            ],
            hoverinfo="text",
            row=k + 1,
            col=1,
        )
        if is_winner:
            _used(figure, digest, rows, name, numbers, k + 1)
    x, y = curve_of(digest, rows)
    figure.add_scatter(
        x=x, y=y, mode="lines", line={**look, "shape": "linear"}, opacity=1.0 if is_winner else 0.5,
        showlegend=False, legendgroup=label, row=len(names) + 1, col=1,
        hovertemplate="iteration %{x:,}<br>%{y:.5g}<extra></extra>",
    )  # fmt: skip


def _used(figure: go.Figure, digest: Digest, rows: Integers, name: str, asked: Floats, row: int) -> None:
    """What the optimizer held at each segment's first and last step, where that is not what was asked."""
    ends = digest.segments.used_ends(rows)
    held = [ends.get(f"used.{name}.{end}", ends.get(f"held.{slot_of(name)}.{end}")) for end in ENDS]
    first, last = held
    if (
        first is None
        or last is None
        or np.allclose(np.stack([first, last]), asked, rtol=1e-6, equal_nan=True)
    ):
        return
    starts, reached = digest.segments.integers("start")[rows], digest.segments.reached[rows]
    figure.add_scatter(
        x=np.column_stack([starts, reached]).ravel().tolist(),
        y=np.column_stack([first, last]).ravel().tolist(),
        mode="lines",
        line={"color": BEST, "width": 1.4, "dash": "dot"},
        name="used",
        legendgroup="used",
        showlegend=not any(t.name == "used" for t in figure.data),
        hovertemplate=f"iteration %{{x:,}}: the optimizer used {escape(name)} %{{y:.4g}}<extra></extra>",
        row=row,
        col=1,
    )


def _shown(digest: Digest) -> tuple[Integers, bool]:
    rows = digest.search_rows
    if len(rows) <= NODES:
        return rows, False
    path = np.array(sorted(int(r) for r in digest.path), np.int64)
    rest = np.setdiff1d(rows, path)[-(NODES - min(len(path), NODES)) :]
    return np.union1d(path, rest), True


def _lanes(digest: Digest, rows: Integers, parents: Integers) -> list[int]:
    """A lane for each segment: that of its parent where it is the first child, or else the next free one.

    The path to the winner keeps lane 0.
    """
    path = {int(r) for r in digest.path}
    starts, reached = digest.segments.integers("start"), digest.segments.reached
    lane_of: dict[int, int] = {}
    free_from: list[int] = [2**62 if path else 0]  # iteration from which each lane is free
    for r in sorted(rows.tolist(), key=lambda r: (int(starts[r]), r)):
        mother = int(parents[r])
        if r in path:
            lane_of[r] = 0
            continue
        lane = lane_of.get(mother, -1)
        if lane <= 0 or free_from[lane] > int(starts[r]):
            lane = next((k for k, at in enumerate(free_from) if k and at <= int(starts[r])), len(free_from))
        if lane == len(free_from):
            free_from.append(0)
        free_from[lane] = max(int(reached[r]), int(starts[r]) + 1)
        lane_of[r] = lane
    return [lane_of[r] for r in rows.tolist()]


def _hovers(digest: Digest, rows: Integers, reasons: list[str], errors: list[str]) -> list[str]:
    segments = digest.segments
    columns = {
        n: as_labels(v) for n, v in digest.columns(rows).items() if not digest.free or n in digest.free
    }
    names = digest.texts("status", rows)
    texts = []
    for i, r in enumerate(rows.tolist()):
        config = ", ".join(f"{n} {v[i]}" for n, v in columns.items() if v[i])
        head = f"<b>trial {trial_name(int(segments.integers('trial')[r]), ',')}</b>, iterations {int(segments.integers('start')[r]):,} to {int(segments.reached[r]):,}, {names[i]}"  # noqa: E501
        lines = [
            head,
            f"{escape(digest.metric)} {number(float(segments.last[r]), 5)}",
            wrapped(config, 60, 3),
            wrapped(reasons[i]),
        ]
        texts.append("<br>".join(line for line in (*lines, wrapped(errors[i])) if line))
    return texts
