"""Caviar: many configurations, halved at rungs (ASHA, by promotion or by stopping)."""

from __future__ import annotations

from raysearch.strategies.caviar.rungs import value_at
from raysearch.strategies.caviar.search import Caviar, CaviarSearch, bracket_shares

__all__ = ["Caviar", "CaviarSearch", "bracket_shares", "value_at"]
