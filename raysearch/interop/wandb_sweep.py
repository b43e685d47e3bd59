"""W&B sweep files, read as they are: `parameters: {lr: {distribution: uniform, min: 0, max: 1}}`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from raysearch.core.values import TUPLES, as_number, has_tuple
from raysearch.errors import LocatedError, SpecError, located, unknown
from raysearch.space.domains import (
    Choice,
    Domain,
    Fixed,
    LogNormal,
    LogRandInt,
    LogUniform,
    Normal,
    RandInt,
    Uniform,
)

NAME_MAX = 100  # characters of a run's name
Form = Mapping[str, Any]
_RUNGS = {"max_iter": "max_iterations", "min_iter": "min_iterations", "eta": "eta"}
_NO_RUNGS = {
    "s": "strategy.brackets says how many halvings run side by side",
    "strict": "only the best of each rung go on in any case",
}
_KEYS = ("distribution", "value", "values", "probabilities", "min", "max", "mu", "sigma", "q", "a", "b")
_IGNORED = {
    "method": "the strategy decides what to try",
    "controller": "the strategy decides what to try",
    "description": "a spec has none",
    "version": "it says nothing here",
    "job": "launching is raysearch's",
    "image_uri": "launching is raysearch's",
}


def is_sweep(settings: Mapping[str, Any]) -> bool:
    """Whether a mapping is a W&B sweep: it has `parameters`, and no `space`."""
    return isinstance(settings.get("parameters"), Mapping) and "space" not in settings


def read_parameters(
    parameters: Form, place: str = "parameters", notes: list[str] | None = None
) -> dict[str, Any]:
    """A space's form, with domains as objects, of a sweep's `parameters`.

    Args:
        notes: gets, in words, each entry that has no effect.

    Raises:
        LocatedError: naming the parameter that cannot be read.
    """
    form: dict[str, Any] = {}
    notes = [] if notes is None else notes
    for name, parameter in parameters.items():
        at = f"{place}.{name}"
        with located(at):
            if not isinstance(parameter, Mapping):
                raise SpecError(f"must be a mapping, such as {{values: [1, 2]}} or {{value: {parameter!r}}}")
            nested = parameter.get("parameters")
            if isinstance(nested, Mapping):
                form[name] = read_parameters(nested, f"{at}.parameters", notes)
                unread = [key for key in parameter if key != "parameters"]
            else:
                form[name] = read_parameter(parameter)
                unread = [key for key in parameter if key not in _read_by(_kind(parameter))]
            for key in unread:
                what = "a group" if isinstance(nested, Mapping) else f"distribution {_kind(parameter)}"
                notes.append(f"{at}.{key}: {parameter[key]!r} is ignored: {what} has no {key}")
            if has_tuple(parameter.get("values"), [parameter.get("value")]):
                notes.append(f"{at}: {TUPLES}")
    return form


def read_parameter(form: Form) -> Domain:
    """The domain of one sweep parameter. Raises SpecError for a beta, and for what W&B does not know."""
    for key in form:
        if key not in _KEYS:
            raise SpecError(unknown("key of a sweep parameter", key, (*_KEYS, "parameters")))
    kind = _kind(form)
    if kind in ("beta", "q_beta"):
        raise SpecError(f"distribution {kind!r} is not supported; use uniform or a cut normal in its place")
    if not isinstance(kind, str) or kind not in DISTRIBUTIONS:
        raise SpecError(unknown("distribution", kind, DISTRIBUTIONS))
    return DISTRIBUTIONS[kind](form)


def _kind(form: Form) -> Any:
    return form["distribution"] if "distribution" in form else _inferred(form)


def _read_by(kind: str) -> tuple[str, ...]:
    """The keys of a parameter that a distribution reads."""
    if kind == "constant":
        return ("distribution", "value")
    if kind.startswith("categorical"):
        return ("distribution", "values", "probabilities")
    ends = ("mu", "sigma") if kind.endswith("normal") else ("min", "max")
    return ("distribution", *ends, "q") if kind.startswith("q_") else ("distribution", *ends)


def _inferred(form: Form) -> str:
    """The distribution that W&B takes when none is named."""
    if "value" in form:
        return "constant"
    if "values" in form:
        return "categorical"
    if "min" in form and "max" in form:
        whole = all(isinstance(form[k], int) and not isinstance(form[k], bool) for k in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    if "mu" in form or "sigma" in form:
        return "normal"
    raise SpecError("says neither value, values, min and max, nor a distribution")


def _choice(form: Form) -> Domain:
    if "values" not in form:
        raise SpecError("a categorical parameter needs values")
    return Choice(form["values"], form.get("probabilities"))


def _constant(form: Form) -> Domain:
    if "value" not in form:
        raise SpecError("a constant parameter needs a value")
    return Fixed(form["value"])


def _bounds(form: Form, exponents: bool = False, inverse: bool = False) -> tuple[float, float]:
    """`min` and `max` of the values; with `exponents` they are given as natural logarithms."""
    low, high = (as_number(form.get(key, default), key) for key, default in (("min", 0.0), ("max", 1.0)))
    if inverse:
        low, high = -high, -low
    if not exponents:
        return low, high
    try:
        return math.exp(low), math.exp(high)
    except OverflowError:
        raise SpecError(
            f"min and max are exponents of e here, and e**{high:g} is too large; for bounds of the "
            "values themselves write log_uniform_values"
        ) from None


def _stepped(form: Form, low: float, high: float, log: bool = False) -> Domain:
    """Multiples of q, integers where q is one, as W&B gives them."""
    q = 1 if form.get("q") is None else as_number(form["q"], "q")
    if q > 0 and q == int(q) and not isinstance(form.get("q"), float):
        q = int(q)
        first, last = math.ceil(low), math.floor(high)
        return (LogRandInt if log else RandInt)(max(first, 1) if log else first, last, None if q == 1 else q)
    return (LogUniform if log else Uniform)(low, high, q)


def _bell(form: Form, log: bool = False, stepped: bool = False) -> Domain:
    q = (1 if form.get("q") is None else form["q"]) if stepped else None
    return (LogNormal if log else Normal)(form.get("mu", 0.0), form.get("sigma", 1.0), q=q)


DISTRIBUTIONS: dict[str, Callable[[Form], Domain]] = {
    "constant": _constant,
    "categorical": _choice,
    "categorical_w_probabilities": _choice,
    "int_uniform": lambda f: RandInt(f.get("min", 0), f.get("max", 1)),
    "uniform": lambda f: Uniform(*_bounds(f)),
    "q_uniform": lambda f: _stepped(f, *_bounds(f)),
    "log_uniform": lambda f: LogUniform(*_bounds(f, exponents=True)),
    "log_uniform_values": lambda f: LogUniform(*_bounds(f)),
    "inv_log_uniform": lambda f: LogUniform(*_bounds(f, exponents=True, inverse=True)),
    "inv_log_uniform_values": lambda f: LogUniform(*_bounds(f)),
    "q_log_uniform": lambda f: _stepped(f, *_bounds(f, exponents=True), log=True),
    "q_log_uniform_values": lambda f: _stepped(f, *_bounds(f), log=True),
    "normal": _bell,
    "q_normal": lambda f: _bell(f, stepped=True),
    "log_normal": lambda f: _bell(f, log=True),
    "q_log_normal": lambda f: _bell(f, log=True, stepped=True),
}


def sweep_to_spec(settings: dict[str, Any]) -> list[str]:
    """Turns a sweep's settings into a spec's, in place; entries that a spec has too are left alone.

    `program` and `command` stay, unless there is another trainable; `run_cap` becomes the strategy's
    samples, and the bounds of `early_terminate: hyperband` its iterations.

    Returns:
        What was left out, in words.
    """
    notes: list[str] = []
    settings["space"] = read_parameters(settings.pop("parameters"), notes=notes)
    _read_metric(settings, notes)
    strategy = _read_strategy(settings, notes)
    if strategy:
        settings["strategy"] = strategy
    _read_name(settings, notes)
    for key in ("project", "entity"):
        if key in settings:
            value = settings.pop(key)
            settings.setdefault("wandb", {}).setdefault(key, value)
    trained = dict.fromkeys(("program", "command"), "the trainable is what trains")
    for key, why in ({**(trained if settings.get("trainable") is not None else {}), **_IGNORED}).items():
        if key in settings:
            notes.append(f"{key}: {settings.pop(key)!r} of the W&B sweep is ignored: {why}")
    return notes


def _read_name(settings: dict[str, Any], notes: list[str]) -> None:
    """A sweep's name is free text, a run's is that of a folder."""
    name = settings.get("name")
    if not isinstance(name, str):
        return
    folder = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip(".-")[:NAME_MAX]
    if folder and folder != name:
        settings["name"] = folder
        notes.append(f"name: {name!r} of the W&B sweep cannot name a folder; the run is {folder!r}")


def _read_metric(settings: dict[str, Any], notes: list[str]) -> None:
    metric = settings.get("metric")
    if not isinstance(metric, Mapping):
        return
    for key in metric:
        if key not in ("name", "goal", "target"):
            raise LocatedError(f"metric.{key}", unknown("key", key, ("name", "goal", "target")))
    goal = metric.get("goal", "minimize")
    modes = {"minimize": "min", "maximize": "max"}
    if not isinstance(goal, str) or goal not in modes:
        raise LocatedError("metric.goal", unknown("goal", goal, modes))
    settings["metric"] = metric.get("name")
    if settings.setdefault("mode", modes[goal]) != modes[goal]:
        notes.append(_given_twice("metric.goal", goal, "mode", settings["mode"]))
    if metric.get("target") is not None:
        notes.append(
            f"metric.target: {metric['target']!r} of the W&B sweep is ignored: a search ends with its "
            "samples or its budget, not at a value"
        )


def _given_twice(key: str, value: Any, ours: str, kept: Any) -> str:
    return f"{key}: {value!r} of the W&B sweep is ignored: {ours} says {kept!r}"


def _read_strategy(settings: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The strategy that a sweep's limits amount to, under what the settings say of it already."""
    given = settings.get("strategy", {})
    given = {"name": given} if isinstance(given, str) else given
    found = {"run_cap": ("samples", settings.pop("run_cap", None)), **_read_stop(settings, notes)}
    found = {key: (ours, value) for key, (ours, value) in found.items() if value is not None}
    if not isinstance(given, Mapping):
        return {}
    name = given.get("name", "caviar")
    if name != "caviar":
        for key, (_, value) in found.items():
            notes.append(
                f"{key}: {value!r} of the W&B sweep is ignored: it is a limit of caviar, not of {name}"
            )
        return dict(given)
    for key, (ours, value) in found.items():
        if ours in given and given[ours] != value:
            notes.append(_given_twice(key, value, f"strategy.{ours}", given[ours]))
    known = dict(found.values())
    return {"name": "caviar", **known, **given} if known or given else {}


def _read_stop(settings: dict[str, Any], notes: list[str]) -> dict[str, tuple[str, Any]]:
    """What `early_terminate` says of rungs: for each of its keys our name, and the value."""
    stop = settings.pop("early_terminate", None)
    if stop is None:
        return {}
    if not isinstance(stop, Mapping):
        notes.append(f"early_terminate: {stop!r} of the W&B sweep is ignored: it is no mapping")
        return {}
    kind = stop.get("type", "hyperband")
    if kind != "hyperband":
        notes.append(
            f"early_terminate: {dict(stop)!r} of the W&B sweep is ignored: of its types only hyperband has a "
            "counterpart; strategy.max_iterations and eta say how trials are halved"
        )
        return {}
    for key, value in stop.items():
        if key not in _RUNGS and key != "type":
            why = _NO_RUNGS.get(key) or unknown("key", key, ("type", *_RUNGS, *_NO_RUNGS))
            notes.append(f"early_terminate.{key}: {value!r} of the W&B sweep is ignored: {why}")
    return {f"early_terminate.{key}": (ours, stop.get(key)) for key, ours in _RUNGS.items()}
