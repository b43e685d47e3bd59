"""The re-tests of these settings over the months."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from raysearch.report.sections.values import Picture, Section, TextTable

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def retest_history(results: Results, winner: Best | None) -> Section | None:
    """A row a re-test; None before the first."""
    from raysearch.results.plots.history import history
    from raysearch.workflows.retest.history import history_frame

    retests = history_frame(results.path)
    if not len(retests):
        return None
    picture = Picture("history", "Re-tests of these settings", partial(history, retests, results.metric))
    records: list[dict[str, Any]] = retests.to_dict("records")  # type: ignore[assignment]
    rows = [[str(r["day"]), r["verdict"], r["text"].splitlines()[0], str(r["due"] or "")] for r in records]
    table = TextTable(["day", "verdict", "in words", "next"], rows)
    return Section("history", "These settings over the months", [], [picture], [table])
