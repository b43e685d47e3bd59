"""The settings of caviar, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from raysearch.core.checks import check_whole
from raysearch.core.segment import Config, Mode
from raysearch.core.values import with_plain_numbers
from raysearch.errors import SpecError, unknown
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.strategies.base import Abilities
from raysearch.strategies.caviar.brackets import bracket_shares
from raysearch.strategies.caviar.rungs import rung_levels
from raysearch.strategies.caviar.search import CaviarSearch
from raysearch.strategies.cost import RungCost, rung_steps
from raysearch.strategies.finish import DEFAULT_FINISH, Finish, finish_setting
from raysearch.strategies.samplers.base import Sampler, Source
from raysearch.strategies.samplers.factory import check_name
from raysearch.strategies.samplers.transfer_settings import Transfer, transfer_setting

VARIANTS = ("auto", "promotion", "stopping")


@dataclass(frozen=True)
class Caviar:
    """The settings of a caviar search.

    Attributes:
        samples: how many configurations are tried, the baseline included.
        max_iterations: how long a trial is trained at most, R.
        eta: of the trials at a rung the best 1/eta go on, each to eta times the iterations.
        min_iterations: the first rung; max(1, R/eta^4) if None. With "auto" the search begins there, and
            closes the first rung where it turns out to say nothing of the next (`first_rung`).
        brackets: how many halvings run side by side; number s starts at rung s. More than one helps only
            where early scores say little of late ones.
        variant: promotion needs checkpoints, stopping does not; with auto a launcher chooses, and
            `start` takes promotion.
        sampler: "model", "sobol", "random", or an object with `propose` and `observe`.
        transfer: what is known already: `portfolio`, `box`, `tasks`, `priors`; a launcher makes it of memory,
            known_good and priors.
        finish: how the best are trained again on fresh seeds beside the baseline; None for not at all.

    >>> raysearch.Caviar(samples=100, max_iterations=81).levels  # the rungs
    (1, 3, 9, 27, 81)
    >>> space = raysearch.Space.from_dict({"lr": {"uniform": [0.0, 1.0]}})
    >>> search = raysearch.Caviar(samples=100, max_iterations=81).start(space, metric="loss", mode="min")
    >>> first, second = search.ask(free=2)
    >>> first.start, first.stop, first.reason
    (0, 1, 'new trial from sampler model')
    """

    name: ClassVar[str] = "caviar"

    samples: int
    max_iterations: int
    eta: int = 3
    min_iterations: int | Literal["auto"] | None = None
    brackets: int = 1
    variant: Literal["auto", "promotion", "stopping"] = "auto"
    sampler: str | Sampler | Source = "model"
    finish: Finish | None = DEFAULT_FINISH
    transfer: Transfer | None = None

    def __post_init__(self) -> None:
        with_plain_numbers(self)
        for field in ("samples", "max_iterations", "eta", "brackets"):
            check_whole(field, getattr(self, field), 2 if field == "eta" else 1)
        if self.min_iterations == "auto":
            if self.brackets > 1:
                raise SpecError(
                    'min_iterations = "auto" needs brackets = 1: brackets begin at rungs of their own'
                )
        elif isinstance(self.min_iterations, str):
            raise SpecError(f'min_iterations = {self.min_iterations!r} must be a whole number or "auto"')
        elif self.min_iterations is not None:
            check_whole("min_iterations", self.min_iterations, 1)
        if self.variant not in VARIANTS:
            raise SpecError(unknown("variant", self.variant, VARIANTS))
        if isinstance(self.sampler, str):
            check_name(self.sampler)
        if self.brackets > len(self.levels):
            raise SpecError(
                f"brackets = {self.brackets} but there are only {len(self.levels)} rungs: {self.levels}"
            )
        object.__setattr__(self, "finish", finish_setting(self.finish))
        object.__setattr__(self, "transfer", transfer_setting(self.transfer))

    @property
    def levels(self) -> tuple[int, ...]:
        """The rungs, in iterations; the last is max_iterations."""
        first = self.min_iterations
        usual = max(1.0, self.max_iterations / self.eta**4)
        lowest = usual if first is None or first == "auto" else float(first)
        return rung_levels(lowest, self.max_iterations, self.eta)

    def abilities(self) -> Abilities:
        """What caviar can do with these settings."""
        return Abilities(
            max_iterations=self.max_iterations,
            samples=self.samples,
            variant=self.variant,
            sampler=self.sampler,
            transfers=True,
            enqueues=True,
            closes=True,
            eta=self.eta,
            objectives=True,
            limits=True,
        )

    def cost(self, has_baseline: bool) -> RungCost:
        """The trainings of every rung, and of the finish."""
        finish, shares = self.finish, bracket_shares(len(self.levels), self.brackets, self.eta)
        return RungCost(
            samples=self.samples,
            horizon=self.max_iterations,
            eta=self.eta,
            steps=rung_steps(self.levels, self.samples, self.eta, shares),
            finals=(min(finish.top, self.samples) + has_baseline) * finish.seeds if finish else 0,
            brackets=self.brackets,
        )

    def extended(self, samples: int | None = None, max_iterations: int | None = None) -> Caviar:
        """The same search made larger, with the first rung where it was, so that old scores count."""
        larger = replace(
            self, samples=samples or self.samples, max_iterations=max_iterations or self.max_iterations
        )
        if self.min_iterations == "auto" and larger.levels[0] == self.levels[0]:
            return larger
        return replace(larger, min_iterations=self.levels[0])

    def start(
        self,
        space: Space,
        *,
        metric: str,
        mode: Mode,
        seed: int = 0,
        baseline: Config | None = None,
        objectives: Objectives | None = None,
    ) -> CaviarSearch:
        """The search at its beginning; trial 0 is the baseline if there is one.

        Args:
            objectives: what is compared, where that is more than the metric: rungs and podium then go by
                limits, fronts and spread (`fronts`), and the sampler learns every objective.

        Raises:
            SpecError: the sampler takes one score, and there are several objectives or limits.
        """
        return CaviarSearch(self, space, objectives or Objectives({metric: mode}), seed, baseline)
