"""Where caviar's new trials come from, and what the past demands of those that go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysearch.core.segment import FROM_BASELINE, FROM_PERSON, Config
from raysearch.strategies.samplers.base import name_of
from raysearch.strategies.samplers.factory import make_sampler
from raysearch.strategies.samplers.fallbacks import fallbacks_of
from raysearch.strategies.samplers.transfer import TransferSampler

if TYPE_CHECKING:
    from raysearch.space.objectives import Objectives
    from raysearch.space.space import Space
    from raysearch.strategies.caviar.settings import Caviar


@dataclass(frozen=True, slots=True)
class Proposal:
    """The configuration of a new trial, why it is tried, and where it is from if not from the sampler."""

    config: Config
    reason: str
    origin: str = ""


class Proposals:
    """The baseline first, then what is known already, then the sampler."""

    def __init__(
        self, recipe: Caviar, space: Space, objectives: Objectives, seed: int, baseline: Config | None
    ) -> None:
        name = recipe.sampler
        self._what = name if isinstance(name, str) else type(name).__name__
        self._baseline = baseline
        self._sampler = make_sampler(name, space, seed, recipe.max_iterations, objectives)
        self._fallbacks = fallbacks_of(self._sampler, name_of(name))
        self._enqueued: dict[int, Config] = {}
        self._own = self._sampler
        self._past: TransferSampler | None = None
        if recipe.transfer is not None and not recipe.transfer.is_empty:
            first = int(baseline is not None)
            self._past = TransferSampler(recipe.transfer, self._sampler, space, seed, first)
            self._sampler = self._past

    def propose(self, trial: int) -> Proposal | None:
        """What a new trial is trained with; None where the sampler has nothing before it is told more."""
        if trial == 0 and self._baseline is not None:
            return Proposal(self._baseline, "the baseline", FROM_BASELINE)
        if trial in self._enqueued:
            return Proposal(self._enqueued[trial], "enqueued by a person", FROM_PERSON)
        config = self._sampler.propose(trial)
        if config is None:
            return None
        if self._past is not None and (origin := self._past.origin(trial)):
            return Proposal(config, f"memory: {origin}", origin)
        instead = self._fallbacks.of(trial)
        return Proposal(config, f"new trial from sampler {self._what}" + (f", {instead}" if instead else ""))

    def end(self, trial: int, samples: int) -> None:
        """Notes, once, that the sampler has no more configurations."""
        self._fallbacks.remark(f"it has no more configurations: {trial:,} of {samples:,} samples are tried")

    def remark(self, text: str) -> None:
        """Adds a sentence for the user."""
        self._fallbacks.notes.append(text)

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user: which trials are not what the sampler would have proposed, and remarks."""
        return self._fallbacks.notes

    @property
    def next_free(self) -> int:
        """The number after the last trial that is enqueued, or that the baseline takes."""
        return max([int(self._baseline is not None), *(trial + 1 for trial in self._enqueued)])

    def enqueue(self, trial: int, config: Config) -> None:
        """Makes a person's configuration that of a trial that has not begun."""
        self._enqueued[trial] = config

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Passes a score on to the sampler."""
        sampler = self._own if trial in self._enqueued else self._sampler  # it says nothing of the past
        sampler.observe(trial, config, iteration, score)

    def clears_hurdle(self, level: int, score: float) -> bool:
        """Whether a score at a rung is no worse than what is known of good configurations there."""
        return self._past is None or score <= self._past.hurdle(level)
