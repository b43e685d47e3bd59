"""What a team reviews: the HTML report, its sections, the board and the comparison of runs.

from raysearch.report import write_report
Path("report.html").write_text(write_report(raysearch.load("runs/digits")))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysearch.report.report import write_comparison, write_report
    from raysearch.report.sections import content_of

__all__ = ["content_of", "write_comparison", "write_report"]


def __getattr__(name: str) -> Any:
    """Loads a public name, and the figures that it needs, at its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "sections" if name == "content_of" else "report"
    return getattr(importlib.import_module(f"raysearch.report.{home}"), name)
