"""Population-based training as published, to compare with: truncation selection, perturb or resample.

Jaderberg et al. 2017, arXiv:1711.09846, section 4.1 and appendix A. Members are compared at equal
iterations, though; the choice of the donor is seeded, values stay in their domains, and those that are
whole numbers move.
"""

from __future__ import annotations

from raysearch.core.segment import Config
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.subpopulations import Member, PopulationSearch, _loss
from raysearch.strategies.seeding import fresh_seed

QUANTILE = 0.25
RESAMPLE_ONE_IN = 4
FACTOR = 1.25  # published: 1.2 and 0.8, whose product drifts down


class TruncationSearch(PopulationSearch):
    """A running PBT; see `raysearch.strategies.base` for its contract."""

    decays = False

    def compare(self) -> None:
        """Every one of the bottom quarter takes the weights and values of one of the top quarter."""
        ranked = sorted(self.members, key=_loss)
        count = max(1, int(QUANTILE * len(ranked)))
        for loser in ranked[-count:]:
            donor = ranked[fresh_seed(self.seed, 6, self.moment, loser.number) % count]
            if donor is not loser:
                self._exploit(loser, donor, ranked.index(loser) + 1)

    def explored(self, config: Config, number: int) -> Config:
        """The donor's values: each drawn anew one time in four, else perturbed up or down."""
        for k, axis in enumerate(self.axes.every):
            draw = fresh_seed(self.seed, 7, self.moment, number, k)
            if draw % RESAMPLE_ONE_IN == 0:
                drawn = self.space.flatten(self.space.sample(self.seed, 1000 + self.moment * 64 + number))
                value = drawn.get(axis.name)
                changed = None if value is None else perturb.with_value(self.space, config, axis.name, value)
            else:
                direction = 1 if draw // RESAMPLE_ONE_IN % 2 else -1
                changed = perturb.moved(self.space, config, axis.name, direction, FACTOR)
            config = config if changed is None else changed
        return config

    def _exploit(self, loser: Member, donor: Member, rank: int) -> None:
        words = f"rank {rank} of {len(self.members)} copies {donor.name}"
        self._copy(loser, donor, words)
