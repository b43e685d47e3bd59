"""Caviar: many configurations, halved at rungs (ASHA, by promotion or by stopping)."""

from __future__ import annotations

from raysearch.core.segment import value_at
from raysearch.strategies.caviar.brackets import bracket_shares
from raysearch.strategies.caviar.search import CaviarSearch
from raysearch.strategies.caviar.settings import Caviar

__all__ = ["Caviar", "CaviarSearch", "bracket_shares", "value_at"]
