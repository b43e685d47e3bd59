"""Optuna: an objective that suggests as it goes is searched as it is.

    from raysearch.integrations.optuna import search

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        for epoch in range(30):
            loss = train_one_epoch(lr)
            trial.report(loss, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    results = search(objective, samples=100, max_iterations=30)  # was: study.optimize(objective, 100)

The space is found by calling the objective a few times up to its first report: once, and once more for each
other value of a category or of a small whole number, so that hyper-parameters which are suggested only then
are found with their condition. Each report is an iteration; `report` does not return where the strategy stops
the trial, so `should_prune()` is always False, and what an objective returns after reports is not read. A
number that `set_user_attr("k", ...)` gave stands in the reports after it as `user_attrs_k`.
"""

from __future__ import annotations

import functools
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from raysearch.core.segment import Mode
from raysearch.core.values import show
from raysearch.errors import SpecError, TrainableError
from raysearch.integrations import session
from raysearch.interop.read_space import read_space
from raysearch.space.conditions import Condition, Test
from raysearch.space.space import Space

__all__ = ["search", "space_of", "trainable_of"]

Objective = Callable[[Any], Any]
METRIC = "value"
ATTRIBUTES = "user_attrs_"  # before the names of user attributes, as in Optuna's own frames
FEW = 8  # values of a whole number, each of which is tried for what is suggested with it
TRACES = 100  # calls of an objective for its space, at most


def search(
    objective: Objective, *, samples: int = 100, max_iterations: int = 1, mode: Mode = "min",
    space: Any = None, strategy: Any = None, **settings: Any,
) -> Any:  # fmt: skip
    """The `raysearch.Results` of a search with an Optuna objective; its metric is `value`.

    Args:
        objective: gets a trial with `suggest_*`, `report`, `should_prune`; returns its value.
        samples: configurations to try.
        max_iterations: reports of a whole training; 1 for an objective that only returns its value.
        mode: "min" or "max": which direction of the value is better.
        space: in place of the one that is found by calling the objective.
        strategy: in place of `raysearch.Caviar` that stops trials.
        settings: others of `raysearch.search`, such as `name`, `workers`, `baseline`, `executor`.

    Raises:
        SpecError: the objective's space cannot be found, or a setting is wrong; nothing has started.
        RunError: the search ended with an error.
    """
    import raysearch

    found = space_of(objective) if space is None else space
    if strategy is None:
        strategy = raysearch.Caviar(samples, max_iterations, variant="stopping")
    train = trainable_of(objective)
    return raysearch.search(train, space=found, metric=METRIC, mode=mode, strategy=strategy, **settings)


def trainable_of(objective: Objective) -> Callable[[dict[str, Any]], None]:
    """A function trainable that runs the objective with a trial of the search's values."""

    def train(config: dict[str, Any]) -> None:
        trial = _Trial(dict(config), _number())
        try:
            value = objective(trial)
        except optuna.TrialPruned:
            value = math.nan  # where it comes before the first report: a trial without a value, not a fault
        if not trial.has_reported:
            trial.report(value, 0)

    train.__name__ = getattr(objective, "__name__", "objective")
    train.saves_checkpoints = False  # type: ignore[attr-defined]
    return train


class _Trial(optuna.trial.FixedTrial):  # type: ignore[misc]
    """A trial whose values are given, and whose reports are the search's iterations."""

    has_reported = False

    def set_user_attr(self, key: str, value: Any) -> None:
        """Has the reports from now on hold it, if it is a number; says so if it is none."""
        super().set_user_attr(key, value)
        if not session.numbers({key: value}) and session.is_searching():
            _say_lost(key)

    def report(self, value: Any, step: int) -> None:
        """An iteration; does not return where the search ends the trial."""
        self.has_reported = True
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TrainableError(f"the objective's value is {value!r}; it must be one number") from None
        if session.is_searching():
            from ray import tune

            attributes = session.numbers(self.user_attrs)
            named = {f"{ATTRIBUTES}{name}": number for name, number in attributes.items()}
            tune.report({METRIC: number, "step": step, **named})


@functools.cache
def _say_lost(key: str) -> None:
    """Logs, once a process, that the values of a user attribute are not kept."""
    logging.getLogger(__name__).warning("set_user_attr(%r, ...): what is no number is not kept", key)


def _number() -> int:
    """The trial's number in the search; 0 outside of one."""
    if not session.is_searching():
        return 0
    from ray import tune

    return int(tune.get_context().get_trial_id())


# ---- the space


def space_of(objective: Objective) -> Space:
    """The space of what an objective suggests up to its first report, conditions included.

    >>> def objective(trial):
    ...     if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
    ...         return trial.suggest_float("momentum", 0.0, 0.9)
    ...     return 0.0
    >>> space_of(objective).to_dict()["momentum"]
    {'uniform': [0.0, 0.9], 'when': {'optimizer': 'sgd'}}

    Raises:
        SpecError: nothing is suggested, or one name with several ranges; or the objective itself fails.
    """
    traces = [*_traces(objective)]
    distributions: dict[str, BaseDistribution] = {}
    for trace in traces:
        for name, distribution in trace.distributions.items():
            if distributions.setdefault(name, distribution) != distribution:
                raise SpecError(
                    f"objective: {name!r} is suggested as {distributions[name]} and as {distribution}; give "
                    "the two names of their own, or the whole space: search(objective, space=...)"
                )
    if not distributions:
        raise SpecError("objective: it suggests nothing before its first report; give space=...")
    plain, _ = read_space(distributions)
    conditions = {name: when for name in distributions if (when := _condition(name, traces)) is not None}
    return Space(plain.domains, conditions)


class _Enough(BaseException):
    """The objective has reported: all that comes before training was suggested."""


@dataclass(slots=True)
class _Trace:
    """What an objective suggested in one call: values and their distributions, in order."""

    values: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)


class _Tracer(optuna.trial.FixedTrial):  # type: ignore[misc]
    """Gives the forced values, and of the others the first or the middle; ends at the first report."""

    def __init__(self, forced: Mapping[str, Any]) -> None:
        super().__init__({})
        self.trace = _Trace()
        self._forced = forced

    @property
    def params(self) -> dict[str, Any]:
        """What was suggested so far."""
        return dict(self.trace.values)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The middle of the range."""
        found = optuna.distributions.FloatDistribution(low, high, log=log, step=step)
        middle = (low * high) ** 0.5 if log else low if step else (low + high) / 2
        return float(self._given(name, found, middle))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """The lowest."""
        return int(self._given(name, IntDistribution(low, high, log=log, step=step), low))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """The first."""
        found = CategoricalDistribution(choices)
        return self._given(name, found, found.choices[0])

    def report(self, value: Any, step: int) -> None:
        """Ends the call."""
        raise _Enough

    def _given(self, name: str, distribution: BaseDistribution, value: Any) -> Any:
        self.trace.distributions.setdefault(name, distribution)
        return self.trace.values.setdefault(name, self._forced.get(name, value))


def _traces(objective: Objective) -> Iterator[_Trace]:
    """Calls of the objective that see each value of each category, and of each small whole number."""
    waiting: list[dict[str, Any]] = [{}]
    known: set[tuple[str, str]] = set()
    for _ in range(TRACES):
        if not waiting:
            return
        trace = _traced(objective, waiting.pop(0))
        yield trace
        before: dict[str, Any] = {}
        for name, distribution in trace.distributions.items():
            for value in _values(distribution):
                if (name, repr(value)) not in known:
                    known.add((name, repr(value)))
                    if value != trace.values[name]:
                        waiting.append({**before, name: value})
            before[name] = trace.values[name]
    warnings.warn(
        f"objective: {TRACES} calls did not see all of its branches; what they did not see is refused when "
        "it is suggested. Give the whole space: search(objective, space=...)",
        stacklevel=2,
    )


def _traced(objective: Objective, forced: Mapping[str, Any]) -> _Trace:
    tracer = _Tracer(forced)
    try:
        objective(tracer)
    except (_Enough, optuna.TrialPruned):
        pass
    except Exception as error:
        values = ", ".join(f"{name}={show(value)}" for name, value in tracer.trace.values.items())
        raise SpecError(
            f"objective: failed with {type(error).__name__}: {error} (suggested: {values}) while its space "
            "was looked for; give it: search(objective, space=...)"
        ) from error
    return tracer.trace


def _values(distribution: BaseDistribution) -> tuple[Any, ...]:
    """The values on which it may depend what else is suggested."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    if isinstance(distribution, IntDistribution) and not distribution.log:
        found = range(distribution.low, distribution.high + 1, distribution.step)
        return tuple(found) if len(found) <= FEW else ()
    return ()


def _condition(name: str, traces: list[_Trace]) -> Condition | None:
    """When a hyper-parameter is there: where another one has one of some values; None if always.

    Where no single other one decides, it is always drawn, and used where the objective asks for it.
    """
    if all(name in trace.values for trace in traces):
        return None
    first = next(trace for trace in traces if name in trace.values)
    for other in [*first.values][: [*first.values].index(name)][::-1]:
        seen: dict[str, set[bool]] = {}
        for trace in traces:
            if other in trace.values:
                seen.setdefault(repr(trace.values[other]), set()).add(name in trace.values)
        without = any(name in trace.values for trace in traces if other not in trace.values)
        if not without and all(len(found) == 1 for found in seen.values()) and len(seen) > 1:
            values = {repr(t.values[other]): t.values[other] for t in traces if other in t.values}
            having = tuple(value for key, value in values.items() if seen[key] == {True})
            return Condition(((Test(other, "in", having),),))
    return None
