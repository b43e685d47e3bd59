"""A run's report: one HTML file that works from a mail or an artifact store with the network off.

Path("report.html").write_text(write_report(raysearch.load("runs/digits")))
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from raysearch.core.version import __version__
from raysearch.report import compare
from raysearch.report.html import POLICY, page, plain_page
from raysearch.report.sections.content import content_of
from raysearch.report.sections.values import Picture, Section, TextTable

if TYPE_CHECKING:
    from raysearch.results.results import Results


def write_report(results: Results) -> str:
    """The report as HTML text, below 10 MB; text of users is escaped, and the page loads nothing."""
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return page(content_of(results), f"{results.path} · raysearch {__version__} · {written}")


def write_comparison(runs: Sequence[Results], found: Sequence[compare.Compared]) -> str:
    """A page that puts searches side by side."""
    rows = compare.rows_of(runs, found)
    table = TextTable(("", *(run.path.name for run in runs)), rows, frozenset(range(1, len(found) + 1)))
    words = "Each over the time since its own start; segments count when they end, whatever their iteration."
    compared = Picture("compared", "", partial(compare.progress, runs), words)
    sections = [
        Section("table", "Side by side", (), (), [table]),
        Section("progress", "Best so far", (), [compared]),
        *(
            Section(
                f"importance-{i}",
                f"What matters in {run.path.name}",
                (),
                [Picture(f"importance-{i}", "", run.plot.importance)],
            )
            for i, run in enumerate(runs)
        ),
    ]
    return plain_page("Comparison of searches", sections, POLICY)
