"""Panda: one model, or a few, raised with great care; nudged, watched, and put back when a nudge hurt.

How many models there are decides how it is done (`population`):
- one: fork, probe, commit (`line`);
- two to seven: lines that are raised side by side, the worst given up where the budget ends (`family`);
  an incumbent and its challengers (`challenge`) if `exploit` says so, or where a training is too short
  for forks: fewer than twelve intervals;
- eight and more: sub-populations that compare at frequencies of their own (`populations`).
`exploit: truncation` is population-based training as published (`truncation`), to compare with.

    strategy = Panda(max_iterations=600).start(space, metric="loss", mode="min", seed=1, baseline=config)
    while not strategy.finished:
        for segment in strategy.ask(free=2):
            strategy.tell(train(segment))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from raysearch.core.checks import check_number, check_whole
from raysearch.core.segment import Config, Mode
from raysearch.core.values import with_plain_numbers
from raysearch.errors import LocatedError, SpecError, unknown
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.strategies.base import Abilities, Strategy
from raysearch.strategies.cost import PopulationCost
from raysearch.strategies.panda.base_schedule import ScheduleShape, shape_setting
from raysearch.strategies.panda.challengers import ChallengeSearch
from raysearch.strategies.panda.interventions import RaisingSearch
from raysearch.strategies.panda.parallel_lines import FamilySearch
from raysearch.strategies.panda.perturb import nudged_names
from raysearch.strategies.panda.single import LineSearch
from raysearch.strategies.panda.subpopulations import PopulationSearch
from raysearch.strategies.panda.truncation import NAME as TRUNCATION
from raysearch.strategies.panda.truncation import Truncation, truncation_setting
from raysearch.strategies.panda.truncation_pbt import TruncationSearch

EXPLOITS = ("commit", "challenge", TRUNCATION)
SUGGESTIONS = ("nudge", "gp")
MANY = 8  # members from which on there are sub-populations
INTERVAL_LINE, INTERVAL_MEMBER = 0.025, 0.04  # of max_iterations
FEW_INTERVALS = 12  # in a training: there, members try nudges for whole intervals
PROBE = 0.2  # of the interval of one model


@dataclass(frozen=True)
class Panda:
    """The settings of a panda search.

    Attributes:
        max_iterations: how long the model is trained.
        population: how many models are trained at a time.
        nudge: the hyper-parameters that may change while a model trains; every real-valued one if None.
        interval: iterations from one decision to the next; 2.5% of max_iterations for one model, 4% for
            several if None (and shorter at the beginning).
        budget: of one model: iterations of all its segments, probes included, are at most so many times
            max_iterations; only after a spike or NaN may it be more. Several models take population times
            max_iterations.
        decay: the last part of the training, in which the learning rate falls to zero, or to the lower
            bound of its domain. There is none without a learning rate among the nudged.
        decay_steps: in how many steps it falls.
        factor: the first nudges multiply or divide a logarithmic hyper-parameter by it; later ones move less.
        z: standard errors that a gain must exceed.
        rho: a change that reduces gradient noise must also gain `rho` times what the control arm gains.
        lenience: a higher learning rate may lose this share of what the control arm gains.
        steady: cycles after which the steady one of three to seven members is compared with the line.
        base_schedule: "constant", "linear", "cosine" or {name: cosine, warmup: 0.05}: what the learnt
            learning rate is multiplied by.
        exploit: "commit"; "challenge" for an incumbent and challengers that train whole stretches, of two
            to seven models; or "truncation" for population-based training as published, whose settings may
            be given: {name: truncation, quantile: 0.25, resample: 0.25, factors: [1.2, 0.8], burn_in: 0}.
        suggest: how members of eight and more explore: "nudge", or "gp" for a Gaussian-process bandit.

    >>> space = raysearch.Space.from_dict({"lr": {"loguniform": [1e-4, 1.0]}})
    >>> panda = raysearch.Panda(max_iterations=600, base_schedule="cosine")
    >>> search = panda.start(space, metric="loss", mode="min", baseline={"lr": 0.01})
    >>> [(segment.start, segment.stop, segment.config) for segment in search.ask(free=1)]
    [(0, 1, {'lr': 0.0099...})]
    """

    name: ClassVar[str] = "panda"

    max_iterations: int
    population: int = 1
    nudge: Sequence[str] | None = None
    interval: int | None = None
    budget: float = 1.25
    decay: float = 0.15
    decay_steps: int = 16
    factor: float = 4.0
    z: float = 1.0
    rho: float = 3.0
    lenience: float = 0.7
    steady: int = 6
    base_schedule: str | Mapping[str, Any] | ScheduleShape = "constant"
    exploit: str | Mapping[str, Any] | Truncation = "commit"
    suggest: str = "nudge"
    shape: ScheduleShape = field(init=False, repr=False, compare=False)
    truncation: Truncation | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with_plain_numbers(self)
        for name, least in (("max_iterations", 2), ("population", 1), ("decay_steps", 1), ("steady", 1)):
            check_whole(name, getattr(self, name), least)
        if self.interval is not None:
            check_whole("interval", self.interval, 1)
        check_number("budget", self.budget, 1.0)
        check_number("decay", self.decay, 0.0, 0.9)
        check_number("factor", self.factor, 1.01, 1000.0)
        for name in ("z", "rho", "lenience"):
            check_number(name, getattr(self, name), 0.0)
        object.__setattr__(self, "truncation", truncation_setting(self.exploit))
        if isinstance(self.exploit, Mapping):
            object.__setattr__(self, "exploit", self.truncation)
        if self.truncation is None and self.exploit not in EXPLOITS:
            raise SpecError(unknown("exploit", str(self.exploit), EXPLOITS))
        if self.suggest not in SUGGESTIONS:
            raise SpecError(unknown("suggest", str(self.suggest), SUGGESTIONS))
        if self.truncation is not None and self.population < 2:
            raise SpecError("exploit: truncation copies one member to another: population must be at least 2")
        if self.exploit == "challenge" and not 2 <= self.population < MANY:
            raise SpecError(f"exploit: challenge needs a population of 2 to {MANY - 1}")
        if self.suggest == "gp" and (self.population < MANY or self.truncation is not None):
            raise SpecError(f"suggest: gp needs a population of {MANY} or more, and exploit: commit")
        if self.interval is not None and self.interval >= self.max_iterations:
            raise SpecError(
                f"interval = {self.interval} leaves no decision in max_iterations = {self.max_iterations}"
            )
        if self.truncation is not None and self.truncation.burn_in >= self.max_iterations:
            raise LocatedError(
                "exploit",
                f"burn_in = {self.truncation.burn_in} leaves no decision in max_iterations = "
                f"{self.max_iterations}",
            )
        if isinstance(self.nudge, str):
            object.__setattr__(self, "nudge", [self.nudge])
        if self.nudge is not None and not _are_texts(self.nudge):
            raise LocatedError("nudge", f"{self.nudge!r} is no list of hyper-parameters, such as [lr]")
        object.__setattr__(self, "shape", shape_setting(self.base_schedule))

    def abilities(self) -> Abilities:
        """What panda can do with these settings."""
        return Abilities(
            max_iterations=self.max_iterations,
            raises=self.population,
            population=self.population,
            needs_checkpoints=True,
            adopts=True,
            takes_orders=self.truncation is None,
            objectives=True,
            limits=True,
        )

    def cost(self, has_baseline: bool) -> PopulationCost:
        """The most that all models take."""
        return PopulationCost(self.max_iterations, self.iterations, self.population)

    @property
    def interval_iterations(self) -> int:
        """Iterations from one decision to the next, in the middle of a training."""
        is_line = self.exploit == "commit" and self.population < MANY
        share = INTERVAL_LINE if is_line else INTERVAL_MEMBER
        return self.interval or max(1, round(share * self.max_iterations))

    @property
    def probe_iterations(self) -> int:
        """Iterations of a probe of one model."""
        return max(1, round(PROBE * self.interval_iterations))

    @property
    def iterations(self) -> int:
        """The most iterations of all segments together, probes and losing arms included."""
        if self.population > 1:
            return self.population * self.max_iterations
        return math.ceil(self.budget * self.max_iterations)

    def extended(self, samples: int | None = None, max_iterations: int | None = None) -> Panda:
        """The same search with a longer training: decided as before up to where the decay began.

        Raises:
            SpecError: more samples are asked for.
        """
        if samples is not None:
            raise SpecError("panda has no samples; a longer training is --max-iterations")
        return replace(
            self, max_iterations=max_iterations or self.max_iterations, interval=self.interval_iterations
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
        """The search at its beginning, from the baseline, or from the middle of the space if there is none.

        Args:
            objectives: the metric leads; limits must bound the others. A nudge that breaks a limit, or is
                further beyond it than the arm that held its values, is rejected whatever it gains.

        Raises:
            SpecError: a nudged name is not in the space, there is nothing to nudge, or an objective after
                the first has no limit.
        """
        nudged_names(space, self.nudge)
        check_led("panda", objectives)
        search = self._search_class()(self, space, metric, mode, seed, baseline)
        if objectives is not None and objectives.limits:
            search.guard(objectives)
        return search

    @classmethod
    def examples(cls) -> dict[str, Panda]:
        """Small recipes of every kind, for the suite of the contract."""
        return {
            "one": cls(max_iterations=40, interval=5),
            "two": cls(max_iterations=24, population=2, interval=3),
            "four": cls(max_iterations=40, population=4, interval=3),
            "challenge": cls(max_iterations=36, population=4, interval=3, steady=3, exploit="challenge"),
            "intervals": cls(max_iterations=32, population=4, interval=8, decay=0.25, decay_steps=1),
            "eight": cls(max_iterations=24, population=8, interval=2),
            "gp": cls(max_iterations=24, population=8, interval=2, suggest="gp"),
            "truncation": cls(max_iterations=24, population=4, interval=3, exploit=TRUNCATION),
            "half": cls(
                max_iterations=24,
                population=5,
                interval=3,
                exploit=Truncation(0.5, resample=0.1, factors=(1.2, 0.8), burn_in=4),
            ),
        }

    def _search_class(self) -> type[RaisingSearch] | type[FamilySearch]:
        if self.truncation is not None:
            return TruncationSearch
        if self.population >= MANY:
            return PopulationSearch
        if self.population == 1:
            return LineSearch
        few = self.max_iterations < FEW_INTERVALS * self.interval_iterations
        return ChallengeSearch if few or self.exploit == "challenge" else FamilySearch


def check_led(strategy: str, objectives: Objectives | None) -> None:
    """Raises SpecError where an objective after the first would not count: no limit speaks of it."""
    if objectives is None or not (loose := objectives.unlimited()):
        return
    raise SpecError(
        f"strategy {strategy} improves the first objective, {objectives.leading}; the others count as far as "
        f"limits bound them: give limits for {', '.join(loose)}, such as '{loose[0]} <= 20', or take caviar, "
        "which finds the front of all"
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)
