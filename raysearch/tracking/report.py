"""A run's report: one HTML file that works from a mail or an artifact store with the network off.

Path("report.html").write_text(write_report(raysearch.load("runs/digits")))
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from raysearch.tracking.page import page
from raysearch.tracking.sections import content_of
from raysearch.version import __version__

if TYPE_CHECKING:
    from raysearch.results import Results


def write_report(results: Results) -> str:
    """The report as HTML text, below 10 MB; what users typed is escaped, and nothing is loaded from elsewhere."""
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return page(content_of(results), f"{results.path} · raysearch {__version__} · {written}")
