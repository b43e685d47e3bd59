"""The history of one setting over the months: a table, and a picture for reports."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.workflows.retest.calendar import day_of
from raysearch.workflows.retest.retest import Verdict, history

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {"fresh": "#2a9d4a", "stale": "#c8352b", "inconclusive": "#b98900"}
WIDTH, HEIGHT, EDGE = 640, 220, 48


def history_frame(run: Path) -> pd.DataFrame:
    """One row a retest of a run's settings, the oldest first.

    Columns: day, verdict, mean (of the settings' whole trainings then; NaN without any), low and high (the
    least and greatest of them), changed (what replaced them; empty if nothing), due, text.
    """
    import pandas as pd

    rows = [
        {
            "day": day_of(v.at),
            "verdict": v.word,
            "mean": sum(v.values) / len(v.values) if v.values else float("nan"),
            "low": min(v.values, default=float("nan")),
            "high": max(v.values, default=float("nan")),
            "changed": v.changed,
            "due": v.due,
            "text": v.text,
        }
        for v in history(run)
    ]
    names = ["day", "verdict", "mean", "low", "high", "changed", "due", "text"]
    return pd.DataFrame(rows, columns=names)


def history_svg(run: Path, metric: str) -> str:
    """The same as an SVG picture: what the settings gave at each retest, by verdict; empty without any."""
    past = [v for v in history(run) if v.values]
    if not past:
        return ""
    values = [x for v in past for x in v.values]
    low, high = min(values), max(values)
    first, last = past[0].at, past[-1].at
    spread, span = (high - low) or 1.0, (last - first) or 1.0

    def place(at: float, value: float) -> tuple[float, float]:
        x = EDGE + (WIDTH - 2 * EDGE) * ((at - first) / span if len(past) > 1 else 0.5)
        return x, HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - low) / spread

    means = [place(v.at, sum(v.values) / len(v.values)) for v in past]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in means)
    ends = [(place(v.at, min(v.values))[1], place(v.at, max(v.values))[1]) for v in past]
    marks = "".join(_mark(v, x, y, *e) for v, (x, y), e in zip(past, means, ends, strict=True))
    labels = f'<text x="4" y="{EDGE - 8}">{html.escape(metric)} {high:.4g}</text>'
    labels += f'<text x="4" y="{HEIGHT - EDGE + 14}">{low:.4g}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11" role="img" aria-label="history of the settings">'
        f'<polyline points="{line}" fill="none" stroke="#888"/>{labels}{marks}</svg>'
    )


def history_lines(run: Path) -> list[str]:
    """The same in words, a line a retest, for Markdown."""
    return [f"- {day_of(v.at)}: **{v.word}**. {v.text.splitlines()[0]}" for v in history(run)]


def _mark(v: Verdict, x: float, y: float, low: float, high: float) -> str:
    colour = COLOURS.get(v.word, "#444")
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">'
        f"<title>{html.escape(v.text)}</title></circle>"
        f'<text x="{x:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{day_of(v.at)}</text>'
        f'<text x="{x:.1f}" y="{HEIGHT - 2}" text-anchor="middle" fill="{colour}">{v.word}</text>'
    )
