"""The text of an error that user code or a library raised, short, without keys and safe to get."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from raysearch.errors import TrainableError, without_keys

TEXT_MAX = 2000  # characters of an error's text that are kept
TRACE_MAX = 20_000  # of a traceback
LAST = 2  # frames of a library that are shown where it raised the error
FULL = "RAYSEARCH_FULL_TRACEBACK"
INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
PYTHON = sysconfig.get_path("stdlib") + os.sep
_HERE = Path(__file__).parents[1]
OURS = tuple(
    str(one) + os.sep for one in (_HERE, *((_HERE / name).resolve() for name in ("strategies", "cluster")))
)


def in_words(error: BaseException) -> str:
    """`ValueError: its text`, short, without keys and control characters; never raises."""
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001  (an exception's own __str__ may raise)
        text = f"(its text cannot be had: {type(second).__name__})"
    text = without_keys(text)
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    if len(text) > TEXT_MAX:
        text = f"{text[:TEXT_MAX]} ... ({len(text):,} characters)"
    return f"{type(error).__name__}: {text}{_hint(error)}"


def _hint(error: BaseException) -> str:
    if not isinstance(error, FileNotFoundError) or os.path.isabs(str(error.filename or os.sep)):
        return ""
    if os.environ.get("RAY_CHDIR_TO_TRIAL_DIR") == "0":
        return ""
    return " (a worker trains in a folder of its own: give an absolute path)"


def print_traceback() -> None:
    """Prints the traceback of the current error to the worker's log, at most TRACE_MAX characters of it.

    It has the frames of the user's own code, and where a library raised the error its last ones; how many
    were left out between is said. The environment variable RAYSEARCH_FULL_TRACEBACK=1 has them all printed.
    """
    try:
        text = without_keys(short_traceback(sys.exc_info()[1]))
    except Exception:  # noqa: BLE001  (an exception's own __str__ may raise)
        return
    print(text if len(text) < TRACE_MAX else f"{text[:TRACE_MAX]} ...", file=sys.stderr)


def short_traceback(error: BaseException | None) -> str:
    """The traceback of an error and of its causes, without the frames of libraries around the user's code."""
    if error is None or os.environ.get(FULL, "0") != "0":
        return "" if error is None else "".join(traceback.format_exception(error))
    told = traceback.TracebackException.from_exception(error)
    if getattr(told, "exceptions", None) is not None:  # a group, whose members have tracebacks of their own
        return "".join(told.format())
    if isinstance(error, TrainableError) and error.__cause__ is None and all(map(_is_library_s, told.stack)):
        return "".join(told.format_exception_only())  # where is not the user's
    return "".join(_told(told))


def _told(one: traceback.TracebackException) -> Iterator[str]:
    """The lines of an error, after those of what caused it."""
    if one.__cause__ is not None:
        yield from _told(one.__cause__)
        yield "\nThe above exception was the direct cause of the following exception:\n\n"
    elif one.__context__ is not None and not one.__suppress_context__:
        yield from _told(one.__context__)
        yield "\nDuring handling of the above exception, another exception occurred:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from _frames([*one.stack])
    yield from one.format_exception_only()


def _frames(stack: list[traceback.FrameSummary]) -> Iterator[str]:
    """The user's frames, and the last of a library that they called; all where none is the user's."""
    own = [number for number, frame in enumerate(stack) if _package(frame.filename) is None]
    if not own:
        yield from traceback.StackSummary.from_list(stack).format()
        return
    shown = {*own, *range(max(own[-1] + 1, len(stack) - LAST), len(stack))}
    left_out: list[str] = []
    for number in range(own[0], len(stack)):
        if number not in shown:
            left_out.append(_package(stack[number].filename) or "")
            continue
        if left_out:
            yield f"  ... {len(left_out)} frames of {', '.join(dict.fromkeys(left_out))}\n"
            left_out = []
        yield from traceback.StackSummary.from_list([stack[number]]).format()


def _is_library_s(frame: traceback.FrameSummary) -> bool:
    return _package(frame.filename) is not None


def _package(file: str) -> str | None:
    """The library that a file belongs to; None for the user's own, and for raysearch's examples."""
    if file.startswith("<frozen"):
        return "Python"
    path = os.path.abspath(file)
    for mark in INSTALLED:
        if mark in path:
            return path.partition(mark)[2].partition(os.sep)[0].removesuffix(".py")
    if path.startswith(OURS) and f"{os.sep}examples{os.sep}" not in path:
        return "raysearch"
    return "Python" if path.startswith(PYTHON) else None
