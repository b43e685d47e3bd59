"""What a trial may change for its whole process: the next one finds it as the process's first trial did.

Not put back, since code that ran once relies on it or nobody can tell: `sys.path`, imported modules, what was
changed in them, the environment variables that they set as they were imported, signal handlers, threads and
child processes. `isolate: true` gives each trial a process of its own.
"""

from __future__ import annotations

import gc
import locale
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from raysearch.worker import set_by_modules

NAMES_TOLD = 5
OF_RAY = ("RAY_", "TUNE_")  # how environment variables begin that Ray changes as it likes


class Setting(NamedTuple):
    """A setting of this process: what it is called, how it is read and written."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _errors() -> tuple[Any, ...]:
    """The filters by which warnings are raised; others are added by modules as they are imported."""
    return tuple(each for each in warnings.filters if each[0] == "error")


def _put_errors_back(first: tuple[Any, ...]) -> None:
    warnings.filters[:] = [  # type: ignore[index]
        *(each for each in first if each not in warnings.filters),
        *(each for each in warnings.filters if each[0] != "error" or each in first),
    ]


def _log_levels() -> tuple[int, int]:
    return logging.root.level, logging.root.manager.disable


def _set_log_levels(levels: tuple[int, int]) -> None:
    logging.root.setLevel(levels[0])
    logging.disable(levels[1])


def _numpy_errors() -> Mapping[str, Any]:
    numpy = sys.modules.get("numpy")
    return numpy.geterr() if numpy is not None else {}


def _set_numpy_errors(errors: Mapping[str, Any]) -> None:
    if errors:
        sys.modules["numpy"].seterr(**errors)


def _set_argv(argv: tuple[str, ...]) -> None:
    sys.argv[:] = argv


def _locale() -> str:
    return locale.setlocale(locale.LC_ALL)


def _set_locale(name: str) -> None:
    locale.setlocale(locale.LC_ALL, name)


def _turn_gc(is_on: bool) -> None:
    (gc.enable if is_on else gc.disable)()


SETTINGS = (
    Setting("sys.argv", lambda: tuple(sys.argv), _set_argv),
    Setting("the filters that raise warnings", _errors, _put_errors_back),
    Setting("the root logger's level", _log_levels, _set_log_levels),
    Setting("NumPy's handling of errors", _numpy_errors, _set_numpy_errors),
    Setting("the locale", _locale, _set_locale),
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("the garbage collector", gc.isenabled, _turn_gc),
)


class ProcessSettings:
    """Knows what the first trial of this process found, and gives it to those that follow."""

    def __init__(self) -> None:
        self._first: tuple[Any, ...] | None = None
        self._environment: dict[str, str] = {}
        self._mapping: Mapping[str, str] = os.environ
        self._changed: set[str] = set()  # what the last trial but one had changed
        self._said: set[str] = set()

    def note(self) -> None:
        """The first trial begins: later ones find the settings as they are now."""
        if self._first is None:
            self._first = tuple(setting.read() for setting in SETTINGS)
            self._environment, self._mapping = dict(os.environ), os.environ
            set_by_modules.watch()

    def put_back(self) -> Iterator[str]:
        """Another trial begins, with code that sets what it needs; yields a remark where it may not have.

        Each trial of one code sets the same things. What one has set and the next one has not was set by
        code that runs once, or by that trial's configuration alone.
        """
        if self._first is None:
            return
        changed = {*self._put_settings_back(self._first), *self._put_environment_back()}
        missing, self._changed = sorted(self._changed - changed - self._said), changed
        if missing:
            self._said.update(missing)
            names = ", ".join(missing[:NAMES_TOLD]) + (", ..." if len(missing) > NAMES_TOLD else "")
            yield (
                f"a trial changed {names} for its whole process, and the trial after it, which found what "
                "the first one had found, did not. Set it in every trial that needs it, not in a module that "
                "a trial is the first to import; isolate: true gives each its own process"
            )

    def _put_settings_back(self, first: tuple[Any, ...]) -> Iterator[str]:
        for setting, before in zip(SETTINGS, first, strict=True):
            if setting.read() != before and before != {}:
                setting.write(before)
                yield setting.name

    def _put_environment_back(self) -> Iterator[str]:
        by_modules = set_by_modules.watch()
        is_same = os.environ is self._mapping  # else a trial put a plain dict there, which tells nobody
        for name in set_by_modules.changed() if is_same else {*os.environ, *self._environment}:
            before = by_modules[name] if name in by_modules else self._environment.get(name)
            if os.environ.get(name) == before or name.startswith(OF_RAY):
                continue
            if before is not None:
                os.environ[name] = before
            else:
                del os.environ[name]
            yield f"the environment variable {name}"
