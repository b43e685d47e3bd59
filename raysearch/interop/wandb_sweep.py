"""W&B sweep files, read as they are: `parameters: {lr: {distribution: uniform, min: 0, max: 1}}`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from raysearch.core.values import as_number, is_number
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

Form = Mapping[str, Any]
_KEYS = ("distribution", "value", "values", "probabilities", "min", "max", "mu", "sigma", "q", "a", "b")
_IGNORED = {
    "program": "the trainable is what trains",
    "command": "the trainable is what trains",
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


def read_parameters(parameters: Form, place: str = "parameters") -> dict[str, Any]:
    """A space's form, with domains as objects, of a sweep's `parameters`.

    Raises:
        LocatedError: naming the parameter that cannot be read.
    """
    form: dict[str, Any] = {}
    for name, parameter in parameters.items():
        at = f"{place}.{name}"
        with located(at):
            if not isinstance(parameter, Mapping):
                raise SpecError(f"must be a mapping, such as {{values: [1, 2]}} or {{value: {parameter!r}}}")
            nested = parameter.get("parameters")
            if isinstance(nested, Mapping):
                form[name] = read_parameters(nested, f"{at}.parameters")
            else:
                form[name] = read_parameter(parameter)
    return form


def read_parameter(form: Form) -> Domain:
    """The domain of one sweep parameter. Raises SpecError for a beta, and for what W&B does not know."""
    for key in form:
        if key not in _KEYS:
            raise SpecError(unknown("key of a sweep parameter", key, (*_KEYS, "parameters")))
    kind = form["distribution"] if "distribution" in form else _inferred(form)
    if kind in ("beta", "q_beta"):
        raise SpecError(f"distribution {kind!r} is not supported; use uniform or a cut normal in its place")
    if kind not in DISTRIBUTIONS:
        raise SpecError(unknown("distribution", kind, DISTRIBUTIONS))
    return DISTRIBUTIONS[kind](form)


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
    q = form.get("q", 1)
    if is_number(q) and q == int(q) and isinstance(q, int) and q > 0:
        first, last = math.ceil(low), math.floor(high)
        return (LogRandInt if log else RandInt)(max(first, 1) if log else first, last, None if q == 1 else q)
    return (LogUniform if log else Uniform)(low, high, q)


def _bell(form: Form, log: bool = False, stepped: bool = False) -> Domain:
    q = form.get("q", 1) if stepped else None
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

    `run_cap` becomes the strategy's samples, and the bounds of `early_terminate: hyperband` its
    iterations.

    Returns:
        What was left out, in words.
    """
    settings["space"] = read_parameters(settings.pop("parameters"))
    _read_metric(settings)
    strategy = _read_strategy(settings)
    if strategy:
        settings["strategy"] = strategy
    for key in ("project", "entity"):
        if key in settings:
            value = settings.pop(key)
            settings.setdefault("wandb", {}).setdefault(key, value)
    notes = []
    for key, why in _IGNORED.items():
        if key in settings:
            notes.append(f"{key}: {settings.pop(key)!r} of the W&B sweep is ignored: {why}")
    return notes


def _read_metric(settings: dict[str, Any]) -> None:
    metric = settings.get("metric")
    if not isinstance(metric, Mapping):
        return
    for key in metric:
        if key not in ("name", "goal", "target"):
            raise LocatedError(f"metric.{key}", unknown("key", key, ("name", "goal", "target")))
    goal = metric.get("goal", "minimize")
    modes = {"minimize": "min", "maximize": "max"}
    if goal not in modes:
        raise LocatedError("metric.goal", unknown("goal", goal, modes))
    settings["metric"] = metric.get("name")
    settings.setdefault("mode", modes[goal])


def _read_strategy(settings: dict[str, Any]) -> dict[str, Any]:
    """The strategy that a sweep's limits amount to, under what the settings say of it already."""
    given = settings.get("strategy", {})
    given = {"name": given} if isinstance(given, str) else given
    stop = settings.pop("early_terminate", None)
    stop = stop if isinstance(stop, Mapping) else {}
    found = {
        "samples": settings.pop("run_cap", None),
        "max_iterations": stop.get("max_iter"),
        "min_iterations": stop.get("min_iter"),
        "eta": stop.get("eta"),
    }
    if not isinstance(given, Mapping) or given.get("name", "caviar") != "caviar":
        return dict(given) if isinstance(given, Mapping) else {}
    known = {k: v for k, v in found.items() if v is not None}
    return {"name": "caviar", **known, **given} if known or given else {}
