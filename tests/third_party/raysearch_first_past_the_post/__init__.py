"""A strategy and a sampler that know raysearch only by its public contracts.

First past the post: every sample is trained for one iteration, and the best of them to the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import ClassVar

from raysearch.core.segment import Config, Event, Mode, Outcome, Segment, Status, score, segment_id, value_at
from raysearch.errors import SpecError
from raysearch.space import Space
from raysearch.strategies.base import Abilities
from raysearch.strategies.samplers import Sampler, make_sampler
from raysearch.strategies.seeding import fresh_seed


@dataclass(frozen=True)
class FirstPastThePost:
    """The settings.

    Attributes:
        samples: how many configurations are tried, the baseline included.
        max_iterations: how long the best is trained.
    """

    name: ClassVar[str] = "first_past_the_post"

    samples: int
    max_iterations: int

    def __post_init__(self) -> None:
        for field in ("samples", "max_iterations"):
            if not isinstance(getattr(self, field), int) or getattr(self, field) < 2:
                raise SpecError(f"{field} = {getattr(self, field)!r} must be a whole number from 2")

    def abilities(self) -> Abilities:
        return Abilities(max_iterations=self.max_iterations, samples=self.samples, needs_checkpoints=True)

    def extended(self, samples: int | None = None, max_iterations: int | None = None) -> FirstPastThePost:
        return replace(
            self,
            samples=samples or self.samples,
            max_iterations=max_iterations or self.max_iterations,
        )

    def start(
        self, space: Space, *, metric: str, mode: Mode, seed: int = 0, baseline: Config | None = None
    ) -> FirstPastThePostSearch:
        return FirstPastThePostSearch(self, space, metric, mode, seed, baseline)


class FirstPastThePostSearch:
    """A fold over outcomes: the scores of the first iterations, and what is outstanding."""

    def __init__(
        self,
        recipe: FirstPastThePost,
        space: Space,
        metric: str,
        mode: Mode,
        seed: int,
        baseline: Config | None,
    ) -> None:
        self._recipe, self._space, self._metric, self._mode, self._seed = recipe, space, metric, mode, seed
        self._baseline = baseline
        self._sampler = make_sampler("sobol", space, seed, recipe.max_iterations)
        self._scores: dict[int, float] = {}  # of the first iteration, by trial
        self._configs: dict[int, Config] = {}
        self._told: set[int] = set()
        self._out: dict[int, Segment] = {}
        self._lost: dict[int, Segment] = {}

    def ask(self, free: int) -> list[Segment]:
        segments = list(self._lost.values())[:free]
        for segment in [*self._first(), *self._last()]:
            if len(segments) < free and segment.id not in self._out and segment.id not in self._lost:
                segments.append(segment)
        for segment in segments:
            self._lost.pop(segment.id, None)
            self._out[segment.id] = segment
        return segments

    def tell(self, outcome: Outcome) -> None:
        segment = outcome.segment
        self._out.pop(segment.id, None)
        if segment.id in self._told:
            return
        if outcome.status is Status.LOST:
            self._lost[segment.id] = segment
            return
        self._lost.pop(segment.id, None)
        self._told.add(segment.id)
        if segment.parent is None:
            is_sound = outcome.status is Status.COMPLETED and not outcome.done
            fits = segment.config == self._baseline or self._space.allows(segment.config)
            value = value_at(outcome.curve.get(self._metric, ())) if is_sound and fits else math.nan
            self._scores[segment.trial] = score(value, self._mode)
            self._configs[segment.trial] = segment.config

    @property
    def finished(self) -> bool:
        return not self._out and not self._lost and not self._first() and not self._last()

    def kept(self) -> Set[int]:
        flying = (*self._out.values(), *self._lost.values())
        best = () if self._best() is None else (segment_id(self._best() or 0, 0),)
        return {s.parent for s in flying if s.parent is not None}.union(best)

    def _best(self) -> int | None:
        finite = [(score, trial) for trial, score in self._scores.items() if math.isfinite(score)]
        return min(finite)[1] if finite else None

    def _first(self) -> Sequence[Segment]:
        """The first iterations that were not told."""
        trials = [t for t in range(self._recipe.samples) if segment_id(t, 0) not in self._told]
        return [self._planned(t, None, self._config(t), 0, 1, "a new sample") for t in trials]

    def _last(self) -> Sequence[Segment]:
        """The rest of the best one's training, once every first iteration was told."""
        best = self._best()
        if best is None or self._first() or segment_id(best, 1) in self._told:
            return []
        count = len(self._scores)
        reason = f"the best of {count} after one iteration"
        stop = self._recipe.max_iterations
        return [self._planned(best, segment_id(best, 0), self._configs[best], 1, stop, reason)]

    def _config(self, trial: int) -> Config:
        if trial == 0 and self._baseline is not None:
            return self._baseline
        config = self._sampler.propose(trial)
        assert config is not None
        return config

    def _planned(
        self, trial: int, parent: int | None, config: Config, start: int, stop: int, reason: str
    ) -> Segment:
        return Segment(
            id=segment_id(trial, 0 if parent is None else 1),
            trial=trial,
            parent=parent,
            config=config,
            start=start,
            stop=stop,
            seed=fresh_seed(self._seed, trial),
            reason=reason,
            event=Event.NONE if parent is None else Event.PROMOTION,
        )


class Echo:
    """A source of samplers that propose the best configuration so far, with one value drawn anew."""

    def bind(self, space: Space, seed: int, iterations: int) -> Sampler:
        return EchoSampler(space, seed)


class EchoSampler:
    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self._best: tuple[float, Config] | None = None

    def propose(self, trial: int) -> Config:
        drawn = self._space.sample(self._seed, trial)
        if self._best is None:
            return drawn
        values, others = self._space.flatten(self._best[1]), self._space.flatten(drawn)
        name = self._space.free[trial % len(self._space.free)]
        changed = self._space.nest({**values, **({name: others[name]} if name in others else {})})
        return changed if self._space.allows(changed) else drawn

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        if math.isfinite(score) and (self._best is None or score < self._best[0]):
            self._best = (score, config)
