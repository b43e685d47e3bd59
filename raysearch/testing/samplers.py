"""The contract of `raysearch.strategies.samplers.Sampler`, as tests of a sampler; see `raysearch.testing`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from raysearch.core.segment import Config
from raysearch.space.space import Space
from raysearch.strategies.samplers import Sampler, make_sampler
from raysearch.testing import worlds

Make = Callable[[Space, int], Sampler]

ITERATIONS = 9  # of the last rung
SPACES = {
    "mixed": worlds.SPACE,
    "one": Space.from_dict({"x": {"uniform": [-1.0, 1.0]}}),
    "whole": Space.from_dict({"a": {"randint": [0, 40]}, "b": {"choice": ["x", "y", "z"]}}),
}


def named(name: str) -> Make:
    """Makes the sampler that caviar calls so."""
    return lambda space, seed: make_sampler(name, space, seed, ITERATIONS)


def score_of(config: Config) -> float:
    """A score of a configuration, lower is better: how far its numbers are from 0.03."""
    return sum(abs(float(v) - 0.03) for v in config.values() if isinstance(v, (int, float)))


def drive(sampler: Sampler, count: int, first: int = 0) -> list[Config | None]:
    """Proposals of `count` trials, each of which is scored at two rungs before the next is proposed."""
    found: list[Config | None] = []
    for trial in range(first, first + count):
        config = sampler.propose(trial)
        found.append(config)
        if config is not None:
            for iteration in (1, ITERATIONS):
                sampler.observe(trial, config, iteration, score_of(config) + 1.0 / iteration)
    return found


class SamplerSuite:
    """Tests of samplers; subclasses set `samplers`.

    Attributes:
        samplers: by label, what makes one for (space, seed). An object that binds itself is made by
            `lambda space, seed: source.bind(space, seed, 9)`.
        spaces: where they are tried.
        trials: how many each proposes.
    """

    samplers: ClassVar[Mapping[str, Make]] = {}
    spaces: ClassVar[Mapping[str, Space]] = SPACES
    trials: ClassVar[int] = 40

    @classmethod
    def pytest_generate_tests(cls, metafunc: Any) -> None:
        """Runs each test on every sampler, in each of the spaces."""
        for argument, values in (("name", cls.samplers), ("where", cls.spaces)):
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, list(values))

    def make(self, name: str, where: str = "mixed", seed: int = 1) -> Sampler:
        """A fresh sampler."""
        return self.samplers[name](self.spaces[where], seed)

    def test_it_has_both_methods(self, name: str) -> None:
        assert isinstance(self.make(name), Sampler)

    def test_proposals_lie_in_the_space(self, name: str, where: str) -> None:
        found = [config for config in drive(self.make(name, where), self.trials) if config is not None]
        assert found, "nothing was proposed at all"
        assert [why for config in found if (why := self.spaces[where].why_not(config))] == []

    def test_the_same_calls_give_the_same_answers(self, name: str, where: str) -> None:
        assert drive(self.make(name, where), self.trials) == drive(self.make(name, where), self.trials)

    def test_another_seed_gives_other_proposals(self, name: str) -> None:
        assert drive(self.make(name, seed=1), 4) != drive(self.make(name, seed=2), 4)

    def test_trials_that_it_never_proposed_are_observed(self, name: str, where: str) -> None:
        sampler, space = self.make(name, where), self.spaces[where]
        for number in range(30):  # of an earlier life
            sampler.observe(1000 + number, space.sample(7, number), 1, 0.1 * number)
        found = [config for config in drive(sampler, 10) if config is not None]
        assert found
        assert all(space.why_not(config) is None for config in found)

    def test_a_trial_may_be_observed_before_others_and_more_than_once(self, name: str) -> None:
        sampler, space = self.make(name), self.spaces["mixed"]
        proposed = {trial: sampler.propose(trial) for trial in range(8)}
        for iteration in (1, 3, ITERATIONS):
            for trial, config in reversed(proposed.items()):
                if config is not None:
                    sampler.observe(trial, config, iteration, score_of(config))
        after = sampler.propose(8)
        assert after is not None, "it waits, though everything it proposed has a score"
        assert space.why_not(after) is None

    def test_failures_alone_do_not_stop_it(self, name: str, where: str) -> None:
        sampler, space = self.make(name, where), self.spaces[where]
        for trial in range(self.trials):
            config = sampler.propose(trial)
            if config is not None:
                assert space.why_not(config) is None
                sampler.observe(trial, config, 1, math.inf)
        assert sampler.propose(self.trials) is not None

    def test_failures_between_scores_do_not_stop_it(self, name: str, where: str) -> None:
        sampler, space = self.make(name, where), self.spaces[where]
        for trial in range(self.trials):
            config = sampler.propose(trial)
            if config is not None:
                assert space.why_not(config) is None
                sampler.observe(trial, config, 1, math.inf if trial % 3 else score_of(config))
        assert sampler.propose(self.trials) is not None

    def test_what_it_proposed_stays_as_it_was(self, name: str) -> None:
        """A proposal is the trial's for good: later calls must not change it."""
        sampler = self.make(name)
        proposed = [sampler.propose(trial) for trial in range(8)]
        copies = [None if config is None else dict(config) for config in proposed]
        for trial, config in enumerate(proposed):
            if config is not None:
                sampler.observe(trial, config, 1, score_of(config))
        sampler.propose(8)
        assert proposed == copies
