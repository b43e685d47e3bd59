"""What is searched: domains, conditions, constraints, and points in the unit cube."""

from __future__ import annotations

from raysearch.space.domains import (
    Choice,
    Domain,
    Fixed,
    LogNormal,
    LogRandInt,
    LogUniform,
    Normal,
    Ordinal,
    RandInt,
    Uniform,
)
from raysearch.space.space import Space

__all__ = [
    "Choice",
    "Domain",
    "Fixed",
    "LogNormal",
    "LogRandInt",
    "LogUniform",
    "Normal",
    "Ordinal",
    "RandInt",
    "Space",
    "Uniform",
]
