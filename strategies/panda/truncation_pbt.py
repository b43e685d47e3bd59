"""Population-based training as published, to compare with: truncation selection, perturb or resample.

Jaderberg et al. 2017, arXiv:1711.09846, section 4.1 and appendix A. Members are compared at equal
iterations, though; the choice of the donor is seeded, values stay in their domains, and those that are
whole numbers move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config, Event, Mode
from raysearch.space.space import Space
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.subpopulations import Member, PopulationSearch, _loss
from raysearch.strategies.panda.truncation import Truncation
from raysearch.strategies.rounds import Why
from raysearch.strategies.seeding import fresh_seed

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

FACTOR = 1.25  # published: 1.2 and 0.8, whose product drifts down
PARTS = 4  # of a draw: the first says how likely it is, what is left which way
FINE = 1 << 20


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

    def _perturbed(self, config: Config, name: str, draw: int) -> dict[str, Any] | None:
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
