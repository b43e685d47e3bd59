"""Caviar, then panda: many configurations tried a little, and the best of them raised anew with care.

One tree and one journal. The second stage begins when the first has ended, from a fresh model and the
configuration of its leader; its trials have numbers of their own, from PANDA on.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from raysearch.core.segment import Config, Mode, Outcome, Segment
from raysearch.core.values import with_plain_numbers
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.strategies.base import Abilities
from raysearch.strategies.caviar.search import CaviarSearch
from raysearch.strategies.caviar.settings import Caviar
from raysearch.strategies.panda.perturb import nudged_names
from raysearch.strategies.panda.settings import Panda, check_led
from raysearch.strategies.panda.single import LineSearch
from raysearch.strategies.samplers.transfer_settings import Transfer
from raysearch.strategies.seeding import fresh_seed

PANDA = 1 << 34  # number of the first trial of the second stage
SALT = 0x25AE


@dataclass(frozen=True)
class TwoStage:
    """The settings of caviar followed by panda; those of each mean what they mean there.

    Attributes:
        samples: how many configurations the first stage tries.
        max_iterations: how long a trial, and then the model, is trained at most.
        eta: of the trials at a rung the best 1/eta go on.
        min_iterations: the first rung, or "auto", as in `Caviar`.
        sampler: the name of one, as in `Caviar`.
        transfer: what is known already.
        budget: iterations of the second stage, probes included, are at most so many times max_iterations.
        nudge: the hyper-parameters that may change while the model trains; every real-valued one if None.
    """

    name: ClassVar[str] = "two_stage"

    samples: int
    max_iterations: int
    eta: int = 3
    min_iterations: int | Literal["auto"] | None = None
    sampler: str = "model"
    transfer: Transfer | None = None
    budget: float = 1.25
    nudge: Sequence[str] | None = None

    def __post_init__(self) -> None:
        with_plain_numbers(self)
        object.__setattr__(self, "transfer", self.first.transfer)
        _ = self.second

    @property
    def first(self) -> Caviar:
        """The first stage; its best is not trained again on fresh seeds, the second stage does that."""
        return Caviar(
            self.samples,
            self.max_iterations,
            self.eta,
            self.min_iterations,
            sampler=self.sampler,
            finish=None,
            transfer=self.transfer,
        )

    @property
    def second(self) -> Panda:
        """The second stage."""
        return Panda(self.max_iterations, nudge=self.nudge, budget=self.budget)

    def abilities(self) -> Abilities:
        """What both stages can do."""
        return Abilities(
            max_iterations=self.max_iterations,
            samples=self.samples,
            raises=1,
            sampler=self.sampler,
            needs_checkpoints=True,
            transfers=True,
            eta=self.eta,
            objectives=True,
            limits=True,
        )

    def extended(self, samples: int | None = None, max_iterations: int | None = None) -> TwoStage:
        """The same search made larger; a leader that changes is raised again."""
        wider = self.first.extended(samples, max_iterations)
        return replace(
            self,
            samples=wider.samples,
            max_iterations=wider.max_iterations,
            min_iterations=wider.min_iterations,
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
    ) -> TwoStageSearch:
        """The search at its beginning; trial 0 is the baseline if there is one.

        Args:
            objectives: the metric leads both stages, within the limits, which must bound the others.

        Raises:
            SpecError: a nudged name is not in the space, there is nothing to nudge, or an objective after
                the first has no limit.
        """
        nudged_names(space, self.nudge)
        check_led("two_stage", objectives)
        goals = Objectives({metric: mode}) if objectives is None else objectives.led()
        return TwoStageSearch(self, space, goals, seed, baseline)

    @classmethod
    def examples(cls) -> dict[str, TwoStage]:
        """A small recipe, for the suite of the contract."""
        return {"small": cls(samples=12, max_iterations=18)}


class TwoStageSearch:
    """A running two-stage search; see `raysearch.strategies.base` for its contract."""

    def __init__(
        self, recipe: TwoStage, space: Space, goals: Objectives, seed: int, baseline: Config | None
    ) -> None:
        self._recipe, self._space, self._goals, self._seed = recipe, space, goals, seed
        self._metric, self._mode = goals.leading, goals.modes[goals.leading]
        self._caviar = CaviarSearch(recipe.first, space, goals, seed, baseline)
        self._line: LineSearch | None = None
        self._leader: Config | None = None  # whom the line was begun from
        self._is_asked = False  # for the second stage; from then on it stands
        self._early: list[Outcome] = []  # of the second stage, told before it was asked for

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user, of the first stage and then of the second."""
        return (*self._caviar.notes, *(self._line.notes if self._line is not None else ()))

    def ask(self, free: int) -> list[Segment]:
        """At most `free` segments: of the first stage, and when that is over of the second."""
        segments = self._caviar.ask(free)
        self._begin_second()
        if self._line is not None and len(segments) < free:
            segments += self._line.ask(free - len(segments))
            self._is_asked, self._early = True, []
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Passes an outcome to its stage, and begins the second when the first has ended."""
        if outcome.segment.trial < PANDA:
            self._caviar.tell(outcome)
            self._begin_second()
            return
        if not self._is_asked:
            self._early.append(outcome)
        if self._line is not None:
            self._line.tell(outcome)

    @property
    def finished(self) -> bool:
        """True when both stages are over, or the first ended without a leader."""
        return self._caviar.finished and (self._line is None or self._line.finished)

    def kept(self) -> Set[int]:
        """What either stage may still need."""
        return set(self._caviar.kept()) | set(self._line.kept() if self._line is not None else ())

    def _begin_second(self) -> None:
        """Begins the second stage when the first has ended, from its leader if there is one.

        While a journal is replayed the first stage can seem to have ended before its last outcomes are told:
        until the second was asked for, it is begun anew from another leader.
        """
        if self._is_asked or not self._caviar.finished:
            return
        leader = self._caviar.leader
        if leader is None or (self._line is not None and leader == self._leader):
            return
        self._leader = leader
        self._line = LineSearch(
            *(self._recipe.second, self._space, self._metric, self._mode),
            *(fresh_seed(self._seed, SALT), leader),
            numbers=(PANDA, 1),
            why="the leader of the first stage",
        )
        if self._goals.limits:
            self._line.guard(self._goals)
        for outcome in self._early:
            self._line.tell(outcome)
        self._line.ask(0)  # which begins its story
