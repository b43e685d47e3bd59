"""Which hyper-parameters matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.sections.values import Picture, Section

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def space(results: Results, winner: Best | None) -> Section | None:
    """Figures of the hyper-parameters; None for fewer than three ranked trials or a raised model."""
    plot = results.plot
    if len(results.digest.ranking) < 3 or results.raised is not None:  # how a raised model ends says little
        return None
    leads = f" by {results.metric}, which leads" if results.goals.several else ""
    pictures = [
        Picture(
            "parallel",
            "Parallel coordinates",
            plot.parallel(),
            "A line a trial, green the best and grey the poorest"
            f"{leads}; the hyper-parameters that matter most stand nearest to the metric, and its better end "
            "is up.",
        ),
        Picture("importance", "Importance", plot.importance()),
        Picture(
            "slices",
            "Slices",
            plot.slices(),
            "Large green points were trained the longest; the circle is the best trial.",
        ),
    ]
    if plot.importances is None:
        pictures = [p for p in pictures if p.name != "importance"]
    return Section("space", "What matters", (), pictures)
