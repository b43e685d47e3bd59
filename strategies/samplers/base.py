"""Where configurations come from: the contract of a sampler, and of what makes one for a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from raysearch.core.segment import Config
    from raysearch.space.objectives import Objectives
    from raysearch.space.space import Space

Floats = npt.NDArray[np.float64]


@runtime_checkable
class Sampler(Protocol):
    """A source of configurations; any object with these two methods will do.

    The same calls in the same order must give the same answers. Scores are turned so that lower is
    better; +inf is a trial that diverged or failed.
    """

    def propose(self, trial: int) -> Config | None:
        """The configuration of a new trial; None means "not before I am told more"."""
        ...

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Learns the score of a trial at a rung; of trials it never proposed as well."""
        ...


@runtime_checkable
class Source(Protocol):
    """Makes a sampler for each search."""

    def bind(self, space: Space, seed: int, iterations: int) -> Sampler:
        """A sampler of this space; `iterations` is the last rung."""
        ...


@runtime_checkable
class ComparesSeveral(Protocol):
    """A source whose samplers learn several objectives and limits; a score is a `Standing` to them."""

    def bind_several(self, space: Space, seed: int, iterations: int, objectives: Objectives) -> Sampler:
        """A sampler of this space that learns all of these."""
        ...


@runtime_checkable
class Wraps(Protocol):
    """A sampler or source that stands before another one, and goes by its name."""

    @property
    def sampler(self) -> object:
        """The one behind it."""
        ...


@runtime_checkable
class Expects(Protocol):
    """A sampler that can be told what other tasks say of points.

    Attributes:
        expect: normal scores of points of the unit cube, lower is better; None while nothing is known.
    """

    expect: Callable[[Floats], Floats] | None


def behind(sampler: object) -> object:
    """The last of the samplers that this one stands before; itself if none."""
    while isinstance(sampler, Wraps):
        sampler = sampler.sampler
    return sampler


def name_of(sampler: object) -> str:
    """What a sampler is called: its name, or the class of what it is or wraps."""
    if isinstance(sampler, str):
        return sampler
    return type(behind(sampler) if isinstance(sampler, Source) else sampler).__name__
