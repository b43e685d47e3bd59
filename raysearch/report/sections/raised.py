"""Schedules and lineage of models whose configuration changed while they were trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.sections.values import Picture, Section
from raysearch.results.plots.lineage import has_changes

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def raised(results: Results, winner: Best | None) -> Section | None:
    """Schedules and lineage; None where no model was raised, or none changed its configuration."""
    if results.raised is None or not has_changes(results.digest):
        return None
    lineage = (
        "From left to right over the iterations; each point is the end of a segment, green what led to the "
        "winner. Its reason is shown where you point at it."
    )
    return Section(
        "raised",
        "Schedules and lineage",
        ("Configurations changed while models were trained.",),
        [
            Picture("schedules", "Schedules", results.plot.schedules()),
            Picture("lineage", "Lineage", results.plot.lineage(), lineage),
        ],
    )
