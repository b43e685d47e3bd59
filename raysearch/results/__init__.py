"""What a run found: tables, the best trial, its verdict and its figures, read from the journal."""

from __future__ import annotations

from raysearch.results.results import Results, load
from raysearch.results.winner import Best

__all__ = ["Best", "Results", "load"]
