"""Settings of torch that hold for a whole process: a trial finds them as the process's first trial did."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from raysearch.worker.torch_import import is_imported


class Setting(NamedTuple):
    """What numbers depend on: what it is called, what a fresh torch has, how it is read and written."""

    name: str
    fresh: Any
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]


def _deterministic(torch: Any) -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _flag(name: str, fresh: bool) -> Setting:
    return Setting(
        f"backends.cudnn.{name}",
        fresh,
        lambda torch: getattr(torch.backends.cudnn, name),
        lambda torch, value: setattr(torch.backends.cudnn, name, value),
    )


OF_THREAD = ("gradients (on)", "default device")  # settings that hold for a thread alone
SETTINGS = (
    Setting(
        "default dtype",
        "float32",
        lambda torch: str(torch.get_default_dtype()).removeprefix("torch."),
        lambda torch, value: torch.set_default_dtype(getattr(torch, value)),
    ),
    Setting(
        "deterministic algorithms (on, as warnings)",
        (False, False),
        _deterministic,
        lambda torch, value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    Setting(
        "precision of float32 products",
        "highest",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, value: torch.set_float32_matmul_precision(value),
    ),
    Setting(
        OF_THREAD[0],
        True,
        lambda torch: torch.is_grad_enabled(),
        lambda torch, value: torch.set_grad_enabled(value),
    ),
    Setting(
        OF_THREAD[1],
        "cpu",
        lambda torch: str(torch.get_default_device()),
        lambda torch, value: torch.set_default_device(None if value == "cpu" else value),
    ),
    Setting(
        "detection of anomalies (on)",
        False,
        lambda torch: torch.is_anomaly_enabled(),
        lambda torch, value: torch.autograd.set_detect_anomaly(value),
    ),
    _flag("benchmark", False),
    _flag("deterministic", False),
)


class TorchSettings:
    """Knows what the first trial of this process found, and gives it to those that follow."""

    def __init__(self) -> None:
        self._first: tuple[Any, ...] | None = None
        self._said: set[str] = set()

    def note(self) -> None:
        """The first trial begins: later ones find the settings as they are now."""
        if self._first is None:
            fresh = tuple(setting.fresh for setting in SETTINGS)
            self._first = _read() if is_imported() else fresh

    def put_back(self) -> Iterator[str]:
        """Another trial begins, with a model and code that set what they need; yields remarks, each once."""
        if self._first is None or not is_imported():
            return
        now = _read()
        if now == self._first:
            return
        for setting, first, left in zip(SETTINGS, self._first, now, strict=True):
            if first == left:
                continue
            setting.write(sys.modules["torch"], first)
            if setting.name not in self._said:
                self._said.add(setting.name)
                yield (
                    f"a trial left torch's {setting.name} at {left} for the whole process: the next trial "
                    f"finds {first} again, as the first one did. Set it in every trial that needs it, not in "
                    "a module that a trial is the first to import; isolate: true gives each its own process"
                )


def in_force() -> dict[str, Any]:
    """The settings of this process, by name, that are not those of a fresh torch."""
    if not is_imported():
        return {}
    found = zip(SETTINGS, _read(), strict=True)
    return {s.name: now for s, now in found if now != s.fresh and s.name not in OF_THREAD}


def take_over(settings: Mapping[str, Any]) -> None:
    """Gives this process the settings that were in force in another one."""
    for setting in SETTINGS if settings else ():
        if setting.name in settings:
            setting.write(importlib.import_module("torch"), settings[setting.name])


def _read() -> tuple[Any, ...]:
    torch = sys.modules["torch"]
    return tuple(setting.read(torch) for setting in SETTINGS)
