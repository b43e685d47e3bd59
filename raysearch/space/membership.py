"""Whether values fit the domains and conditions of a space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysearch.core.values import show
from raysearch.errors import unknown
from raysearch.space.conditions import Condition
from raysearch.space.domains import Domain
from raysearch.space.names import dotted


def misfit(
    values: Mapping[str, Any], domains: Mapping[str, Domain], conditions: Mapping[str, Condition]
) -> str | None:
    """What is wrong with values by flat name, without the constraints; None if nothing is."""
    if not values.keys() <= domains.keys():
        name = next(name for name in values if name not in domains)
        return unknown("hyper-parameter", dotted(name), map(dotted, domains))
    for name, value in values.items():
        if (why := domains[name].why_not(value)) is not None:
            return f"{dotted(name)} = {show(value)} {why}"
    if not conditions and len(values) == len(domains):
        return None
    inactive = [n for n, c in conditions.items() if not c.holds(values, domains)]
    if len(values) + len(inactive) == len(domains) and not any(name in values for name in inactive):
        return None
    for name, domain in domains.items():
        if name in inactive and name in values:
            return f"{dotted(name)} = {show(values[name])} is given though its condition is not met"
        if name not in inactive and name not in values:
            return f"{dotted(name)} is missing; it is {domain.describe()}"
    return None
