"""What the workers did when: which worker trained which trial, and how much of the time they were idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from raysearch.core.formatting import duration
from raysearch.core.segment import trial_name
from raysearch.results.plots.digest import Digest, time_scale
from raysearch.results.plots.style import INK, STATUS_COLOURS, blank, empty, escape, wrapped

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results.columns import Floats, Integers

BARS = 900  # segments drawn one by one; beyond it shares of time are drawn
ROWS = 48  # workers with a line of their own
BINS = 120


def timeline(digest: Digest) -> go.Figure:
    """A line a worker: each segment as a bar, or how busy it was where there are too many of them."""
    segments = digest.segments
    rows = np.flatnonzero(segments.floats("finished_at") > 0)
    if not len(rows):
        return empty("No segment has ended yet.")
    codes, names = segments.texts("worker")
    if len(rows) <= BARS and len(names) <= ROWS:
        return _bars(digest, rows, codes, names)
    return _busy(digest, rows, codes, names)


def utilisation(digest: Digest) -> tuple[float, float, int]:
    """(share of the workers' time in which they trained, hours trained, workers), over the lives of the run.

    In each of them a worker counts from its first segment's start to the life's end, so that waiting at the
    end shows.
    """
    segments = digest.segments
    rows = np.flatnonzero(segments.floats("finished_at") > 0)
    if not len(rows):
        return 0.0, 0.0, 0
    codes, _ = segments.texts("worker")
    life = digest.lives.which(segments.floats("finished_at")[rows])
    ends = np.full(digest.lives.count, -np.inf)
    np.maximum.at(ends, life, digest.ended[rows])
    firsts = np.full((digest.lives.count, int(codes.max()) + 1), np.inf)
    np.minimum.at(firsts, (life, codes[rows]), digest.began[rows])
    is_there = np.isfinite(firsts)
    there = float((ends[:, None] - firsts)[is_there].sum())
    hours = float(np.nan_to_num(segments.floats("seconds")[rows]).sum()) / 3600
    return min(1.0, hours * 3600 / there) if there > 0 else 0.0, hours, int(is_there.any(axis=0).sum())


def _bars(digest: Digest, rows: Integers, codes: Integers, names: list[str]) -> go.Figure:
    segments = digest.segments
    scale, unit = time_scale(digest)
    used = sorted({int(c) for c in codes[rows]}, key=lambda c: _natural(names[c]))
    words = "A bar is a segment; between two bars the worker had nothing to train."
    figure = blank(100 + 34 * len(used), f"{words} {_words(digest)}", barmode="overlay", bargap=0.25)
    for status, colour in STATUS_COLOURS.items():
        here = rows[segments.having("status", status)[rows]]
        if not len(here):
            continue
        trials, starts = segments.integers("trial")[here], segments.integers("start")[here]
        reached, seconds = segments.reached[here], segments.floats("seconds")[here]
        reasons = digest.texts("reason", here)
        figure.add_bar(
            y=[escape(names[c] or "unknown") for c in codes[here]],
            base=(digest.began[here] - digest.zero) / 3600 * scale,
            x=seconds / 3600 * scale,
            orientation="h",
            name=status,
            marker={
                "color": colour,
                "opacity": 0.8,
                "line": {"color": INK, "width": 0.5},  # a light one would hide short bars
            },
            hovertext=[
                f"trial {trial_name(t, ',')}, iterations {a:,} to {b:,}, {duration(s)}<br>{wrapped(why)}"
                for t, a, b, s, why in zip(
                    trials.tolist(), starts.tolist(), reached.tolist(), seconds.tolist(), reasons, strict=True
                )
            ],
            hoverinfo="text",
        )
    order = [escape(names[c] or "unknown") for c in used]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=order[::-1], showgrid=False)
    figure.update_xaxes(title_text=f"{unit} since the start", rangemode="tozero")
    return figure


def _busy(digest: Digest, rows: Integers, codes: Integers, names: list[str]) -> go.Figure:
    """Share of each time bin in which a worker trained."""
    scale, unit = time_scale(digest)
    used = sorted({int(c) for c in np.unique(codes[rows])}, key=lambda c: _natural(names[c]))
    lanes = np.zeros(len(names), np.int64)
    per_lane = -(-len(used) // ROWS)  # so many workers share a line where there are very many
    lanes[used] = np.arange(len(used)) // per_lane
    total = digest.took_s or 1.0
    busy = _fill(
        (digest.began[rows] - digest.zero) / total * BINS,
        (digest.ended[rows] - digest.zero) / total * BINS,
        lanes[codes[rows]],
        int(lanes.max()) + 1,
    )
    members = np.bincount(lanes[used], minlength=busy.shape[0])
    labels = [_lane_name([names[c] for c in used if lanes[c] == lane]) for lane in range(busy.shape[0])]
    figure = blank(110 + max(18 * len(labels), 40), _words(digest))
    figure.add_heatmap(
        z=np.round(np.minimum(busy / members[:, None], 1.0), 3),
        x=(np.arange(BINS) + 0.5) / BINS * total / 3600 * scale,
        y=[escape(label) for label in labels],
        colorscale=[[0, "rgba(128,138,155,0.10)"], [1, STATUS_COLOURS["completed"]]],
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "busy"}, "tickformat": ".0%", "thickness": 10, "outlinewidth": 0},
        hovertemplate="%{y}: busy %{z:.0%}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(title_text=f"{unit} since the start", showgrid=False)
    return figure


def _fill(begin: Floats, end: Floats, lanes: Integers, count: int) -> Floats:
    """How much of each bin of each lane the intervals [begin, end), in bins, cover together."""
    begin, end = np.clip(begin, 0, BINS), np.clip(end, 0, BINS)
    a, b = np.minimum(begin.astype(np.int64), BINS - 1), np.minimum(end.astype(np.int64), BINS - 1)
    edges = np.zeros((count, BINS + 1))  # differences of the bins that are covered in full
    shares = np.zeros((count, BINS))
    one = a == b
    np.add.at(shares, (lanes[one], a[one]), (end - begin)[one])
    many = ~one
    np.add.at(shares, (lanes[many], a[many]), (a + 1 - begin)[many])
    np.add.at(shares, (lanes[many], b[many]), (end - b)[many])
    np.add.at(edges, (lanes[many], a[many] + 1), 1.0)
    np.add.at(edges, (lanes[many], b[many]), -1.0)
    return np.asarray(shares + np.cumsum(edges, axis=1)[:, :BINS], np.float64)


def _words(digest: Digest) -> str:
    share, hours, workers = utilisation(digest)
    count = "1 worker" if workers == 1 else f"{workers:,} workers"
    trained = duration(hours * 3600)
    text = f"{count} trained for {trained} together, {share:.0%} of the time they were there; the rest they were idle."  # noqa: E501
    return f"{text} {digest.lives_note}".strip()


def _natural(name: str) -> tuple[str, int]:
    head = name.rstrip("0123456789")
    return head, int(name[len(head) :] or -1)


def _lane_name(names: list[str]) -> str:
    return names[0] or "unknown" if len(names) == 1 else f"{names[0]} to {names[-1]}"
