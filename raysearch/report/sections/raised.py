"""Schedules and lineage of models whose configuration changed while they were trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.core.formatting import number
from raysearch.core.segment import Event
from raysearch.report.lineage_rows import Row, rows_of
from raysearch.report.sections.values import DIGITS, Picture, Section, TextTable
from raysearch.results.plots.lineage import has_changes

if TYPE_CHECKING:
    from raysearch.results import Best, Results

SCHEDULES = (
    "Marks are decisions: a rejected nudge stands at the value that was tried. Point at a mark for its "
    "words; the table has them too. Dotted red: stretches that were taken back. Dotted green: values that "
    "the optimizer used, where they are not those asked for."
)
LINEAGE = (
    "From left to right over the iterations; each point is the end of a segment, green what led to the "
    "winner. Its reason is shown where you point at it."
)
WORDS = {
    Event.ACCEPT: "accepted",
    Event.REJECT: "rejected",
    Event.ROLLBACK: "put back",
    Event.ORDER: "ordered",
}
ROWS_SHOWN = 60  # of the table
TOLD_FIRST = (Event.ROLLBACK, Event.ORDER)  # where there are too many rows for all


def raised(results: Results, winner: Best | None) -> Section | None:
    """Schedules and lineage; None where no model was raised, or none changed its configuration."""
    pictures = raised_pictures(results)
    if not pictures:
        return None
    words = ("Configurations changed while models were trained.",)
    return Section("raised", "Schedules and lineage", words, pictures, [_decisions(results)])


def raised_pictures(results: Results) -> list[Picture]:
    """Schedules and lineage; none where the section is None."""
    if results.raised is None or not has_changes(results.digest):
        return []
    return [
        Picture("schedules", "Schedules", results.plot.schedules, SCHEDULES),
        Picture("lineage", "Lineage", results.plot.lineage, LINEAGE),
    ]


def _decisions(results: Results) -> TextTable:
    """The way to the winner, a row a decision; of many the orders, those that went back, and the latest."""
    rows = [row for row in rows_of(results.lineage()) if row.is_trunk]
    first = [i for i, row in enumerate(rows) if row.event in TOLD_FIRST][-ROWS_SHOWN:]
    others = [i for i, row in enumerate(rows) if row.event == Event.ACCEPT]
    others += [i for i in reversed(range(len(rows))) if i not in {*first, *others}]
    shown = sorted([*first, *others[: ROWS_SHOWN - len(first)]])
    header = ("iterations", "the decision", "changed", results.metric, "why")
    return TextTable(header, [_cells(rows[i]) for i in shown], frozenset({0, 3}))


def _cells(row: Row) -> tuple[str, ...]:
    decided = WORDS[Event(row.event)] if row.event in WORDS else row.event
    return (f"{row.start:,}-{row.stop:,}", decided, row.values, number(row.metric, DIGITS), row.words)
