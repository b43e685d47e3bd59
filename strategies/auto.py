"""Auto: the strategy is chosen when the search is launched, by what was measured (see `planning`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from raysearch.core.segment import Config, Mode
from raysearch.errors import SpecError
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.strategies.advice import advise
from raysearch.strategies.base import Abilities, Strategy, started
from raysearch.strategies.caviar.settings import Caviar
from raysearch.strategies.situation import Situation


@dataclass(frozen=True)
class Auto:
    """The settings of a strategy that is still to be chosen.

    Attributes:
        max_iterations: how long a training is at most.
        hours: until the model is needed; the spec's budget if None.
        gpu_hours: of all workers together; the spec's budget if None.
        eta: of the trials at a rung the best 1/eta go on, if there are rungs.
    """

    name: ClassVar[str] = "auto"

    max_iterations: int
    hours: float | None = None
    gpu_hours: float | None = None
    eta: int = 3

    def __post_init__(self) -> None:
        Caviar(1, self.max_iterations, self.eta)
        for field in ("hours", "gpu_hours"):
            value = getattr(self, field)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (is_number and value > 0):
                raise SpecError(f"{field} = {value!r} must be a number above 0")

    def abilities(self) -> Abilities:
        """What is known before the strategy is chosen."""
        return Abilities(
            max_iterations=self.max_iterations,
            eta=self.eta,
            hours=self.hours,
            gpu_hours=self.gpu_hours,
            objectives=True,
            limits=True,
        )

    def start(
        self,
        space: Space,
        *,
        metric: str,
        mode: Mode,
        seed: int = 0,
        baseline: Config | None = None,
        objectives: Objectives | None = None,
    ) -> Strategy:
        """A search as for a training of which nothing was measured: four workers, time for 40 trainings.

        `launch` chooses before it starts; this is for those that start a recipe themselves.
        """
        situation = Situation(self.max_iterations, 1.0, 4, hours=10 * self.max_iterations / 3600)
        recipe: Any = advise(situation, self.eta).recipe(self.max_iterations)
        return started(recipe, space, objectives or Objectives({metric: mode}), seed, baseline)

    @classmethod
    def examples(cls) -> dict[str, Auto]:
        """A small recipe, for the suite of the contract."""
        return {"small": cls(max_iterations=9)}
