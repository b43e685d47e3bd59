"""Our spaces as other libraries' ones, for their samplers: Ray Tune's Searchers and Optuna's.

Neither knows conditions or constraints as we do: what they suggest has a value for every name;
`Space.prune` takes the inactive ones out, and `Space.satisfies` says whether to ask again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from raysearch.core.values import fresh, identity, show
from raysearch.errors import SpecError
from raysearch.space.domains import Choice, Domain, Fixed, Interval, LogNormal, Normal, Ordinal
from raysearch.space.names import dotted
from raysearch.space.space import Space

REPEATS_MOST = 100  # of all values of a choice together
WEIGHT_SLACK = 0.01
BELL = 4.0  # standard deviations at which an open bell is cut where a library wants bounds


def to_ray(space: Space) -> dict[str, Any]:
    """The space as Ray Tune writes it, groups nested. Weights of choices are repetitions, rounded.

    Raises:
        SpecError: for bells with bounds, which Ray Tune does not have.
    """
    return space.nest({name: _ray(name, domain) for name, domain in space.domains.items()})


def _ray(name: str, domain: Domain) -> Any:
    from ray import tune

    if isinstance(domain, Fixed):
        return fresh(domain.value)
    if isinstance(domain, Choice):
        return tune.choice(
            [fresh(v) for v, n in zip(domain.values, _repeats(domain), strict=True) for _ in range(n)]
        )
    if isinstance(domain, Interval):
        low, high = _grid_ends(domain)
        log = "log" if domain.log else ""
        if domain.q is not None:
            make = getattr(tune, f"q{log}randint" if domain.integer else f"q{log}uniform")
            return make(low, high, domain.q)
        if domain.integer:
            return getattr(tune, f"{log}randint")(low, high + 1)
        return getattr(tune, f"{log}uniform")(low, high)
    if type(domain) is Normal and domain.low is domain.high is None:
        return (
            tune.randn(domain.mean, domain.sd)
            if domain.q is None
            else tune.qrandn(domain.mean, domain.sd, domain.q)
        )
    raise SpecError(f"{name}: Ray Tune has nothing for {domain.describe()}; use uniform or loguniform")


def _repeats(domain: Choice) -> list[int]:
    """How often other libraries must be given each value: they know weights only as repetitions.

    The least number of repetitions, REPEATS_MOST in all, that comes nearest to the weights.
    """
    n = len(domain.values)
    if not domain.weights:
        return [1] * n
    shares = np.array(domain.weights) / sum(domain.weights)
    tables = [np.maximum(np.rint(shares * total), 1.0) for total in range(n, max(n, REPEATS_MOST) + 1)]
    errors = np.round([np.abs(table / table.sum() - shares).max() for table in tables], 9)
    return [int(count) for count in tables[int(np.argmin(errors))]]


def rounded_weights(space: Space) -> list[str]:
    """The choices whose weights other libraries get rounded, by more than a hundredth of a share."""
    found = []
    for name, domain in space.domains.items():
        if isinstance(domain, Choice) and domain.weights:
            shares, counts = np.array(domain.weights) / sum(domain.weights), np.array(_repeats(domain))
            if np.abs(counts / counts.sum() - shares).max() > WEIGHT_SLACK:
                found.append(dotted(name))
    return found


def _tokens(domain: Choice) -> list[tuple[Any, Any]]:
    """Optuna's categories, each with its value: the value itself, then `'sgd' #2` and on for its weight."""
    return [
        (_scalar(value) if k == 1 else f"{show(value)} #{k}", value)
        for value, count in zip(domain.values, _repeats(domain), strict=True)
        for k in range(1, count + 1)
    ]


def _grid_ends(domain: Interval) -> tuple[float, float]:
    """The least and greatest value: with a step, the first and last multiple of it."""
    if domain.q is None:
        return domain.low, domain.high
    low, high = domain.value_at(0.0), domain.value_at(1.0)
    return low, high


def to_optuna(space: Space) -> dict[str, Any]:
    """Optuna's distributions of the axes, by flat name.

    Ordinals are their places 0, 1, ... ; lists and mappings among choices are JSON text; open bells are
    cut at four standard deviations. `optuna_to_config` turns Optuna's parameters into a configuration.
    """
    return {name: _optuna(space.domains[name]) for name in space.free}


def _optuna(domain: Domain) -> Any:
    from optuna import distributions

    if isinstance(domain, Ordinal) and not domain.weights:
        return distributions.IntDistribution(0, len(domain.values) - 1)
    if isinstance(domain, Choice):
        return distributions.CategoricalDistribution([token for token, _ in _tokens(domain)])
    if isinstance(domain, Interval):
        return _optuna_interval(domain)
    assert isinstance(domain, Normal)
    low, high = (domain.mean + side * BELL * domain.sd for side in (-1, 1))
    if isinstance(domain, LogNormal):
        low, high = domain.from_unit(3e-5), domain.from_unit(1 - 3e-5)
    low = low if domain.low is None else domain.low
    high = high if domain.high is None else domain.high
    return distributions.FloatDistribution(low, high, log=isinstance(domain, LogNormal) and low > 0)


def _optuna_interval(domain: Interval) -> Any:
    """Optuna has no steps on a log scale: there they are left out, and `optuna_to_config` rounds."""
    from optuna import distributions

    low, high = _grid_ends(domain)
    step = None if domain.log else domain.q
    if domain.integer:
        return distributions.IntDistribution(int(low), int(high), log=domain.log, step=int(step or 1))
    return distributions.FloatDistribution(low, high, log=domain.log, step=step)


def optuna_to_config(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of Optuna's parameters, inactive names taken out, values rounded to their steps."""
    values = {
        name: domain.value_at(0.5) if isinstance(domain, Fixed) else _from_optuna(domain, params[name])
        for name, domain in space.domains.items()
    }
    return space.prune(space.nest(values))


def config_to_optuna(space: Space, config: Mapping[str, Any]) -> dict[str, Any]:
    """Optuna's parameters of a configuration; inactive names get the middle of their domain."""
    values = space.flatten(config)
    params = {}
    for name in space.free:
        domain = space.domains[name]
        value = values[name] if name in values else domain.value_at(0.5)
        is_place = isinstance(domain, Ordinal) and not domain.weights
        params[name] = domain.index(value) if is_place else _scalar(value)  # type: ignore[attr-defined]
    return params


def _from_optuna(domain: Domain, value: Any) -> Any:
    if isinstance(domain, Ordinal) and not domain.weights:
        return fresh(domain.values[int(value)])
    if isinstance(domain, Choice):
        return next(fresh(v) for token, v in _tokens(domain) if identity(token) == identity(value))
    return value if domain.contains(value) else domain.value_at(domain.to_unit(value))


def _scalar(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value
