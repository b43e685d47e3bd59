"""How a search looks while it runs; `following` shows it to who called it from Python."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raysearch.engine.snapshot import Snapshot
    from raysearch.run.options import How
    from raysearch.spec.search_spec import SearchSpec


@contextlib.contextmanager
def following(spec: SearchSpec, how: How) -> Iterator[How]:
    """Shows a search while the block runs it; gives the `How` to run it with.

    A panel on a terminal and in a notebook, lines on stderr elsewhere. Nothing is shown where `how.progress`
    is false, or where the caller listens himself.
    """
    if how.on_status is not None or not how.progress:
        yield how
        return
    from raysearch.run.display.notebook import NotebookDisplay, is_notebook
    from raysearch.run.display.panel import PlainDisplay, display_for
    from raysearch.run.display.safe_console import SafeConsole
    from raysearch.run.display.status_text import about
    from raysearch.run.location import run_folder

    console, what = SafeConsole(stderr=True, highlight=False, markup=False), about(run_folder(spec), spec)
    if is_notebook():
        with NotebookDisplay(what) as panel:
            yield dataclasses.replace(how, on_status=panel)
    elif console.is_terminal:
        with display_for(console, what, shared=how.executor == "inline") as display:
            yield dataclasses.replace(how, on_status=display)
    else:
        warn = how.listener()  # warnings go where the caller wants lines
        with PlainDisplay(console, what, warns=False, starts=True) as lines:

            def both(status: Snapshot) -> None:
                warn(status)
                lines(status)

            yield dataclasses.replace(how, on_status=both)
