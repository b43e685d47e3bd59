"""Environment variables that modules set as they are imported; they stay, since a module is imported once."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

_found: dict[str, str | None] = {}  # None: the module took the variable away
_is_watched = False


def watch() -> dict[str, str | None]:
    """The variables that modules have set since the first call, which goes on to know them."""
    global _is_watched
    if not _is_watched:
        sys.addaudithook(_note)
        _is_watched = True
    return _found


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("os.putenv", "os.unsetenv") and _is_importing(sys._getframe()):
        name, value = (*arguments, None)[:2]
        _found[os.fsdecode(name)] = None if value is None else os.fsdecode(value)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, and its own code, or what it calls, runs in this thread."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            spec = frame.f_globals.get("__spec__")
            if getattr(spec, "_initializing", False):
                return True
        frame = frame.f_back
    return False
