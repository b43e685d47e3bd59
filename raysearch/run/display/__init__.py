"""How a search looks while it runs; `following` shows it to who called it from Python."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raysearch.run.options import How
    from raysearch.spec.search_spec import SearchSpec


@contextlib.contextmanager
def following(spec: SearchSpec, how: How) -> Iterator[How]:
    """Shows a search on the terminal while the block runs it; gives the `How` to run it with.

    Nothing is shown without a terminal, where `how.progress` is false, or where the caller listens himself.
    """
    if how.on_status is not None or not how.progress:
        yield how
        return
    from raysearch.run.display.safe_console import SafeConsole

    console = SafeConsole(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield how
        return
    from raysearch.run.display.panel import display_for
    from raysearch.run.display.status_text import about
    from raysearch.run.location import run_folder

    display = display_for(console, about(run_folder(spec), spec), shared=how.executor == "inline")
    with display:
        yield dataclasses.replace(how, on_status=display)
