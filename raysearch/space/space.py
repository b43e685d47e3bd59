"""A search space: named domains, when each is there, and what they must meet together.

    space = Space.from_dict({"lr": {"loguniform": [1e-4, 1.0]}, "layers": {"randint": [1, 5]}})
    space.sample(seed=1, i=0)              # {'lr': 0.0024..., 'layers': 4}
    space.decode_many(space.sobol_units(seed=1, i=0, n=64))

Strategies see the unit cube `[0, 1]^dimension`, one axis for each name that is not fixed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.core.segment import Config
from raysearch.core.values import show
from raysearch.errors import SpecError, located, prefixed
from raysearch.space import parsing, unit_cube
from raysearch.space.conditions import Condition
from raysearch.space.constraints import Constraint, meets
from raysearch.space.decoding import Decoding
from raysearch.space.domains import (
    Domain,
    Fixed,
    Units,
)
from raysearch.space.grouping import Groups
from raysearch.space.membership import misfit
from raysearch.space.names import RESERVED, dotted
from raysearch.space.validation import activation_order, check_names, grouped

ATTEMPTS = 1000  # at a configuration that meets the constraints, before the space counts as empty
PROBES = 61  # random points at which a constraint is computed to see whether it makes sense


@dataclass(frozen=True)
class Space:
    """Domains by flat name, in order; names of a group's members are `group/member`.

    Attributes:
        domains: what each name may be.
        conditions: when a name is active; a name without one always is.
        constraints: expressions that every configuration meets; text is accepted.
        names: all names, in order.
        free: names of the axes of the unit cube: all that are not fixed.
        dimension: how many axes there are.

    >>> space = raysearch.Space.from_dict({
    ...     "lr": {"loguniform": [1e-4, 1.0]},
    ...     "optimizer": {"choice": ["sgd", "adamw"]},
    ...     "beta2": {"uniform": [0.9, 0.999], "when": {"optimizer": "adamw"}},
    ... })
    >>> space.decode([0.5, 0.0, 0.0])
    {'lr': 0.0100..., 'optimizer': 'sgd'}
    >>> space.why_not({"lr": 2.0, "optimizer": "sgd"})
    'lr = 2.0 is outside [1e-4, 1.0]'
    >>> space.sample(seed=1, i=0) == space.sample(seed=1, i=0)  # a function of seed and i alone
    True
    """

    domains: Mapping[str, Domain] = field(compare=False)
    conditions: Mapping[str, Condition] = field(default_factory=dict, compare=False)
    constraints: Sequence[Constraint] = field(default=(), compare=False)
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    free: tuple[str, ...] = field(init=False, repr=False, compare=False)
    dimension: int = field(init=False, repr=False, compare=False)
    _groups: Groups = field(init=False, repr=False, compare=False)
    _decoding: Decoding = field(init=False, repr=False, compare=False)
    _signature: str = field(init=False, repr=False)  # the YAML form, by which spaces are equal

    def __post_init__(self) -> None:
        """Raises LocatedError for names, conditions and constraints that make no sense together."""
        _set(self, domains=dict(self.domains), conditions=dict(self.conditions))
        _set(
            self,
            constraints=tuple(c if isinstance(c, Constraint) else Constraint(c) for c in self.constraints),
        )
        check_names(self.domains)
        _set(self, constraints=tuple(c.resolved(self.domains) for c in self.constraints))
        _set(self, domains={name: self.domains[name] for name in grouped(self.domains)})
        free = tuple(n for n, d in self.domains.items() if not isinstance(d, Fixed))
        _set(self, names=tuple(self.domains), free=free, dimension=len(free))
        order = activation_order(self.domains, self.conditions)
        _set(self, _groups=Groups.of(self.domains))
        _set(self, _decoding=Decoding(self.domains, free, self.conditions, order))
        _check_constraints(self)
        _set(self, _signature=json.dumps(self.to_dict()))

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], place: str = "space") -> Space:
        """The space in its YAML form (see `parsing`); domains may stand in it as objects.

        Raises:
            LocatedError: with the dotted path of what is wrong, below `place`.
        """
        parts = parsing.parse(form, place)
        with prefixed(place):
            return cls(parts.domains, parts.conditions, parts.constraints)

    def to_dict(self) -> dict[str, Any]:
        """The YAML form, of plain values; `from_dict` gives an equal space back."""
        parts = parsing.Parts(dict(self.domains), dict(self.conditions), list(self.constraints))
        return parsing.write(parts)

    # Points of the unit cube.

    def random_units(self, seed: int, i: int, n: int) -> Units:
        """Uniform points, shape (n, dimension); row k is a function of (seed, i+k) alone."""
        return unit_cube.random_rows(seed, i, n, self.dimension)

    def sobol_units(self, seed: int, i: int, n: int) -> Units:
        """Points i .. i+n-1 of the scrambled Sobol sequence of `seed`, shape (n, dimension)."""
        return unit_cube.sobol_rows(seed, i, n, self.dimension)

    # Points to configurations and back.

    def decode(self, unit: Units | Sequence[float]) -> dict[str, Any]:
        """The configuration at a point: active names only, fixed values included, groups nested."""
        return self.nest(self._decoding.one(unit))

    def decode_many(self, points: Units) -> list[dict[str, Any]]:
        """The configurations at points of shape (n, dimension). Constraints are not looked at."""
        flat = self._decoding.many(points)
        return [self.nest(values) for values in flat] if self._groups.nested else flat

    def prune(self, config: Config) -> dict[str, Any]:
        """A configuration without the names that are inactive in it; for values from elsewhere."""
        values = self.flatten(config)
        self._decoding.prune(values)
        return self.nest(values)

    def encode(self, config: Config) -> Units:
        """The point of a configuration, shape (dimension,); 0.5 on the axes of inactive names.

        Raises:
            SpecError: saying which value does not fit. Constraints are not looked at.
        """
        values = self.flatten(config)
        if (why := misfit(values, self.domains, self.conditions)) is not None:
            raise SpecError(why)
        return np.array([self.domains[n].to_unit(values[n]) if n in values else 0.5 for n in self.free])

    def encode_many(self, configs: Iterable[Config]) -> Units:
        """The points of configurations, shape (n, dimension). Raises SpecError like `encode`."""
        return np.array([self.encode(c) for c in configs]).reshape(-1, self.dimension)

    # Membership.

    def why_not(self, config: Config) -> str | None:
        """Why a configuration is not in the space: `lr = 2.0 is outside [1e-4, 1.0]`; None if it is."""
        values = self.flatten(config)
        if (why := misfit(values, self.domains, self.conditions)) is not None:
            return why
        broken = next((c for c in self.constraints if not c.holds(values)), None)
        if broken is None:
            return None
        shown = ", ".join(f"{dotted(n)} = {show(values[n])}" for n in sorted(broken.names))
        return f"constraint {broken.text!r} is not met by {shown}"

    def allows(self, config: Config) -> bool:
        """Whether a configuration is in the space, constraints included."""
        return self.why_not(config) is None

    def satisfies(self, config: Config) -> bool:
        """Whether the constraints hold, for a configuration whose values are known to fit."""
        values = self.flatten(config) if self.constraints and self._groups.nested else config
        return meets(self.constraints, values)

    def flatten(self, config: Config) -> dict[str, Any]:
        """Values by flat name. Entries that the space does not know keep their path as a name."""
        return self._groups.flatten(config)

    def nest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration, groups nested, for values by flat name."""
        return self._groups.nest(values)

    # Samples.

    def sample(self, seed: int, i: int) -> dict[str, Any]:
        """The i-th random configuration, a function of (seed, i); it meets the constraints.

        Raises:
            SpecError: if 1000 attempts all break a constraint.
        """
        values = self._decoding.one(unit_cube.random_rows(seed, i, 1, self.dimension)[0])
        return self.nest(values) if meets(self.constraints, values) else self._redrawn(seed, i)

    def sample_many(self, seed: int, i: int, n: int) -> list[dict[str, Any]]:
        """The random configurations i .. i+n-1, as `sample` gives them."""
        flat = self._decoding.many(self.random_units(seed, i, n))
        return [
            self.nest(values) if meets(self.constraints, values) else self._redrawn(seed, i + k)
            for k, values in enumerate(flat)
        ]

    def _redrawn(self, seed: int, i: int) -> dict[str, Any]:
        """Sample i when the point drawn first breaks a constraint."""
        first = 1
        while first < ATTEMPTS:
            count = min(4 * first, ATTEMPTS - first)
            points = np.concatenate(
                [unit_cube.random_rows(seed, i, 1, self.dimension, first + a) for a in range(count)]
            )
            for values in self._decoding.many(points):
                if meets(self.constraints, values):
                    return self.nest(values)
            first += count
        texts = "; ".join(c.text for c in self.constraints)
        raise SpecError(
            f"the constraints leave next to nothing: {ATTEMPTS} samples all broke one of: {texts}; "
            "loosen them, or narrow the domains to where they hold"
        )

    # The axes, for models.

    @property
    def is_categorical(self) -> NDArray[np.bool_]:
        """Which axes have values without an order, shape (dimension,)."""
        return np.array([self.domains[n].is_categorical for n in self.free], dtype=bool)

    def describe(self) -> list[tuple[str, str]]:
        """(name, domain in words) of every hyper-parameter, for tables."""
        return [(dotted(n), d.describe()) for n, d in self.domains.items()]


def _set(space: Space, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(space, name, value)


def _check_constraints(space: Space) -> None:
    """Raises LocatedError for constraints with unknown names, or that cannot be computed."""
    ends = np.array([[0.0], [0.5], [1.0]]).repeat(space.dimension, axis=1)
    probes = np.concatenate([ends, space.random_units(0, 0, PROBES)])
    with located(RESERVED):
        for constraint in space.constraints:
            constraint.check_names(space.domains)
            for values in space._decoding.many(probes):
                constraint.holds(values)
