"""A run opened for a command that reads it, with the remarks on its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.cli.output import say

if TYPE_CHECKING:
    from raysearch.results.results import Results


def opened(run: str) -> Results:
    """The results of a run; remarks on its files go to stderr.

    Raises:
        RaysearchError: no run is there, or it cannot be read.
    """
    from raysearch.results.remarks import remarks
    from raysearch.results.results import Results
    from raysearch.run.location import existing_run

    root = existing_run(run)
    for text in remarks(root):
        say(f"note: {text}")
    return Results(root)
