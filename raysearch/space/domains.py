"""All domains there are, and each one's name in the YAML form."""

from __future__ import annotations

from raysearch.space.base import Domain, Units
from raysearch.space.categorical import Choice, Fixed, Ordinal
from raysearch.space.normal import LogNormal, Normal
from raysearch.space.numeric import Interval, LogRandInt, LogUniform, RandInt, Uniform

__all__ = [
    "KINDS",
    "Choice",
    "Domain",
    "Fixed",
    "Interval",
    "LogNormal",
    "LogRandInt",
    "LogUniform",
    "Normal",
    "Ordinal",
    "RandInt",
    "Uniform",
    "Units",
]

KINDS: dict[str, type[Domain]] = {
    cls.kind: cls
    for cls in (Uniform, LogUniform, RandInt, LogRandInt, Normal, LogNormal, Choice, Ordinal, Fixed)
}
