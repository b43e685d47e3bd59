"""The sampler that a recipe names, or wraps; errors of samplers that are not ours name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from raysearch.core.segment import Config
from raysearch.errors import LocatedError, RaysearchError, RunError, SpecError, unknown
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.strategies.samplers.base import ComparesSeveral, Sampler, Source, name_of
from raysearch.strategies.samplers.fallbacks import fallbacks_of
from raysearch.strategies.samplers.quasi_random import sobol, uniform


def _model(space: Space, seed: int, iterations: int) -> Sampler:
    from raysearch.strategies.samplers.gp_sampler import ModelSampler  # scipy takes 0.3 s to import

    return ModelSampler(space, seed, iterations)


def _model_of_several(space: Space, seed: int, iterations: int, objectives: Objectives) -> Sampler:
    from raysearch.strategies.samplers.front_sampler import FrontSampler

    return FrontSampler(space, seed, iterations, objectives)


# What makes the sampler of each name: (space, seed, iterations) -> Sampler.
SAMPLERS: Mapping[str, Callable[[Space, int, int], Sampler]] = {
    "model": _model,
    "random": lambda space, seed, iterations: uniform(space, seed),
    "sobol": lambda space, seed, iterations: sobol(space, seed),
}


class Guarded:
    """A sampler that is not ours: what it raises becomes a RunError that names it."""

    def __init__(self, sampler: Sampler, name: str) -> None:
        self._sampler = self.sampler = sampler
        self._name = name
        self.fallbacks = fallbacks_of(sampler, name)

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


def check_name(sampler: str) -> None:
    """Raises SpecError for a text that names no sampler, nor the class of an object that was one."""
    if sampler not in SAMPLERS and not is_of_object(sampler):
        raise SpecError(unknown("sampler", sampler, SAMPLERS))


def is_of_object(name: str) -> bool:
    """Whether a name in a spec is the class of an object, `module:Class`, which must be given again."""
    return ":" in name


def make_sampler(
    sampler: object, space: Space, seed: int, iterations: int, objectives: Objectives | None = None
) -> Sampler:
    """The sampler that a recipe names, or the object itself if it is one.

    An object with a method `bind(space, seed, iterations)` is a source of samplers: each search binds
    one of its own.

    Args:
        objectives: what it is to learn; None, or one objective without limits, is a score.

    Raises:
        SpecError: for an unknown name, an object without `propose` and `observe`, one that fails to be
            bound to the space, and one that learns a score only where there are several objectives or limits.
    """
    several = None if objectives is None or objectives.is_plain else objectives
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
        if several is not None and sampler == "model":
            return _model_of_several(space, seed, iterations, several)
        return SAMPLERS[sampler](space, seed, iterations)
    if several is not None and not isinstance(sampler, ComparesSeveral):
        raise LocatedError(
            "sampler",
            f"{name_of(sampler)} learns one score, and this search has {several.kind}: take "
            f"{', '.join(SAMPLERS)}, or an Optuna sampler (raysearch.sources.from_optuna)",
        )
    bound = _bound(sampler, space, seed, iterations, several)
    if isinstance(bound, Sampler):
        return Guarded(bound, name_of(sampler))
    raise LocatedError(
        "sampler",
        f"{sampler!r} is neither {', '.join(SAMPLERS)} nor an object with propose and observe; wrap an "
        "Optuna sampler in raysearch.sources.from_optuna, a Ray Tune Searcher in from_ray_searcher",
    )


def _bound(sampler: object, space: Space, seed: int, iterations: int, several: Objectives | None) -> object:
    """The sampler of a source; what is none, as it is."""
    try:
        if several is not None and isinstance(sampler, ComparesSeveral):
            return sampler.bind_several(space, seed, iterations, several)
        return sampler.bind(space, seed, iterations) if isinstance(sampler, Source) else sampler
    except RaysearchError:
        raise
    except Exception as error:
        raise SpecError(
            f"sampler {name_of(sampler)} cannot be used for this space: {_said(error)}"
        ) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
