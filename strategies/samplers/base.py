"""Where configurations come from: the sampler's contract, and the two that learn nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from raysearch.core.segment import Config
from raysearch.errors import LocatedError, RaysearchError, RunError, SpecError, unknown
from raysearch.space.space import Space

Floats = npt.NDArray[np.float64]
BLOCK = 1024
NAMES = ("model", "random", "sobol")


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


class Sequence:
    """Row i of a sequence of points, decoded: Sobol or independent uniform ones.

    Points come in blocks, so that a configuration costs microseconds. Where the space's constraints
    forbid a point, an independent sample that keeps them takes its place.
    """

    def __init__(self, space: Space, seed: int, units: Callable[[int, int, int], Floats]) -> None:
        self._space = space
        self._seed = seed
        self._units = units
        self._first = 0
        self._block: list[Config] = []

    def propose(self, trial: int) -> Config:
        """Configuration number `trial`: a function of (seed, trial)."""
        if not 0 <= trial - self._first < len(self._block):
            self._first = trial - trial % BLOCK
            self._block = list(self._space.decode_many(self._units(self._seed, self._first, BLOCK)))
        config = self._block[trial - self._first]
        return config if self._space.satisfies(config) else self._space.sample(self._seed, trial)

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Learns nothing."""


def sobol(space: Space, seed: int) -> Sequence:
    """A scrambled Sobol sequence: spreads evenly from the first few points on."""
    return Sequence(space, seed, space.sobol_units)


def uniform(space: Space, seed: int) -> Sequence:
    """Independent samples."""
    return Sequence(space, seed, space.random_units)


class Guarded:
    """A sampler that is not ours: what it raises becomes a RunError that names it."""

    def __init__(self, sampler: Sampler, name: str) -> None:
        self._sampler = sampler
        self._name = name

    def propose(self, trial: int) -> Config | None:
        """What the sampler proposes."""
        try:
            return self._sampler.propose(trial)
        except RaysearchError:
            raise
        except Exception as error:
            raise RunError(f"sampler {self._name} failed, asked for trial {trial}: {_said(error)}") from error

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Passes it on."""
        try:
            self._sampler.observe(trial, config, iteration, score)
        except RaysearchError:
            raise
        except Exception as error:
            raise RunError(
                f"sampler {self._name} failed, told of trial {trial} at iteration {iteration}: {_said(error)}"
            ) from error


def name_of(sampler: object) -> str:
    """What a sampler is called: its name, or the class of what it is or wraps."""
    if isinstance(sampler, str):
        return sampler
    inner = getattr(sampler, "sampler", sampler) if isinstance(sampler, Source) else sampler
    return type(inner).__name__


def check_name(sampler: str) -> None:
    """Raises SpecError for a text that names no sampler, nor the class of an object that was one."""
    if sampler not in NAMES and not is_of_object(sampler):
        raise SpecError(unknown("sampler", sampler, NAMES))


def is_of_object(name: str) -> bool:
    """Whether a name in a spec is the class of an object, `module:Class`, which must be given again."""
    return ":" in name


def _bound(source: Source, space: Space, seed: int, iterations: int) -> Sampler:
    try:
        return source.bind(space, seed, iterations)
    except RaysearchError:
        raise
    except Exception as error:
        raise SpecError(f"sampler {name_of(source)} cannot be used for this space: {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def make_sampler(sampler: object, space: Space, seed: int, iterations: int) -> Sampler:
    """The sampler that a recipe names, or the object itself if it is one.

    An object with a method `bind(space, seed, iterations)` is a source of samplers: each search binds
    one of its own.

    Raises:
        SpecError: for an unknown name, an object without `propose` and `observe`, and one that fails to be
            bound to the space.
    """
    if isinstance(sampler, type):
        raise SpecError(f"sampler = {sampler.__name__} is a class; give an object: {sampler.__name__}(...)")
    if isinstance(sampler, str):
        check_name(sampler)
        if is_of_object(sampler):
            raise LocatedError(
                "sampler",
                f"{sampler!r} was an object, and its name is all that spec.yaml holds of it; give it again: "
                "raysearch.resume(run, strategy=Caviar(..., sampler=...))",
            )
        if sampler == "model":
            from raysearch.strategies.samplers.gp_sampler import ModelSampler  # scipy takes 0.3 s to import

            return ModelSampler(space, seed, iterations)
        return sobol(space, seed) if sampler == "sobol" else uniform(space, seed)
    bound = _bound(sampler, space, seed, iterations) if isinstance(sampler, Source) else sampler
    if isinstance(bound, Sampler):
        return Guarded(bound, name_of(sampler))
    raise LocatedError(
        "sampler",
        f"{sampler!r} is neither {', '.join(NAMES)} nor an object with propose and observe; wrap an Optuna "
        "sampler in raysearch.sources.from_optuna, a Ray Tune Searcher in from_ray_searcher",
    )
