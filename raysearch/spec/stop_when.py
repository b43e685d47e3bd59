"""The reader of a spec's field `stop_when`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysearch.core.stop_when import CostUnit, StopWhen
from raysearch.core.values import as_number
from raysearch.errors import SpecError
from raysearch.spec.readers import members, positive

FORM = "{gain_below: 0.002, cost: {gpu_hours: 5}}"


def read_stop_when(value: Any) -> StopWhen | None:
    """The rule of `{gain_below: 0.002, cost: 5}`, `{gain_below: 1%, cost: {kwh: 3}}`; None for off.

    Raises:
        SpecError: it is none of these, or a part is missing.
        LocatedError: a part is wrong.
    """
    if value is False or value == "off":  # YAML 1.1 reads off as false
        return None
    if isinstance(value, StopWhen):
        value = value.to_dict()
    if not isinstance(value, Mapping):
        raise SpecError(f"must be off, or a mapping such as {FORM}, not {value!r}")
    found = members(value, "stop_when", {"gain_below": _gain, "cost": _cost})
    for name in ("gain_below", "cost"):
        if name not in found:
            raise SpecError(f"{name} is missing: give both, such as {FORM}")
    (gain, relative), (cost, unit) = found["gain_below"], found["cost"]
    return StopWhen(gain, cost, unit, relative)


def _gain(value: Any) -> tuple[float, bool]:
    """The gain, and whether it is a share of the best value."""
    if not isinstance(value, str) or not value.strip().endswith("%"):
        return positive(value), False
    percent = as_number(_float(value.strip()[:-1], value), "the value")
    if not 0 < percent < 100:
        raise SpecError(f"must be above 0% and below 100%, not {value}")
    return percent / 100, True


def _cost(value: Any) -> tuple[float, CostUnit]:
    """How much, and of what."""
    if not isinstance(value, Mapping):
        return positive(value), CostUnit.DEVICE_HOURS
    units = [unit.value for unit in CostUnit]
    found = members(value, "stop_when.cost", dict.fromkeys(units, positive))
    if len(found) != 1:
        raise SpecError(f"must be a number of device hours, or one of {', '.join(units)}, not {value!r}")
    ((name, amount),) = found.items()
    return amount, CostUnit(name)


def _float(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"{whole!r} is neither a number nor a percentage such as 1%") from None
