"""What a run found: tables, the best trial, its verdict and its figures, read from the journal."""

from __future__ import annotations

from raysearch.results.results import Best, Results, load

__all__ = ["Best", "Results", "load"]
