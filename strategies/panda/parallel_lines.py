"""A few models, from two to seven: lines that are raised side by side, each by fork, probe and commit.

They differ in the order of their examples, and in their first weights. Forks cost a fifth of a line, so
that a population of four pays for three lines and the first third of a fourth: when all have come that
far, the worst is given up. Nobody copies another: measured, short probes in lines of their own beat
challengers that train whole stretches (`challenge`), and what a line reached is never lost to a copy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config, Mode, Outcome, Role, Segment, segment_name
from raysearch.errors import SpecError
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.strategies.panda.interventions import ordered_segment
from raysearch.strategies.panda.single import LineSearch
from raysearch.strategies.seeding import fresh_seed

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

LINE_BUDGET = 1.2  # max_iterations that a line takes, its probes included
LEAST_SHARE = 0.1  # of a line that is worth beginning


@dataclass(frozen=True)
class Shares:
    """How many lines a population pays for: `whole` ones, and one up to iteration `gate` (0: none)."""

    whole: int
    gate: int


def shares_of(population: int, max_iterations: int) -> Shares:
    """The lines that `population * max_iterations` iterations pay for."""
    whole = int(population / LINE_BUDGET)
    left = (population - whole * LINE_BUDGET) / LINE_BUDGET
    return Shares(whole, int(left * max_iterations) if left >= LEAST_SHARE else 0)


class FamilySearch:
    """A running panda of a few lines; see `raysearch.strategies.base` for its contract."""

    def __init__(
        self, recipe: Panda, space: Space, metric: str, mode: Mode, seed: int, baseline: Config | None
    ) -> None:
        shares = shares_of(recipe.population, recipe.max_iterations)
        count = shares.whole + (shares.gate > 0)
        self._gate = shares.gate if count > 1 else 0
        one = replace(recipe, population=1, budget=LINE_BUDGET)
        self.lines = [
            LineSearch(
                *(one, space, metric, mode, fresh_seed(seed, i) if i else seed, baseline),
                numbers=(i, count),
                gate=self._gate,
            )
            for i in range(count)
        ]

    def guard(self, goals: Objectives) -> None:
        """Has every line know the limits of these; before it begins."""
        for line in self.lines:
            line.guard(goals)

    def ask(self, free: int) -> list[Segment]:
        """At most `free` segments: lost ones, then of the line that is least far."""
        segments: list[Segment] = []
        for line in self.lines:
            line.ask(0)  # which begins its story
        for line in sorted(self._raised(), key=lambda line: (not line.has_lost, line.at, line.offset)):
            if len(segments) < free and not self._waits(line):
                segments += line.ask(free - len(segments))
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Notes an outcome; a model trained before this search is every line's."""
        if outcome.segment.role == Role.ADOPTED:
            for line in self.lines:
                line.tell(outcome)
        else:
            self._owner(outcome.segment.trial).tell(outcome)

    @property
    def finished(self) -> bool:
        """True when every line has ended or was given up."""
        return all(line.finished for line in self._raised())

    def kept(self) -> Set[int]:
        """What the lines that go on may need, and where those that ended stand."""
        return set().union(*(line.kept() for line in self._raised()))

    @property
    def notes(self) -> list[str]:
        """What the lines have to say."""
        return [note for line in self.lines for note in line.notes]

    def plan_intervention(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The order, stamped for each line: a nudge is for all, a rollback for the line of its segment.

        Raises:
            SpecError: as for one line.
        """
        lines = [line for line in self._raised() if not line.finished]
        if order.get("kind") == "rollback":
            segment = ordered_segment(order)
            owner = self._owner(segment >> 20)
            if owner not in lines:
                raise SpecError(f"the line of {segment_name(segment)} has ended, or was given up")
            lines = [owner]
        if not lines:
            raise SpecError("the training has ended: there is no line left to change")
        plans = {line.offset: line.plan_intervention(order) for line in lines}
        first = next(iter(plans.values()))
        return {**first, "lines": {str(offset): plan["after"] for offset, plan in plans.items()}}

    def intervene(self, stamped: Mapping[str, Any]) -> None:
        """Takes in an order that `plan_intervention` stamped."""
        for offset, after in stamped["lines"].items():
            self.lines[int(offset)].intervene({**stamped, "after": after})

    # ---- which line goes on

    def _owner(self, trial: int) -> LineSearch:
        return self.lines[trial % len(self.lines)]

    def _waits(self, line: LineSearch) -> bool:
        """Whether the line has come to the gate before the others."""
        return line.gate_loss is not None and self._given_up() is None and self._gate > 0

    def _raised(self) -> Sequence[LineSearch]:
        given_up = self._given_up()
        return [line for line in self.lines if line is not given_up]

    def _given_up(self) -> LineSearch | None:
        """The worst at the gate, once every line has come there or has ended."""
        if not self._gate:
            return None
        if any(line.gate_loss is None and not line.finished for line in self.lines):
            return None
        nowhere = math.inf, math.inf
        found = [nowhere if n.gate_loss is None else (n.gate_violation, n.gate_loss) for n in self.lines]
        return self.lines[max(range(len(found)), key=lambda i: (found[i], i))]
