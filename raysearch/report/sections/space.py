"""Which hyper-parameters matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.sections.values import Picture, Section
from raysearch.results.plots.digest import valued

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def space(results: Results, winner: Best | None) -> Section | None:
    """Figures of the hyper-parameters; None for fewer than three ranked trials or a raised model."""
    pictures = space_pictures(results)
    return Section("space", "What matters", (), pictures) if pictures else None


def space_pictures(results: Results) -> list[Picture]:
    """The figures of the hyper-parameters; none where the section is None."""
    plot = results.plot
    if valued(results.digest).sum() < 3 or results.raised is not None:  # how a raised model ends says little
        return []
    leads = f" by {results.metric}, which leads" if results.goals.several else ""
    pictures = [
        Picture(
            "parallel",
            "Parallel coordinates",
            plot.parallel,
            "A line a trial, green the best and grey the poorest"
            f"{leads}; the hyper-parameters that matter most stand nearest to the metric, and its better end "
            "is up.",
        ),
        Picture("importance", "Importance", plot.importance),
        Picture(
            "slices",
            "Slices",
            plot.slices,
            "Large green points were trained the longest; the circle is the best trial.",
        ),
    ]
    return pictures if plot.has_importances else [p for p in pictures if p.name != "importance"]
