"""The text of an error that user code or a library raised, short, without keys and safe to get."""

from __future__ import annotations

import os
import sys
import traceback

from raysearch.errors import without_keys

TEXT_MAX = 2000  # characters of an error's text that are kept
TRACE_MAX = 20_000  # of a traceback


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
    """Prints the traceback of the current error to the worker's log, at most TRACE_MAX characters of it."""
    try:
        text = without_keys(traceback.format_exc())
    except Exception:  # noqa: BLE001  (an exception's own __str__ may raise)
        return
    print(text if len(text) < TRACE_MAX else f"{text[:TRACE_MAX]} ...", file=sys.stderr)
