"""The finish: the best few configurations and the baseline, trained again from scratch on fresh seeds.

The best value of many noisy trials is optimistic, because it was selected for being the best; trainings on
fresh seeds estimate a configuration's value without that bias. All configurations get the same seeds, so that
differences can be compared in pairs.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raysearch.core.checks import check_whole, is_whole
from raysearch.core.segment import Config, Outcome, Role, Segment, Status, segment_id
from raysearch.core.values import with_plain_numbers
from raysearch.errors import SpecError, unknown

FINALS = 1 << 40
BASELINES = FINALS + (1 << 39)
SEEDS_AT_MOST = 64


@dataclass(frozen=True)
class Finish:
    """The size of the finish.

    Attributes:
        top: number of configurations to train again.
        seeds: trainings of each of them, and of the baseline.

    >>> caviar = raysearch.Caviar(samples=100, max_iterations=81, finish=raysearch.Finish(top=5, seeds=4))
    >>> caviar.finish.top * caviar.finish.seeds  # trainings, beside those of the baseline
    20
    """

    top: int = 3
    seeds: int = 3

    def __post_init__(self) -> None:
        with_plain_numbers(self)
        if not (is_whole(self.top) and self.top >= 1):
            raise SpecError(f"finish.top = {self.top!r} must be a whole number from 1; finish: off has none")
        check_whole("finish.seeds", self.seeds, 1, SEEDS_AT_MOST)


DEFAULT_FINISH = Finish()


def finish_setting(value: object) -> Finish | None:
    """The value of the spec's field `finish`, as a Finish: from a Finish, a mapping of its fields, or off.

    Raises:
        SpecError: for anything else.
    """
    if value is None or value is False or value == "off":
        return None
    if value is True or value == "on":
        return Finish()
    if isinstance(value, Finish):
        return value
    if isinstance(value, dict):
        for field in value:
            if field not in ("top", "seeds"):
                raise SpecError(unknown("field of finish", field, ("top", "seeds")))
        return Finish(**value)
    raise SpecError(f"finish = {value!r} is neither off nor {{top: 3, seeds: 3}}")


@dataclass(frozen=True, order=True)
class Leader:
    """A trial among the best of its level."""

    score: float
    trial: int
    segment: int
    level: int


class Podium:
    """The best few trials of each level, with their configurations."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._levels: dict[int, list[Leader]] = {}
        self._configs: dict[int, tuple[Config, int]] = {}  # with the number of levels that hold it

    def offer(self, level: int, score: float, trial: int, segment: int, config: Config) -> None:
        """Puts the trial among the best of the level if it belongs there."""
        leaders = self._levels.setdefault(level, [])
        if len(leaders) == self._places and (score, trial) >= (leaders[-1].score, leaders[-1].trial):
            return
        insort(leaders, Leader(score, trial, segment, level))
        self._configs[trial] = (config, self._configs.get(trial, (config, 0))[1] + 1)
        if len(leaders) > self._places:
            self._release(leaders.pop().trial)

    def best(self) -> list[tuple[Leader, Config]]:
        """The best trials: of the highest level first, then of the next."""
        chosen: dict[int, Leader] = {}
        for level in sorted(self._levels, reverse=True):
            for leader in self._levels[level]:
                if len(chosen) < self._places:
                    chosen.setdefault(leader.trial, leader)
        return [(leader, self._configs[trial][0]) for trial, leader in chosen.items()]

    def segments(self) -> set[int]:
        """The last segments of the best trials."""
        return {leader.segment for leader, _ in self.best()}

    def _release(self, trial: int) -> None:
        config, held = self._configs.pop(trial)
        if held > 1:
            self._configs[trial] = (config, held - 1)


class Finals:
    """Plans the trainings of the finish, and knows which have ended.

    A training's trial number depends only on the trial that it repeats and on the position of its seed, so
    that a search which is extended after its finish recognises the trainings of that finish.
    """

    def __init__(
        self, finish: Finish, iterations: int, seeds: Sequence[int], baseline: Config | None
    ) -> None:
        self._finish = finish
        self._iterations = iterations
        self._seeds = seeds
        self._baseline = baseline
        self._told: dict[int, tuple[Config, int]] = {}  # config and iterations of each training
        self._asked: set[int] = set()
        self.baseline_source: int | None = 0

    @staticmethod
    def owns(trial: int) -> bool:
        """Whether this is the number of a training of a finish."""
        return trial >= FINALS

    def tell(self, outcome: Outcome) -> bool:
        """Notes a training's outcome, or its loss; False if the outcome was told before."""
        trial = outcome.segment.trial
        if trial in self._told:
            return False
        self._asked.add(trial)
        if outcome.status is Status.LOST:
            return True
        self._told[trial] = (outcome.segment.config, outcome.segment.stop)
        return True

    def kept(self) -> Iterator[int]:
        """Segments whose checkpoints are the trained finalists."""
        return (segment_id(trial, 0) for trial in self._told)

    def missing(self, best: Sequence[tuple[Leader, Config]]) -> list[Segment]:
        """Trainings of the finish not asked for yet: all with the first seed, then with the next."""
        plans = []
        for k in range(self._finish.seeds):
            for rank, (leader, config) in enumerate(best, 1):
                reason = (
                    f"finalist: rank {rank} at iteration {leader.level}, seed {k + 1} of {self._finish.seeds}"
                )
                number = self._number(FINALS + leader.trial * SEEDS_AT_MOST + k, config)
                plans.append(self._plan(number, k, config, reason, Role.FINALIST, leader.trial))
            if self._baseline is not None:
                reason = f"baseline, seed {k + 1} of {self._finish.seeds}"
                number = self._number(BASELINES + k, self._baseline)
                plans.append(
                    self._plan(number, k, self._baseline, reason, Role.BASELINE, self.baseline_source)
                )
        return [s for s in plans if s.trial not in self._asked and s.trial not in self._told]

    def ask(self, best: Sequence[tuple[Leader, Config]], free: int) -> list[Segment]:
        """At most `free` of the missing trainings, now asked for."""
        segments = self.missing(best)[:free]
        self._asked.update(s.trial for s in segments)
        return segments

    def _number(self, number: int, config: Config) -> int:
        """`number`, or another one where that was used for another config or a shorter training."""
        while number in self._told and self._told[number] != (config, self._iterations):
            number += 1 << 34
        return number

    def _plan(
        self, trial: int, k: int, config: Config, reason: str, role: Role, source: int | None
    ) -> Segment:
        return Segment(
            id=segment_id(trial, 0),
            trial=trial,
            parent=None,
            config=config,
            start=0,
            stop=self._iterations,
            seed=self._seeds[k],
            reason=reason,
            role=role,
            source=source,
        )
