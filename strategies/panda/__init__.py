"""Panda: one model, or a few, raised with care: fork, probe, commit, roll back."""

from __future__ import annotations

from raysearch.strategies.panda.settings import Panda

__all__ = ["Panda"]
