"""Which worker trained what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.sections.values import Picture, Section

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def timeline(results: Results, winner: Best | None) -> Section | None:
    """The workers over time; None before the first segment."""
    pictures = timeline_pictures(results)
    return Section("cluster", "Who trained what when", (), pictures) if pictures else None


def timeline_pictures(results: Results) -> list[Picture]:
    """The workers over time; none before the first segment."""
    return [Picture("timeline", "", results.plot.timeline)] if len(results.digest.segments) else []
