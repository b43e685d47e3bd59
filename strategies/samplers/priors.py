"""What people believe of hyper-parameters before the search: other domains in place of the space's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from raysearch.core.values import show
from raysearch.errors import LocatedError, SpecError, located, unknown
from raysearch.space.domains import Choice, Domain, Fixed
from raysearch.space.names import flat_name
from raysearch.space.parsing import parse_domain
from raysearch.space.space import Space
from raysearch.strategies.samplers.prior_confidence import confidence_of, prior_names

PROBES = 1000  # values of a prior that are looked at
LEAST_SHARE = 0.01  # of them must lie in the space for a prior to say anything


def prior_space(space: Space, priors: Mapping[str, Any]) -> Space:
    """The space with the domains of the priors in place of its own.

    Raises:
        SpecError: a name is not in the space, or its domain is not valid.
    """
    for name in prior_names(priors):
        if flat_name(name, space.names) not in space.domains:
            raise LocatedError(f"priors.{name}", unknown("hyper-parameter", name, space.free))
    believed = {}
    for name in prior_names(priors):
        with located(f"priors.{name}"):
            believed[flat_name(name, space.names)] = parse_domain(priors[name])
    domains = {n: believed.get(n, d) for n, d in space.domains.items()}
    return Space(domains, space.conditions, space.constraints)


def check_priors(space: Space, priors: Mapping[str, Any]) -> None:
    """Looks whether the priors can say anything of a search in this space.

    Raises:
        LocatedError: a name is not in the space, its domain is not valid, or next to none of its values lie
            in the space's own domain; the confidence is none.
    """
    confidence_of(priors)
    believed = prior_space(space, priors)
    for name in prior_names(priors):
        flat = flat_name(name, space.names)
        with located(f"priors.{name}"):
            _check_prior(name, believed.domains[flat], space.domains[flat])


def _check_prior(name: str, believed: Domain, domain: Domain) -> None:
    values = [*getattr(believed, "values", ())] or believed.column((np.arange(PROBES) + 0.5) / PROBES)
    wrong = [value for value in values if not domain.contains(value)]
    if wrong and isinstance(believed, (Choice, Fixed)):
        raise SpecError(f"{show(wrong[0])} {domain.why_not(wrong[0])}; {name} is {domain.describe()}")
    if len(wrong) > (1 - LEAST_SHARE) * len(values):
        raise SpecError(
            f"{believed.describe()} gives next to no value of {name}, which is {domain.describe()}: "
            f"{show(wrong[len(wrong) // 2])} {domain.why_not(wrong[len(wrong) // 2])}"
        )
