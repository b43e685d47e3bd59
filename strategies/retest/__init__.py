"""Retest: are the stored settings still good? Paired seeds against a few challengers."""

from __future__ import annotations

from raysearch.strategies.retest.search import Retest, RetestSearch

__all__ = ["Retest", "RetestSearch"]
