"""Which environment variables were set since trials began; those that modules set as they are imported stay.

A module is imported once, and cannot set them again for the next trial.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

_found: dict[str, str | None] = {}  # None: the module took the variable away
_changed: set[str] = set()
_is_watched = False


def watch() -> dict[str, str | None]:
    """The variables that modules have set since the first call, which goes on to know them."""
    global _is_watched
    if not _is_watched:
        sys.addaudithook(_note)
        _is_watched = True
    return _found


def changed() -> list[str]:
    """The variables that anything has set or taken away by `os.environ` since the first call of `watch`.

    Looking at these takes a small part of the time that a copy of `os.environ` takes, which decodes all.
    """
    return [*_changed]


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("os.putenv", "os.unsetenv"):
        name = os.fsdecode(arguments[0])
        _changed.add(name)
        if _is_importing(sys._getframe()):
            _found[name] = None if event == "os.unsetenv" else os.fsdecode(arguments[1])


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, and its own code, or what it calls, runs in this thread."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            spec = frame.f_globals.get("__spec__")
            if getattr(spec, "_initializing", False):
                return True
        frame = frame.f_back
    return False
