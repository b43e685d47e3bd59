"""Replay: a schedule trained again from scratch on fresh seeds, beside constant configurations.

A schedule is chosen while its model trains, from many noisy comparisons; only trainings that had no part
in them say what it is worth. All of a seed begin with the same weights and see the same examples in the
same order, so that differences pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar

from raysearch.core.checks import check_whole, is_whole
from raysearch.core.segment import Config, Mode, Outcome, Role, Segment, Status, segment_id, value_at
from raysearch.core.values import with_plain_numbers
from raysearch.errors import LocatedError, SpecError
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.strategies.base import Abilities, Strategy
from raysearch.strategies.cost import PopulationCost
from raysearch.strategies.seeding import fresh_seed

SEEDS_AT_MOST = 64
LISTS = {
    "steps": "write what `raysearch export RUN --schedule` gives: [{start: 0, stop: 9, config: {lr: 0.1}}]",
    "constants": "write configurations to compare with: [{lr: 0.1}]",
}
SALT = 0x5EED  # of the seeds: others than those of the search that found the schedule


@dataclass(frozen=True)
class Replay:
    """The settings of a replay.

    Attributes:
        steps: of the schedule: mappings of start, stop and config, one behind the other from 0.
        constants: configurations to hold for as long, to compare with.
        seeds: how often each is trained.
    """

    name: ClassVar[str] = "replay"

    steps: Sequence[Mapping[str, Any]]
    constants: Sequence[Mapping[str, Any]] = ()
    seeds: int = 3

    def __post_init__(self) -> None:
        with_plain_numbers(self)
        check_whole("seeds", self.seeds, 1, SEEDS_AT_MOST)
        for field in ("steps", "constants"):
            if not isinstance(getattr(self, field), (list, tuple)):
                raise LocatedError(field, f"{getattr(self, field)!r} is no list; {LISTS[field]}")
        if not self.steps:
            raise LocatedError("steps", "a schedule needs at least one step")
        at = 0
        for number, step in enumerate(self.steps):
            at = _end_of(step, at, f"steps[{number}]")
        for number, config in enumerate(self.constants):
            if not isinstance(config, Mapping):
                raise LocatedError(
                    f"constants[{number}]", f"{config!r} is no configuration, such as {{lr: 0.1}}"
                )

    @property
    def max_iterations(self) -> int:
        """Of each training."""
        return int(self.steps[-1]["stop"])

    @property
    def population(self) -> int:
        """Trainings in all."""
        return self.seeds * (1 + len(self.constants))

    @property
    def iterations(self) -> int:
        """Of all trainings together."""
        return self.population * self.max_iterations

    def abilities(self) -> Abilities:
        """What a replay can do."""
        return Abilities(
            max_iterations=self.max_iterations,
            population=self.population,
            needs_checkpoints=True,
            objectives=True,
            limits=True,
        )

    def cost(self, has_baseline: bool) -> PopulationCost:
        """What all trainings take together."""
        return PopulationCost(self.max_iterations, self.iterations, self.population)

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
        """The replay at its beginning.

        Args:
            objectives: where there are several, or limits: a training without a finite value of each metric
                that counts ends, as one without the metric does.

        Raises:
            SpecError: a configuration does not lie in the space.
        """
        for number, config in enumerate([*(step["config"] for step in self.steps), *self.constants]):
            if why := space.why_not(config):
                where = f"steps[{number}].config" if number < len(self.steps) else "constants"
                raise SpecError(f"{where} = {dict(config)!r}: {why}")
        return ReplaySearch(self, (metric,) if objectives is None else objectives.metrics, seed)

    @classmethod
    def examples(cls) -> dict[str, Replay]:
        """A small recipe, for the suite of the contract."""
        first = {"lr": 0.01, "momentum": 0.9, "layers": 2, "optimizer": "sgd"}
        steps = [
            {"start": 0, "stop": 2, "config": first},
            {"start": 2, "stop": 5, "config": {**first, "lr": 0.1}},
            {"start": 5, "stop": 6, "config": {**first, "lr": 0.001}},
        ]
        return {"two": cls(steps, [first], seeds=2)}


def _end_of(step: Any, at: int, place: str) -> int:
    """Where a step of a schedule ends that must begin at `at`. Raises LocatedError for one that is wrong."""
    if not isinstance(step, Mapping) or not {"start", "stop", "config"} <= step.keys():
        raise LocatedError(place, f"{step!r} needs start, stop and config")
    if not isinstance(step["config"], Mapping):
        raise LocatedError(f"{place}.config", f"{step['config']!r} is no configuration, such as {{lr: 0.1}}")
    start, stop = step["start"], step["stop"]
    if not (is_whole(start) and is_whole(stop)):
        raise LocatedError(place, f"start {start!r} and stop {stop!r} must be whole numbers")
    if start != at or stop <= at:
        raise LocatedError(place, f"it must begin at {at} and end later: {step!r}")
    return int(stop)


class ReplaySearch:
    """A running replay: for each seed a chain of segments for the schedule, and one for each constant."""

    def __init__(self, recipe: Replay, metrics: Sequence[str], seed: int) -> None:
        self._metrics = metrics
        self._chains = {
            chain[0].trial: chain for chain in _chains(recipe, seed)
        }  # trial -> its segments, in order
        self._told: dict[int, bool] = {}  # segment -> whether its trial goes on
        self._out: set[int] = set()

    def ask(self, free: int) -> list[Segment]:
        """At most `free` segments whose parents have ended, by seed."""
        segments = [s for s in self._open() if s.id not in self._out][: max(0, free)]
        self._out.update(s.id for s in segments)
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Notes how a segment ended."""
        segment = outcome.segment.id
        self._out.discard(segment)
        if outcome.status is not Status.LOST and segment not in self._told:
            ends = [value_at(outcome.curve.get(metric, ())) for metric in self._metrics]
            is_sound = outcome.status is Status.COMPLETED and all(map(math.isfinite, ends))
            self._told[segment] = is_sound and not outcome.done

    @property
    def finished(self) -> bool:
        """True when every training has ended."""
        return not self._out and next(self._open(), None) is None

    def kept(self) -> Set[int]:
        """Where the trainings stand that go on, and where those that came to their end do."""
        kept = {s.parent for s in self._open() if s.parent is not None}
        return kept | {chain[-1].id for chain in self._chains.values()}

    def _open(self) -> Iterator[Segment]:
        """The next segment of each training that goes on."""
        for chain in self._chains.values():
            for segment in chain:
                goes_on = self._told.get(segment.id)
                if goes_on is None:
                    yield segment
                if not goes_on:
                    break


def _chains(recipe: Replay, seed: int) -> Iterator[list[Segment]]:
    whole = {"start": 0, "stop": recipe.max_iterations}
    plans = [("the schedule", Role.FINALIST, list(recipe.steps))]
    plans += [
        (f"constant {n}", Role.BASELINE, [{**whole, "config": config}])
        for n, config in enumerate(recipe.constants, 1)
    ]
    for k in range(recipe.seeds):
        for number, (words, role, steps) in enumerate(plans):
            trial = k * len(plans) + number
            chain: list[Segment] = []
            for ordinal, step in enumerate(steps):
                chain.append(
                    Segment(
                        id=segment_id(trial, ordinal),
                        trial=trial,
                        parent=chain[-1].id if chain else None,
                        config=step["config"],
                        start=step["start"],
                        stop=step["stop"],
                        seed=fresh_seed(seed, SALT, k),
                        reason=f"replay of {words}, seed {k + 1} of {recipe.seeds}",
                        role=role,
                        source=number,
                    )
                )
            yield chain
