"""Output of commands: the console, JSON, files, remarks, and commands to type next."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.terminal_text import escaped, json_escaped
from raysearch.errors import without_keys

if TYPE_CHECKING:
    from raysearch.run.display.safe_console import SafeConsole


def console(stderr: bool = False) -> SafeConsole:
    """A rich console that prints text of users as it is, without markup."""
    from raysearch.run.display.safe_console import SafeConsole

    return SafeConsole(stderr=stderr, highlight=False, markup=False)


def tell(text: object = "", end: str = "\n", flush: bool = False) -> None:
    """Prints text on stdout; what a terminal would obey, such as escape codes, is written out."""
    print(escaped(str(text)), end=end, flush=flush)


def print_raw(text: str) -> None:
    """Prints what programs read, as it is; to a terminal like `tell`."""
    sys.stdout.write(escaped(text) if sys.stdout.isatty() else text)


def print_json(value: Any) -> None:
    """`value` on stdout; NaN and infinities become null, which every JSON reader takes."""
    print(json_escaped(json.dumps(_jsonable(value), indent=2, ensure_ascii=False, default=str)))


@contextlib.contextmanager
def writing(path: Path, option: str = "") -> Iterator[Path]:
    """Gives the name of a file beside `path` that takes its place if the block ends well.

    Raises:
        RunError: it cannot be written; what was there before is left as it was.
    """
    from raysearch.errors import RunError
    from raysearch.storage.atomic import replacing

    try:
        with replacing(path) as beside:
            yield beside
    except OSError as error:
        raise RunError(f"{option} {path}: cannot be written: {error.strerror or error}".strip()) from None


def say(text: str) -> None:
    """Prints a remark, without keys, to stderr, which keeps piped output clean."""
    print(escaped(without_keys(text)), file=sys.stderr)


def command(*words: str) -> str:
    """The command line of these words, quoted for a shell: `raysearch resume runs/x`."""
    return shlex.join(["raysearch", *words])


def _jsonable(value: Any) -> Any:
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(inner) for inner in value]
    return value
