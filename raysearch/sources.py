"""Configurations from other libraries: Ray Tune's Searchers and Optuna's samplers as caviar's sampler.

    Caviar(..., sampler=from_optuna(optuna.samplers.TPESampler(seed=1)))
    Caviar(..., sampler=from_ray_searcher(OptunaSearch()))

They see scores turned so that lower is better, whatever the search's mode. An Optuna sampler learns several
objectives too, and limits; in Optuna 4 it must be made with `constraints_func=optuna_limits` for that.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from raysearch.core.segment import Config
from raysearch.errors import SpecError
from raysearch.interop.fit import fitted
from raysearch.interop.write_space import (
    REPEATS_MOST,
    config_to_optuna,
    optuna_to_config,
    rounded_weights,
    to_optuna,
    to_ray,
)
from raysearch.space.objectives import Objectives, Standing
from raysearch.space.space import Space
from raysearch.strategies.samplers.fallbacks import Fallbacks

ATTEMPTS = 100
NONE_FITS = f"a random point: {ATTEMPTS} suggestions were not in the space"
SCORE = "score"
OPTUNA_READS = 5  # from this version on samplers read the constraints of trials by themselves
CONSTRAINTS = "constraints"  # under which Optuna keeps what a trial's constraints came to
NO_LIMITS = (
    "it does not know the limits: make it with constraints_func=raysearch.sources.optuna_limits, "
    "or trials beyond them count like others to it"
)


@dataclass(frozen=True)
class Source:
    """A sampler of another library, not yet bound to a space; each search binds a copy of its own."""

    library: str
    sampler: Any

    def bind(self, space: Space, seed: int, iterations: int) -> RaySearcher | OptunaSampler:
        """The sampler for a search of this space."""
        if self.library == "ray":
            return RaySearcher(copy.deepcopy(self.sampler), space, seed)
        return OptunaSampler(copy.deepcopy(self.sampler), space, iterations, seed)

    def bind_several(
        self, space: Space, seed: int, iterations: int, objectives: Objectives
    ) -> RaySearcher | OptunaSampler:
        """The sampler for a search of several objectives or limits.

        Raises:
            SpecError: it is a Ray Tune Searcher, which learns one score.
        """
        if self.library == "ray":
            raise SpecError(
                f"a Ray Tune Searcher learns one score, and this search has {objectives.kind}; take an "
                "Optuna sampler (raysearch.sources.from_optuna), or sampler: model"
            )
        return OptunaSampler(copy.deepcopy(self.sampler), space, iterations, seed, objectives)


def from_ray_searcher(searcher: Any) -> Source:
    """A source of configurations out of a `ray.tune.search.Searcher` that was given no space of its own.

    For a search that can be repeated give it a seed (`OptunaSearch(seed=1)`): it does not get the search's.

    >>> from ray.tune.search.optuna import OptunaSearch
    >>> sampler = raysearch.sources.from_ray_searcher(OptunaSearch(seed=1))
    >>> strategy = raysearch.Caviar(samples=100, max_iterations=81, sampler=sampler)

    Raises:
        SpecError: if it is a class, or has no `suggest`; a search raises it where it has a space already.
    """
    _check_instance(searcher, "from_ray_searcher")
    if not callable(getattr(searcher, "suggest", None)):
        raise SpecError(f"{searcher!r} is no Ray Tune Searcher: it has no method suggest")
    return Source("ray", searcher)


def from_optuna(sampler: Any) -> Source:
    """A source of configurations out of an `optuna.samplers.BaseSampler`.

    For a search that can be repeated give it a seed (`TPESampler(seed=1)`): it does not get the search's.
    One that comes to an end, such as a `GridSampler`, ends the search with the trials that it had; in a
    search that is resumed it begins again.

    >>> import optuna
    >>> sampler = raysearch.sources.from_optuna(optuna.samplers.TPESampler(seed=1))
    >>> strategy = raysearch.Caviar(samples=100, max_iterations=81, sampler=sampler)

    Raises:
        SpecError: if it is a class, or no sampler.
    """
    _check_instance(sampler, "from_optuna")
    if not callable(getattr(sampler, "sample_relative", None)):
        raise SpecError(f"{sampler!r} is no Optuna sampler: it has no method sample_relative")
    return Source("optuna", sampler)


def _check_instance(given: Any, function: str) -> None:
    if isinstance(given, type):
        raise SpecError(f"{given.__name__} is a class; give an object: {function}({given.__name__}(...))")


def _say_weights(space: Space, fallbacks: Fallbacks) -> None:
    for name in rounded_weights(space):
        fallbacks.remark(f"the weights of {name} are rounded to shares of at most {REPEATS_MOST}")


class RaySearcher:
    """Drives a Searcher as Ray Tune would.

    A trial is complete with its score at its first rung, because most Searchers learn from complete
    trials only; its later scores, and those of trials of an earlier life, come as evaluated points.
    """

    def __init__(self, searcher: Any, space: Space, seed: int) -> None:
        self._searcher = searcher
        self._space = space
        self._seed = seed
        self._open: dict[int, str] = {}  # trials suggested and not yet complete, by their names there
        self.fallbacks = Fallbacks(type(searcher).__name__)
        _say_weights(space, self.fallbacks)
        if not searcher.set_search_properties(SCORE, "min", to_ray(space)):
            raise SpecError(
                f"the Searcher {type(searcher).__name__} has a space of its own; make it without space, "
                "metric and mode, it gets those of the search"
            )

    def propose(self, trial: int) -> Config | None:
        """What the Searcher suggests, rounded onto the space; None while it waits for results or has no more.

        Where ATTEMPTS suggestions in a row are not in the space, an independent sample, which is counted.
        """
        why = ""
        for attempt in range(ATTEMPTS):
            name = f"{trial}-{attempt}"
            suggested = self._searcher.suggest(name)
            if not isinstance(suggested, dict):
                return None
            found = fitted(self._space, suggested)
            if not found.why_not:
                self._open[trial] = name
                for moved in found.moved:
                    self.fallbacks.add(trial, f"{moved} was suggested outside its bounds and moved to them")
                return found.config
            why = found.why_not
            self._searcher.on_trial_complete(name, error=True)
        self.fallbacks.add(trial, NONE_FITS, str(why))
        return self._space.sample(self._seed, trial)

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Reports a score; +inf as an error."""
        name = self._open.pop(trial, None)
        failed = not math.isfinite(score)
        if name is not None:
            result = {SCORE: score, "training_iteration": iteration, "config": config}
            self._searcher.on_trial_result(name, result)
            self._searcher.on_trial_complete(name, None if failed else result, failed)
        elif not failed:
            self._add(config, score)

    def _add(self, config: Config, score: float) -> None:
        values = self._space.flatten(config)
        if any(name not in values for name in self._space.free):
            return  # an inactive name: Searchers know points with every value only
        point = {name: values[name] for name in self._space.free}
        try:
            self._searcher.add_evaluated_point(point, score)
        except NotImplementedError:
            self.fallbacks.remark("it learns scores of first rungs only: it takes no later ones")


class OptunaSampler:
    """Drives an Optuna sampler through a study in memory.

    Scores below the last iteration are told as pruned trials with an intermediate value, as Optuna's own
    pruners leave them: its TPE ranks those by step, then value. A trial's later score is a new one.
    """

    def __init__(
        self,
        sampler: Any,
        space: Space,
        iterations: int,
        seed: int = 0,
        objectives: Objectives | None = None,
    ) -> None:
        """`objectives`, where there are several or limits: the study has one direction for each of them."""
        import optuna

        count = 1 if objectives is None else len(objectives.modes)
        self._of_many = count > 1
        self._space = space
        self._iterations = iterations
        self._seed = seed
        self.fallbacks = Fallbacks(type(sampler).__name__)
        _say_weights(space, self.fallbacks)
        self._distributions = to_optuna(space)
        if objectives is not None and objectives.limits and not _knows_limits(sampler):
            self.fallbacks.remark(NO_LIMITS)
        self._study = optuna.create_study(sampler=sampler, directions=["minimize"] * count)
        self._open: dict[int, int] = {}  # trials asked for and not yet told, by their numbers there
        self._is_over = False
        # A sampler's word for having no more; Optuna's own loop is not used here.
        self._study.stop = self._end

    def _end(self) -> None:
        self._is_over = True

    def propose(self, trial: int) -> Config | None:
        """What the sampler suggests; None if it has no more."""
        import optuna

        for _ in range(ATTEMPTS):
            if self._is_over:
                return None
            asked = self._study.ask(self._distributions)
            config = optuna_to_config(self._space, asked.params)
            if self._space.satisfies(config):
                self._open[trial] = asked.number
                return config
            self._study.tell(asked.number, state=optuna.trial.TrialState.FAIL)
        why = self._space.why_not(config)
        self.fallbacks.add(trial, NONE_FITS, str(why))
        return self._space.sample(self._seed, trial)

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Tells a score; +inf as a failure. Of several objectives each score is that of a complete trial."""
        import optuna

        states = optuna.trial.TrialState
        is_complete = self._of_many or iteration >= self._iterations
        state = states.COMPLETE if is_complete else states.PRUNED
        state = state if math.isfinite(score) else states.FAIL
        number = self._open.pop(trial, None)
        if number is not None:  # a trial can be told only once, and its intermediate value before that
            self._study.tell(number, state=states.FAIL)
        if state is not states.FAIL:
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    params=config_to_optuna(self._space, config),
                    distributions=self._distributions,
                    values=list(score.values) if isinstance(score, Standing) else [float(score)],
                    intermediate_values={} if self._of_many else {iteration: float(score)},
                    system_attrs=_constraints(score),
                )
            )


def optuna_limits(trial: Any) -> list[float]:
    """How far a trial is beyond each limit of the search, for a sampler of Optuna 4; at most 0 within.

    Samplers of Optuna 5 read that without being told to.

    >>> raysearch.sources.optuna_limits.__name__  # TPESampler(constraints_func=optuna_limits)
    'optuna_limits'
    """
    return list(trial.system_attrs.get(CONSTRAINTS, ()))


def _knows_limits(sampler: Any) -> bool:
    """Whether it reads constraints: from Optuna 5 on every sampler that can, before that if it is told to."""
    import optuna

    is_new = int(optuna.__version__.split(".")[0]) >= OPTUNA_READS
    return is_new or getattr(sampler, "_constraints_func", None) is not None


def _constraints(score: float) -> dict[str, Any]:
    """What Optuna's samplers read of a trial's constraints; nothing without limits."""
    excesses = score.excesses if isinstance(score, Standing) else ()
    return {CONSTRAINTS: list(excesses)} if excesses else {}
