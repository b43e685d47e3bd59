"""Readers of the fields of a spec: from the user's value to that of SearchSpec.

A reader raises SpecError with the value and what is allowed; its caller adds the place of the field.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from raysearch.core import quantities
from raysearch.core.budget import POWERS, PRICES, Budget
from raysearch.core.segment import Mode
from raysearch.core.user_paths import user_path
from raysearch.core.values import as_number, plain, show
from raysearch.errors import SpecError, prefixed, unknown
from raysearch.spec.goals import read_limits, read_metric, read_objectives
from raysearch.spec.notify import read_notify
from raysearch.spec.program import read_program
from raysearch.spec.readers import members, not_negative, positive, whole
from raysearch.spec.scale import read_scale
from raysearch.spec.stop_when import read_stop_when
from raysearch.spec.workers import read_workers
from raysearch.storage.object_store import is_address, keyless, parse_address
from raysearch.strategies.base import Recipe

WANDB_MODES = ("auto", "offline", "off", "online")
WANDB_KEYS = ("entity", "group", "mode", "project", "tags")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}")
_PART = r"([^\W\d]\w*|<\w+>)"  # in <>: what cannot be found by its name (see spec.trainable_name)
_ATTRIBUTE = re.compile(rf"{_PART}(\.{_PART})*")


def _strategy(value: Any) -> Recipe:
    from raysearch.strategies import registry

    if isinstance(value, str):
        return registry.recipe(value, {})
    if isinstance(value, Mapping):
        settings = dict(value)
        name = settings.pop("name", None)
        if not isinstance(name, str):
            known = ", ".join(registry.names())
            raise SpecError(f"needs a name, such as {{name: caviar, samples: 100}}; known: {known}")
        with prefixed("strategy"):
            return registry.recipe(name, settings)
    if isinstance(value, type) or not isinstance(value, Recipe):
        raise SpecError(
            f"{value!r} is no strategy; give a name, a mapping with name, or a recipe such as Caviar(...)"
        )
    return value


def _trainable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return read_program(value).anchored(Path.cwd())
    if not isinstance(value, str):
        if callable(value):
            return value
        raise SpecError(f"{value!r} is neither a class, a function, nor text such as my_module:Trainable")
    module, colon, attribute = value.rpartition(":")
    if not colon or not module or not _ATTRIBUTE.fullmatch(attribute):
        raise SpecError(f"{value!r} is not of the form module:attribute or path/to/file.py:attribute")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise SpecError(
            f"{value!r} cannot name a folder; use up to 120 letters, digits, and . _ - (not first)"
        )
    return str(plain(value))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise SpecError(f"must be text, not {value!r}")
    return str(plain(value))


def _mode(value: Any) -> Mode:
    if value not in ("min", "max"):
        raise SpecError(unknown("mode", value, ("min", "max")))
    return cast(Mode, plain(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SpecError(f"must be true or false, not {value!r}")
    return value


def _storage(value: Any) -> str:
    text = _text(os.fspath(value) if isinstance(value, os.PathLike) else value)
    if is_address(text):
        return str(parse_address(text))
    user_path(text)  # refuses what no folder can be called
    return text


def _memory(value: Any) -> str:
    text = _text(os.fspath(value) if isinstance(value, os.PathLike) else value)
    if "://" in text:
        keyless(text)
    else:
        user_path(text)  # refuses what no folder can be called
    return text


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"must be a mapping, not {value!r}")
    return dict(plain(value))


def _budget(value: Any) -> Budget:
    if isinstance(value, Budget):
        value = dataclasses.asdict(value)
    amounts = dict.fromkeys(("hours", "gpu_hours", "cpu_hours", "money"), positive)
    readers = {**amounts, "trials": whole(1), "prices": _prices, "grace": _grace, "power": _power}
    return Budget(**members(value, "budget", readers))


def _prices(value: Any) -> dict[str, float]:
    return members(value, "budget.prices", dict.fromkeys(PRICES, not_negative))


def _power(value: Any) -> dict[str, float]:
    return members(value, "budget.power", dict.fromkeys(POWERS, not_negative))


def _grace(value: Any) -> float:
    return 0.0 if value == 0 else quantities.seconds(value)


def _part(value: Any) -> float:
    if not 0 < (number := as_number(value, "the value")) <= 1:
        raise SpecError(f"must be above 0 and at most 1 (0.5 is half of the cluster), not {show(number)}")
    return number


def _wandb(value: Any) -> dict[str, Any]:
    readers_by_key = dict.fromkeys(WANDB_KEYS, _text) | {"mode": _wandb_mode, "tags": _tags}
    return members({"mode": value} if isinstance(value, (str, bool)) else value, "wandb", readers_by_key)


def _wandb_mode(value: Any) -> str:
    mode = "off" if value is False or value == "disabled" else value  # YAML 1.1 reads off as false
    if mode not in WANDB_MODES:
        raise SpecError(unknown("mode", value, WANDB_MODES))
    return str(mode)


def _sinks(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)):
        raise SpecError(f"must be a list such as [tensorboard, mlflow], not {value!r}")
    return tuple(_text(name) for name in listed)


def _tags(value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"must be a list of texts, not {value!r}")
    return [_text(tag) for tag in value]


def _configs(value: Any) -> tuple[dict[str, Any], ...]:
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"must be a list of configurations, not {value!r}")
    return tuple(_mapping(config) for config in value)


def _fingerprint(value: Any) -> dict[str, Any]:
    given = _mapping(value)
    files = given.get("files", [])
    given["files"] = [files] if isinstance(files, str) else files
    if not isinstance(given["files"], list) or not all(isinstance(f, str) for f in given["files"]):
        raise SpecError(f"files must be a list of paths, not {files!r}")
    if "rows" in given:
        given["rows"] = whole(0)(given["rows"])
    return given if given["files"] else {k: v for k, v in given.items() if k != "files"}


READERS: dict[str, Callable[[Any], Any]] = {
    "name": _name,
    "trainable": _trainable,
    "metric": read_metric,
    "mode": _mode,
    "objectives": read_objectives,
    "limits": read_limits,
    "space": lambda value: value,
    "constraints": lambda value: value,
    "strategy": _strategy,
    "workers": read_workers,
    "storage": _storage,
    "storage_timeout": quantities.seconds,
    "budget": _budget,
    "stop_when": read_stop_when,
    "priority": positive,
    "max_share": _part,
    "seed": whole(0),
    "baseline": _mapping,
    "wandb": _wandb,
    "sinks": _sinks,
    "notify": read_notify,
    "isolate": _flag,
    "fuse": _flag,
    "stall_timeout": quantities.seconds,
    "retries": whole(0),
    "quota": quantities.size,
    "seed_as": _text,
    "config": _mapping,
    "fingerprint": _fingerprint,
    "memory": _memory,
    "known_good": _configs,
    "priors": _mapping,
    "scale": read_scale,
}
