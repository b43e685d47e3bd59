"""What is searched: domains, conditions, constraints, and points in the unit cube."""

from __future__ import annotations

from raysearch.space.conditions import Condition, Test
from raysearch.space.constraints import Constraint
from raysearch.space.domains import (
    KINDS,
    Choice,
    Domain,
    Fixed,
    Interval,
    LogNormal,
    LogRandInt,
    LogUniform,
    Normal,
    Ordinal,
    RandInt,
    Uniform,
    Units,
)
from raysearch.space.space import Space

__all__ = [
    "KINDS",
    "Choice",
    "Condition",
    "Constraint",
    "Domain",
    "Fixed",
    "Interval",
    "LogNormal",
    "LogRandInt",
    "LogUniform",
    "Normal",
    "Ordinal",
    "RandInt",
    "Space",
    "Test",
    "Uniform",
    "Units",
]
