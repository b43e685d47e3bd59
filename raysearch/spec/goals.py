"""The spec's `objectives` and `limits`: read, and checked against its other fields.

    objectives: {val_loss: min, latency_ms: min}     # in place of metric and mode; the first one leads
    limits: ["latency_ms <= 20", "memory_gb < 16"]   # on reported values

One objective is the same as `metric` and `mode`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from raysearch.core.reserved_names import RAYS_OWN
from raysearch.core.segment import Mode
from raysearch.core.values import plain
from raysearch.errors import LocatedError, SpecError, located, unknown
from raysearch.space.limits import Limit
from raysearch.space.names import dotted
from raysearch.space.objectives import Objectives

MODES = ("min", "max")
EXAMPLE = "such as {val_loss: min, latency_ms: min}"


def read_metric(value: Any) -> str:
    """The name of a metric. Raises SpecError for what is none, or is Ray Tune's own."""
    if not isinstance(value, str) or not value:
        raise SpecError(f"must be text, not {value!r}")
    if (metric := str(plain(value))) in RAYS_OWN:
        raise SpecError(
            f"{metric!r} is Ray Tune's own entry of every report and is not kept as a metric; report your "
            "value under another name, such as val_loss"
        )
    return metric


def read_objectives(value: Any) -> dict[str, Mode]:
    """Objective -> min or max, in the order given. Raises SpecError for anything else."""
    if not isinstance(value, Mapping) or not value:
        raise SpecError(f"must be a mapping of metrics to min or max, {EXAMPLE}, not {value!r}")
    found: dict[str, Mode] = {}
    for name, mode in value.items():
        metric = read_metric(name)
        if mode not in MODES:
            raise SpecError(f"{metric}: {unknown('mode', mode, MODES)}")
        found[metric] = cast(Mode, plain(mode))
    return found


def read_limits(value: Any) -> tuple[Limit, ...]:
    """The limits in a list of texts, or one text. Raises SpecError for what is no limit."""
    listed = [value] if isinstance(value, (str, Limit)) else value
    if not isinstance(listed, (list, tuple)):
        raise SpecError(f"must be a list such as ['latency_ms <= 20'], not {value!r}")
    limits = tuple(one if isinstance(one, Limit) else Limit(one) for one in listed)
    for limit in limits:
        for name in sorted(limit.names):
            read_metric(name)
    if len({limit.text for limit in limits}) < len(limits):
        raise SpecError(f"a limit is given twice: {', '.join(repr(limit.text) for limit in limits)}")
    return limits


def take_objectives(given: dict[str, Any]) -> None:
    """Sets `metric` and `mode` of given settings to those of the first objective, where there are objectives.

    A single objective is left out afterwards: it is metric and mode.

    Raises:
        LocatedError: `objectives` is wrong, or `metric` or `mode` stands beside it.
    """
    if given.get("objectives") is None:
        return
    for key in ("metric", "mode"):
        if given.get(key) is not None:
            raise LocatedError(
                key, "stands beside objectives, which name every metric and its mode: leave it out"
            )
    with located("objectives"):
        objectives = read_objectives(given["objectives"])
    given["metric"], given["mode"] = next(iter(objectives.items()))
    given["objectives"] = objectives if len(objectives) > 1 else None


def check_goals(
    goals: Objectives, metric: str, mode: str, known: Collection[str], constants: Collection[str]
) -> None:
    """Raises LocatedError where objectives and limits contradict the other fields of a spec.

    Args:
        known: names of hyper-parameters, with `/` between group and member.
        constants: of `config`.
    """
    if (goals.leading, goals.modes[goals.leading]) != (metric, mode):
        raise LocatedError("objectives", f"the first is not metric {metric!r} with mode {mode!r}; it must be")
    for number, limit in enumerate(goals.limits):
        for name in sorted(limit.names - set(goals.modes)):
            if name in known:
                why = "is a hyper-parameter; a condition on it stands under constraints"
            elif name in constants:
                why = "is a constant, an entry of config: no training changes it"
            else:
                continue
            raise LocatedError(f"limits[{number}]", f"{limit.text!r}: {dotted(name)} {why}")
