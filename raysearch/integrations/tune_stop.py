"""`RunConfig.stop` of Ray Tune: how long trials train, when one is over, how long the search may take."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.stopper import (
    CombinedStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    TrialPlateauStopper,
)

from raysearch import ray_private
from raysearch.errors import SpecError
from raysearch.spec.trainables import is_class
from raysearch.worker.functions import ending_when

ITERATION = "training_iteration"
ALONE = (TrialPlateauStopper, FunctionStopper)  # they look at each trial alone
IsOver = Callable[[str, Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Stop:
    """What a `stop` comes to.

    Attributes:
        length: iterations that a trial trains at most; None for no such end.
        seconds: that the search may take.
        conditions: each called with (trial, result) after every iteration; True ends the trial.
        note: what is not as Ray has it, in words.
        form: the conditions as plain values: metric -> value for `of_metrics`; the name of a function or an
            object.
    """

    length: int | None = None
    seconds: float | None = None
    conditions: tuple[IsOver, ...] = ()
    note: str = ""
    form: tuple[Any, ...] = ()

    def applied(self, trainable: Any) -> Any:
        """The trainable, which ends where a condition is met."""
        if not self.conditions:
            return trainable
        is_over = functools.partial(_any_of, self.conditions)
        if is_class(trainable):
            return ending_when(trainable, is_over)
        ends = functools.partial(trainable)  # an object of its own, which can be marked
        ends.ends_when = is_over  # type: ignore[attr-defined]
        return ends


def read_stop(stop: Any) -> Stop:
    """What a `RunConfig.stop` says.

    >>> read_stop({"training_iteration": 9, "loss": 0.1}).length
    9

    Raises:
        SpecError: it looks at all trials together, or is nothing that Ray takes.
    """
    if stop is None or isinstance(stop, NoopStopper):
        return Stop()
    if isinstance(stop, Mapping):
        return of_metrics(stop)
    if isinstance(stop, (list, tuple)) and all(isinstance(one, Stopper) for one in stop):
        return together([read_stop(one) for one in stop])
    if isinstance(stop, CombinedStopper):
        return together([read_stop(one) for one in ray_private.settings_of(stop)["stoppers"]])
    if isinstance(stop, MaximumIterationStopper):
        return Stop(length=int(ray_private.settings_of(stop)["max_iter"]))
    if isinstance(stop, TimeoutStopper):
        return Stop(seconds=float(ray_private.settings_of(stop)["timeout_seconds"]))
    if isinstance(stop, ExperimentPlateauStopper):
        raise SpecError(
            "RunConfig.stop: an ExperimentPlateauStopper has no counterpart: it looks at all trials "
            "together; num_samples or time_budget_s ends the search"
        )
    if isinstance(stop, Stopper):
        note = "" if isinstance(stop, ALONE) else _NOT_ASKED.format(name=type(stop).__name__)
        return Stop(conditions=(stop,), note=note, form=(type(stop).__name__,))
    if callable(stop):
        return Stop(conditions=(stop,), form=(getattr(stop, "__name__", type(stop).__name__),))
    raise SpecError(
        f"RunConfig.stop: {stop!r} is neither {{'{ITERATION}': N}}, a function (trial_id, result) -> bool "
        "nor a Stopper"
    )


_NOT_ASKED = (
    "RunConfig.stop={name}: each worker asks a copy of its own about the trials that it trains; its stop_all "
    "is not asked"
)


def of_metrics(stop: Mapping[str, Any]) -> Stop:
    """A trial is over with the first result that has one of these values or more.

    Raises:
        SpecError: a value is no number.
    """
    for name, value in stop.items():
        if not isinstance(name, str) or isinstance(value, (Mapping, str)):
            raise SpecError(f"RunConfig.stop: {name!r}: {value!r} must be a number that the metric reaches")
    others = {name: value for name, value in stop.items() if name not in (ITERATION, "done")}
    length = int(stop[ITERATION]) if ITERATION in stop else None
    if not others:
        return Stop(length)
    form = {str(name): float(value) for name, value in others.items()}
    return Stop(length, conditions=(functools.partial(_reached, others),), form=(form,))


def together(found: list[Stop]) -> Stop:
    """All of them: a trial is over where one of them says so."""
    lengths = [one.length for one in found if one.length is not None]
    seconds = [one.seconds for one in found if one.seconds is not None]
    conditions = tuple(condition for one in found for condition in one.conditions)
    note = "; ".join(one.note for one in found if one.note)
    form = tuple(part for one in found for part in one.form)
    return Stop(min(lengths, default=None), min(seconds, default=None), conditions, note, form)


def _reached(goals: Mapping[str, Any], trial: str, result: Mapping[str, Any]) -> bool:
    """Whether a result has one of the values or more, whatever the mode: so Ray compares them."""
    return any((value := _at(result, name)) is not None and value >= goal for name, goal in goals.items())


def _at(result: Mapping[str, Any], name: str) -> Any:
    """A metric, which may be nested: `outer/inner`."""
    found: Any = result
    if name in result:
        return result[name]
    for part in name.split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _any_of(conditions: tuple[IsOver, ...], result: Mapping[str, Any]) -> bool:
    trial = str(result.get("trial_id", ""))
    met = [bool(condition(trial, result)) for condition in conditions]  # each sees every result
    return any(met)
