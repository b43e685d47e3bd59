"""What a run is judged by, and its winner: the part of `Results` that decides."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config, Mode
from raysearch.results.contenders import contenders
from raysearch.results.effects import effects
from raysearch.results.front import Front, front_of
from raysearch.results.goal_verdict import passed_over, verdict_within
from raysearch.results.verdict import Verdict, judge
from raysearch.results.winner import Best, best_of, failures
from raysearch.space.objectives import Objectives, objectives_in
from raysearch.space.space import Space
from raysearch.strategies.base import Abilities
from raysearch.strategies.registry import abilities_in

if TYPE_CHECKING:
    from raysearch.results.run_rows import RunRows
    from raysearch.storage.journal.schema import JournalEvent


class Judged:
    """A run with a winner; what it reads is that of `Results`."""

    if TYPE_CHECKING:
        path: Path
        metric: str
        mode: Mode
        spec: dict[str, Any]
        _root: Path

        @property
        def _rows(self) -> RunRows: ...

        def events(self) -> Iterator[JournalEvent]:
            """As `Results.events`."""

        def configs_by_trial(self) -> dict[int, Config]:
            """As `Results.configs_by_trial`."""

    @property
    def best(self) -> Best:
        """The winner; of several objectives the knee of the front, within limits where there are some.

        >>> results.best.config
        {'lr': 0.2...}

        Raises:
            RunError: no trial ended well with a finite value: says how many failed, and of what first. Or
                none is within the limits: says which is the nearest.
        """
        verdict = self.verdict()
        if verdict.winner is not None or self.goals.is_plain:
            return best_of(self._rows, self._root, verdict, self.unfit)
        return best_of(self._rows, self._root, verdict, self.unfit | passed_over(self), limited=True)

    @cached_property
    def goals(self) -> Objectives:
        """The objectives and limits of the search; the metric alone where it has no more.

        >>> results.goals.is_plain
        True
        """
        return objectives_in(self.spec, self.metric, self.mode)

    @cached_property
    def front(self) -> Front:
        """The trials that nothing dominates within the limits, with means over fresh seeds after a finish.

        >>> [(member.name, member.seeds) for member in results.front]  # of one objective: the best
        [('trial 5', 3)]
        >>> results.front.pick(where="loss < 0.5").config
        {'lr': 0.2...}
        """
        return front_of(self._rows, self.goals, self.unfit)

    @cached_property
    def unfit(self) -> frozenset[int]:
        """Trials whose configuration does not lie in the space, which has been edited since; none is best.

        >>> results.unfit
        frozenset()
        """
        if not any(event.kind == "edit" for event in self.events()):
            return frozenset()
        space, baseline = Space.from_dict(self.spec["space"]), self.spec.get("baseline")
        return frozenset(
            number
            for number, config in self.configs_by_trial().items()
            if config != baseline and not space.allows(config)
        )

    def verdict(self) -> Verdict:
        """What the finish says of the winner and its gain over the baseline.

        >>> print(results.verdict())
        Trial 5: loss 0.39567 on 3 fresh seeds.
        It is better than the baseline by 0.19175 on every seed alike.
        ...
        >>> results.verdict().gain.mean  # positive is better, whatever the mode
        0.1917...
        """
        return self._verdict

    @cached_property
    def _verdict(self) -> Verdict:
        if self.goals.is_plain:
            verdict = judge(contenders(self._rows, self.unfit), self.metric, self.mode, self.raised)
        else:
            verdict = verdict_within(self)
        if self.raised is None:
            return verdict
        return verdict.with_effects(effects(self._rows, verdict.winner.source if verdict.winner else None))

    @property
    def raised(self) -> int | None:
        """How many models the strategy raised side by side; None for one that picks from many trials.

        >>> results.raised is None  # caviar picks the best of many
        True
        """
        return self.abilities.raises

    @cached_property
    def abilities(self) -> Abilities:
        """What the strategy of the search can do; the defaults where its recipe cannot be made here.

        >>> results.abilities.samples, results.abilities.needs_checkpoints
        (8, False)
        """
        return abilities_in(self.spec.get("strategy", {}))

    def failures(self) -> tuple[int, str]:
        """(how many of the search's trials failed, the error of the first of them or nothing).

        >>> results.failures()
        (0, '')
        """
        return failures(self._rows)
