"""The nudged hyper-parameters of a line: which one is tried next, in which direction, and how far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raysearch.core.segment import Config
from raysearch.core.used_values import HELD, Held, series_of, slot_of
from raysearch.core.values import show
from raysearch.space.space import Space
from raysearch.strategies.panda import perturb
from raysearch.strategies.rounds import End
from raysearch.strategies.seeding import fresh_seed

SHRINK = 0.5  # power that a nudge's factor is raised to when it is rejected
LEAST_FACTOR = 1.1
EXPLORE_ONE_IN = 5
LEAP_ONE_IN = 5  # moments
LEAP = 2.0
IGNORED_AFTER = 3  # probes in a row that end alike to the last digit
INEFFECTIVE_MOST = 2  # nudges in a row that leave the optimizer as it was, after which the search ends
GIVEN_UP_AFTER = 2  # rejections in a row, after which another one is tried


def ignored_note(name: str, metric: str) -> str:
    """What to do where the trainable does not take a hyper-parameter's values."""
    return (
        f"{name} is ignored: {IGNORED_AFTER} probes with another value of it ended with the "
        f"same {metric} to the last digit, so it is no longer nudged. The trainable must take "
        "it from its config after a restore: raysearch.torch.apply(optimizer, config) at the end of "
        "load_checkpoint, or a method apply_config(config)"
    )


def ineffective_note(name: str, config: Config) -> str:
    """What to do where nudges did not change what the optimizer held."""
    return (
        f"the search ends: {INEFFECTIVE_MOST} nudges of {name} had no effect, the last one to "
        f"{show(config[name])}: the optimizer was used with the same values as without it. "
        f"Build the optimizer from the configuration's {name}, or call "
        "raysearch.torch.apply(optimizer, config) after its state is loaded; `raysearch lineage` shows the "
        "values that were used"
    )


@dataclass
class Axis:
    """What is known of one nudged hyper-parameter.

    Attributes:
        direction, factor: of its next nudge.
        rejections: in a row.
        alike: nudges in a row that changed nothing at all; -1 once one did.
        ineffective: nudges in a row after which the optimizer held the same as without.
    """

    name: str
    direction: int
    factor: float
    rejections: int = 0
    alike: int = 0
    ineffective: int = 0

    @property
    def is_ignored(self) -> bool:
        """Whether the trainable does not take its values."""
        return self.alike >= IGNORED_AFTER

    def turn(self) -> None:
        """The next nudge goes the other way, and less far."""
        self.direction = -self.direction
        self.shrink()

    def shrink(self) -> None:
        """The next nudge goes less far."""
        self.factor = max(self.factor**SHRINK, LEAST_FACTOR)

    def compare(self, hold: End, nudge: End) -> bool:
        """Counts forks whose arms ended alike; True at the one after which it counts as ignored.

        Fresh models say nothing: they begin with their values. Only after a restore can these be lost.
        """
        if self.alike < 0 or hold.segment.parent is None:
            return False
        is_alike = hold.losses == nudge.losses and hold.parts == nudge.parts
        self.alike = self.alike + 1 if is_alike else -1
        return self.alike == IGNORED_AFTER

    def reaches_optimizer(self, hold: End, nudge: End) -> bool:
        """Counts forks after which the optimizer held the same in both arms; False at the second in a row.

        Where no optimizer was seen, or none holds such a value, nothing is known and nothing counted.
        """
        held = [_held(end.used, self.name) for end in (hold, nudge)]
        if not held[0] or not held[1]:
            return True
        self.ineffective = self.ineffective + 1 if held[0] == held[1] else 0
        return self.ineffective < INEFFECTIVE_MOST


def _held(used: Mapping[str, Sequence[float]], name: str) -> list[Held]:
    """What an optimizer held of a hyper-parameter, or of the value that it is meant for."""
    own, meant = (
        [held for held in series_of(used, column) if not math.isnan(held.first)]  # NaN: no step was seen
        for column in (name, HELD + slot_of(name))
    )
    return own or meant


class Axes:
    """All nudged hyper-parameters of a line.

    Attributes:
        rate: the learning rate among them; None if there is none.
        ceiling: of the learning rate: above, it spiked.
    """

    def __init__(self, space: Space, names: tuple[str, ...], factor: float, seed: int) -> None:
        self.every = [Axis(name, 1, factor) for name in names]
        self.rate = perturb.rate_name(names)
        self.ceiling = math.inf
        self._space = space
        self._seed = seed
        self._turn = 0

    def active(self, learned: Config) -> list[Axis]:
        """Those that this configuration has, and that the trainable does not ignore."""
        values = self._space.flatten(learned)
        return [axis for axis in self.every if not axis.is_ignored and axis.name in values]

    def choose(self, learned: Config, moment: int) -> Axis | None:
        """The axis whose nudge was accepted last; another one after two rejections, and now and then."""
        axes = self.active(learned)
        if not axes:
            return None
        if self._turn >= len(axes) or axes[self._turn].rejections >= GIVEN_UP_AFTER:
            self._turn = (self._turn + 1) % len(axes)
            axes[self._turn].rejections = 0
        if len(axes) > 1 and fresh_seed(self._seed, 1, moment) % EXPLORE_ONE_IN == 0:
            return axes[fresh_seed(self._seed, 2, moment) % len(axes)]
        return axes[self._turn]

    def leap(self, axis: Axis, moment: int) -> None:
        """Now and then the learning rate is raised a good deal: small steps alone get stuck."""
        if axis.name == self.rate and moment % LEAP_ONE_IN == 0:
            axis.direction, axis.factor = 1, max(axis.factor, LEAP)

    def nudged(self, axis: Axis, learned: Config) -> Config | None:
        """What was learnt, nudged; in the other direction where it can go no further; None if in neither."""
        for _ in range(2):
            found: Config | None
            found = perturb.moved(self._space, learned, axis.name, axis.direction, axis.factor)
            if found is not None and axis.name == self.rate and self.rate_of(found) > self.ceiling:
                found = self._at_ceiling(learned)
            if found is not None:
                return found
            axis.direction = -axis.direction
        return None

    def rate_of(self, config: Config) -> float:
        """The learning rate of a configuration; NaN if it has none."""
        return float(self._space.flatten(config).get(str(self.rate), math.nan))

    def _at_ceiling(self, learned: Config) -> Config | None:
        """What was learnt with the highest learning rate that never spiked; None if it is there already."""
        if self.ceiling < LEAST_FACTOR * self.rate_of(learned):
            return None
        return perturb.with_value(self._space, learned, str(self.rate), self.ceiling)
