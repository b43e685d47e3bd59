"""Population-based training as published, to compare with: truncation selection, perturb or resample.

Jaderberg et al. 2017, arXiv:1711.09846, section 4.1 and appendix A. Members are compared at equal
iterations, though; the choice of the donor is seeded, values stay in their domains, and those that are
whole numbers move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from raysearch.core.checks import check_number, check_whole
from raysearch.core.segment import Config, Event, Mode
from raysearch.errors import LocatedError, SpecError, located, unknown
from raysearch.space.space import Space
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.subpopulations import Member, PopulationSearch, _loss
from raysearch.strategies.rounds import Why
from raysearch.strategies.seeding import fresh_seed

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

NAME = "truncation"
FACTOR = 1.25  # published: 1.2 and 0.8, whose product drifts down
PARTS = 4  # of a draw: the first says how likely it is, what is left which way
FINE = 1 << 20


@dataclass(frozen=True)
class Truncation:
    """How population-based training selects and explores.

    Attributes:
        quantile: this share of the members copies members of the same share at the top; rounded up, and half
            of the members at most.
        resample: probability that a copied value is drawn anew from its domain.
        factors: by one of them each other copied value is multiplied (1.2 and 0.8 were published). None: it
            moves up or down by 1.25 on the scale of its domain.
        burn_in: iterations before the first comparison, where that is later than an interval's end.
        drawn: every member begins with a configuration of its own, the first one too where there is no
            baseline; False: with its own values of nudged hyper-parameters, the first one as it is.
    """

    quantile: float = 0.25
    resample: float = 0.25
    factors: Sequence[float] | None = None
    burn_in: int = 0
    drawn: bool = False

    def __post_init__(self) -> None:
        with located("exploit"):
            check_number("quantile", self.quantile, 0.0, 0.5)
            check_number("resample", self.resample, 0.0, 1.0)
            check_whole("burn_in", self.burn_in, 0)
            if not isinstance(self.drawn, bool):
                raise SpecError(f"drawn = {self.drawn!r} must be true or false")
            if self.factors is None:
                return
            if not isinstance(self.factors, (list, tuple)) or not self.factors:
                raise SpecError(f"factors = {self.factors!r} must be a list of numbers, such as [1.2, 0.8]")
            for factor in self.factors:
                check_number("factors", factor, 0.001, 1000.0)
            object.__setattr__(self, "factors", tuple(self.factors))

    def copied(self, members: int) -> int:
        """How many of the members copy others at a comparison.

        >>> [Truncation(0.25).copied(members) for members in (2, 4, 6, 8)]
        [1, 1, 2, 2]
        """
        return min(math.ceil(self.quantile * members - 1e-9), members // 2)


def truncation_setting(exploit: Any) -> Truncation | None:
    """What stands under `exploit:`, where it is truncation: its name, or {name: truncation, quantile: 0.2}.

    Returns:
        None where it is a name of something else.

    Raises:
        SpecError: an unknown field, or a wrong value.
    """
    if isinstance(exploit, Truncation):
        return exploit
    if not isinstance(exploit, Mapping):
        return Truncation() if exploit == NAME else None
    given, known = dict(exploit), ("name", *(field.name for field in fields(Truncation)))
    if (name := given.pop("name", NAME)) != NAME:
        raise LocatedError("exploit", f"{name!r} has no settings; write exploit: {name}")
    for field in given:
        if field not in known:
            raise LocatedError("exploit", unknown("field", str(field), known))
    return Truncation(**given)


class TruncationSearch(PopulationSearch):
    """A running PBT; see `raysearch.strategies.base` for its contract."""

    decays = False

    def __init__(
        self, recipe: Panda, space: Space, metric: str, mode: Mode, seed: int, baseline: Config | None
    ) -> None:
        super().__init__(recipe, space, metric, mode, seed, baseline)
        if self.how.drawn and baseline is None:
            self.learned, self.why = space.sample(seed, 0), Why(Event.START, "member 0: drawn")

    @property
    def how(self) -> Truncation:
        """How it selects and explores."""
        assert self.recipe.truncation is not None
        return self.recipe.truncation

    def compare(self) -> None:
        """Every one of the lowest quantile takes the weights and values of one of the highest."""
        ranked = sorted(self.members, key=_loss)
        count = self.how.copied(len(ranked))
        for loser in ranked[len(ranked) - count :]:
            donor = ranked[fresh_seed(self.seed, 6, self.moment, loser.number) % count]
            if donor is not loser:
                self._exploit(loser, donor, ranked.index(loser) + 1)

    def explored(self, config: Config, number: int) -> Config:
        """The donor's values, each drawn anew or perturbed."""
        for k, axis in enumerate(self.axes.every):
            draw = fresh_seed(self.seed, 7, self.moment, number, k)
            if _share(draw) < self.how.resample:
                drawn = self.space.flatten(self.space.sample(self.seed, 1000 + self.moment * 64 + number))
                value = drawn.get(axis.name)
                changed = None if value is None else perturb.with_value(self.space, config, axis.name, value)
            else:
                changed = self._perturbed(config, axis.name, draw // PARTS)
            config = config if changed is None else changed
        return config

    def _perturbed(self, config: Config, name: str, draw: int) -> Config | None:
        factors, direction = self.how.factors, 1 if draw % 2 else -1
        if factors is None:
            return perturb.moved(self.space, config, name, direction, FACTOR)
        return perturb.multiplied(self.space, config, name, factors[draw % len(factors)], direction)

    def _spread(self, config: Config, number: int) -> Config:
        is_free = self.how.drawn and self.at == 0  # an adopted model fits its own configuration only
        return self.space.sample(self.seed, number) if is_free else super()._spread(config, number)

    def _length(self, in_decay: bool) -> int:
        return max(super()._length(in_decay), self.how.burn_in - self.at)

    def _exploit(self, loser: Member, donor: Member, rank: int) -> None:
        words = f"rank {rank} of {len(self.members)} copies {donor.name}"
        self._copy(loser, donor, words)


def _share(draw: int) -> float:
    """A number of the draw, uniform from 0 to below 1, that leaves `draw // PARTS % 2` independent."""
    return (draw % PARTS + draw // (2 * PARTS) % FINE / FINE) / PARTS
