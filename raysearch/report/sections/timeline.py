"""Which worker trained what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.sections.values import Picture, Section

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def timeline(results: Results, winner: Best | None) -> Section | None:
    """The workers over time; None before the first segment."""
    if not len(results.digest.segments):
        return None
    return Section("cluster", "Who trained what when", (), [Picture("timeline", "", results.plot.timeline())])
