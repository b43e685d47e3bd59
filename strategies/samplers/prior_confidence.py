"""How much of a search the priors of its user decide, and which hyper-parameters they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysearch.errors import LocatedError

CONFIDENCES = {"low": 0.25, "medium": 0.5, "high": 1.0}


def confidence_of(priors: Mapping[str, Any]) -> float:
    """The share, of the trials that may be transferred, that comes from the prior rather than the box.

    Raises:
        SpecError: it is neither low, medium, high nor a number above 0 and at most 1.
    """
    said = priors.get("confidence", "medium")
    if isinstance(said, str) and said in CONFIDENCES:
        return CONFIDENCES[said]
    if isinstance(said, (int, float)) and not isinstance(said, bool) and 0 < said <= 1:
        return float(said)
    raise LocatedError("priors.confidence", f"{said!r} is neither low, medium, high nor a number in (0, 1]")


def prior_names(priors: Mapping[str, Any]) -> list[str]:
    """The hyper-parameters that a prior is given for."""
    return [name for name in priors if name != "confidence"]
