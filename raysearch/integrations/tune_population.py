"""Ray Tune's population-based schedulers as panda: how long, how many, and what is changed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ray import tune

from raysearch.core.nested import leaves
from raysearch.errors import SpecError
from raysearch.interop.read_space import read_space
from raysearch.space.domains import Domain, Ordinal
from raysearch.strategies.panda.truncation import Truncation

Path = tuple[str, ...]  # the groups around a hyper-parameter, and its own name
DRAWS = 1000  # of a function in place of a domain
MOST_VALUES = 20  # that a function may give to count as a choice among them
BANDIT_FROM = 8  # models
QUANTILE = 0.25  # Ray's own


@dataclass
class Population:
    """What a population-based scheduler comes to.

    Attributes:
        strategy: panda's settings.
        domains: where it stands -> domain, of what is changed.
        baseline: where the first model begins; None for the middle of the space.
        notes: what is not as Ray has it, in words.
    """

    strategy: Any = None
    domains: dict[Path, Any] = field(default_factory=dict)
    baseline: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


def population_of(
    kind: str, known: Mapping[str, Any], samples: int, length: int | None, space: Mapping[str, Any]
) -> Population:
    """Panda in place of PopulationBasedTraining or PB2.

    Args:
        kind: the scheduler's name.
        known: what it was made with.
        samples: how many models there are.
        length: iterations that each trains.
        space: the `param_space`.

    Raises:
        SpecError: it does not say how long models train, or how something may be changed.
    """
    import raysearch

    if length is None:
        raise SpecError(
            f"RunConfig.stop: {kind} needs stop={{'training_iteration': N}}: how long its models train"
        )
    bounds = known.get("hyperparam_bounds")
    mutations = bounds or known.get("hyperparam_mutations") or {}
    found = Population()
    for path, value in leaves(mutations):
        place = "".join(f"[{name!r}]" for name in path)
        found.domains[path] = _domain(f"{kind}.hyperparam_mutations{place}", value, bounds, found.notes)
    _begin(found, space)
    interval, burn_in = _lengths(kind, known, length)
    how = _how(kind, known, samples, burn_in, found.notes)
    found.strategy = raysearch.Panda(
        length,
        population=samples,
        nudge=[".".join(path) for path in found.domains] or None,
        interval=interval,
        **how,
    )
    return found


def _lengths(kind: str, known: Mapping[str, Any], length: int) -> tuple[int, int]:
    """Iterations between decisions, and before the first one; Ray takes broken numbers too."""
    interval = math.ceil(known["perturbation_interval"])
    burn_in = math.ceil(known.get("burn_in_period") or 0)
    for setting, iterations in (("perturbation_interval", interval), ("burn_in_period", burn_in)):
        if iterations >= length:
            raise SpecError(
                f"{kind}.{setting}: {iterations} leaves no decision in {length} iterations: give less"
            )
    return interval, burn_in


def _how(kind: str, known: Mapping[str, Any], samples: int, burn_in: int, notes: list[str]) -> dict[str, Any]:
    """Which of panda's ways it is, by the number of models."""
    is_bandit = known.get("hyperparam_bounds") is not None
    if samples == 1:
        notes.append(f"{kind} with num_samples=1: one model is nudged, probed and put back (panda)")
    if not is_bandit or samples < BANDIT_FROM:
        if is_bandit:
            notes.append(
                f"PB2 with fewer than {BANDIT_FROM} models: values are perturbed, no bandit proposes them"
            )
        return {"exploit": _truncation(known, burn_in) if samples > 1 else "commit"}
    if (quantile := known["quantile_fraction"]) != QUANTILE:
        raise SpecError(
            f"PB2.quantile_fraction={quantile!r} has no counterpart: of {BANDIT_FROM} models and more "
            "those of a group of four are compared; leave it out"
        )
    return {"suggest": "gp"}


def _truncation(known: Mapping[str, Any], burn_in: int) -> Truncation:
    """Selection and exploration with Ray's own numbers."""
    factors = known.get("perturbation_factors")
    return Truncation(
        quantile=float(known["quantile_fraction"]),
        resample=float(known["resample_probability"]),
        factors=[float(factor) for factor in factors] if factors else None,
        burn_in=burn_in,
        drawn=True,
    )


def _begin(found: Population, space: Mapping[str, Any]) -> None:
    """Where models begin: Ray takes the values of `param_space`, panda the domains of what it changes."""
    outside = {path: value for path, value in leaves(space) if path not in found.domains}
    given = {path: value for path, value in leaves(space) if path in found.domains}
    fixed = {path: value for path, value in given.items() if not _is_domain(value)}
    for path, value in given.items():
        if path not in fixed and not _alike(value, found.domains[path]):
            place = "".join(f"[{name!r}]" for name in path)
            found.notes.append(
                f"param_space{place}: models begin with values of its mutations' domain, not of this one"
            )
    if not fixed:
        return
    groups = {path[0] for path in found.domains}
    can_be = len(fixed) == len(found.domains) and not any(map(_is_domain, outside.values()))
    begin = {name: value for name, value in space.items() if name in groups}
    if can_be and read_space(placed(begin, found.domains))[0].why_not(begin) is None:
        found.baseline = begin
    first = "the first model begins there, the others" if found.baseline is not None else "models"
    shown = ", ".join(f"{'.'.join(path)}={value!r}" for path, value in fixed.items())
    found.notes.append(f"param_space: {shown}: {first} begin with values drawn from the mutations' domains")


def placed(space: Mapping[str, Any], values: Mapping[Path, Any]) -> dict[str, Any]:
    """The space with these values where they stand.

    >>> placed({"optim": {"lr": 0.1, "name": "sgd"}}, {("optim", "lr"): 0.2})
    {'optim': {'lr': 0.2, 'name': 'sgd'}}
    """
    found = dict(space)
    for (name, *rest), value in values.items():
        inner = found.get(name)
        group = inner if isinstance(inner, Mapping) else {}
        found[name] = placed(group, {tuple(rest): value}) if rest else value
    return found


def _domain(place: str, value: Any, bounds: Any, notes: list[str]) -> Any:
    """The domain of what a population changes."""
    if bounds is not None:
        low, high = value
        return tune.uniform(low, high)
    if isinstance(value, (list, tuple)):
        return Ordinal([*value])  # a value moves to the one before or after it
    if isinstance(value, tune.search.sample.Categorical) and _multiplies(value.categories):
        notes.append(
            f"{place}: a value of tune.choice becomes another one of the choices; Ray multiplies numbers "
            "by a perturbation factor"
        )
    if isinstance(value, Callable):  # type: ignore[arg-type]
        return _seen(place, value, notes)
    return value


def _seen(place: str, draw: Callable[[], Any], notes: list[str]) -> Any:
    """The domain in which the values of a function lie; what it is taken for goes into `notes`."""
    values = _drawn(draw)
    distinct = sorted(set(values), key=repr)
    numbers = all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in values)
    if len(distinct) <= MOST_VALUES or not numbers:
        if len(distinct) > MOST_VALUES:
            raise SpecError(f"{place}: a function that gives {values[0]!r} and the like; give a domain")
        notes.append(f"{place}: the function gave {distinct!r}; these are the choices")
        return tune.choice([getattr(v, "item", lambda v=v: v)() for v in distinct])
    low, high = float(min(values)), float(max(values))
    if all(v == int(v) for v in values):
        notes.append(f"{place}: the function gave whole numbers from {low:g} to {high:g}; these are searched")
        return tune.randint(int(low), int(high) + 1)
    middle = float(np.median(values))
    is_log = low > 0 and abs(middle - (low * high) ** 0.5) < abs(middle - (low + high) / 2)
    kind = "loguniform" if is_log else "uniform"
    notes.append(
        f"{place}: a function has no bounds; {DRAWS:,} values of it lay between {low:.3g} and {high:.3g}, "
        f"which are searched: give tune.{kind}({low:.3g}, {high:.3g}) or what it is"
    )
    return (tune.loguniform if is_log else tune.uniform)(low, high)


def _drawn(draw: Callable[[], Any]) -> list[Any]:
    """Values of a function; the random generators are left as they were."""
    python, of_numpy = random.getstate(), np.random.get_state()
    try:
        random.seed(0)
        np.random.seed(0)
        return [draw() for _ in range(DRAWS)]
    finally:
        random.setstate(python)
        np.random.set_state(of_numpy)


def _multiplies(values: Sequence[Any]) -> bool:
    return any(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _is_domain(value: Any) -> bool:
    return isinstance(value, (tune.search.sample.Domain, Domain))


def _alike(one: Any, other: Any) -> bool:
    """Whether models begin alike in both: two of Ray's domains are the same, or have the same choices."""
    if isinstance(other, Ordinal):
        return list(getattr(one, "categories", ())) == list(other.values)
    return (type(one), str(one.domain_str), type(one.sampler)) == (
        type(other),
        str(getattr(other, "domain_str", "")),
        type(getattr(other, "sampler", None)),
    )
