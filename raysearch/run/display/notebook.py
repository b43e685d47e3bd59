"""The panel in a notebook: one output of the cell, drawn anew, with the notebook's own IPython."""

from __future__ import annotations

import importlib
import io
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from raysearch.engine.snapshot import Snapshot
from raysearch.run.display.panel import Screen
from raysearch.run.display.safe_console import SafeConsole
from raysearch.run.display.status_text import About

EVERY_S = 0.5  # between two drawings
COLUMNS = 100
FORM = '<pre style="white-space:pre;overflow-x:auto;line-height:normal;font-family:monospace">{code}</pre>'


def is_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookDisplay:
    """The panel as the output of the cell that called."""

    def __init__(self, about: About, now: Callable[[], float] = time.monotonic) -> None:
        self.last: Snapshot | None = None
        self._screen = Screen(about)
        self._now = now
        self._next = 0.0
        self._output: Any = None

    def __call__(self, status: Snapshot, note: str = "") -> None:
        """Draws the snapshot, if the last drawing is not of just now."""
        self.last = status
        self._screen.show(status, note)
        if self._now() >= self._next or status.ending:
            self._next = self._now() + EVERY_S
            self._draw()

    def __enter__(self) -> NotebookDisplay:
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()

    def _draw(self) -> None:
        console = SafeConsole(
            file=io.StringIO(), record=True, width=COLUMNS, force_jupyter=False, force_terminal=True,
            highlight=False, markup=False,
        )  # fmt: skip
        console.print(self._screen)
        html = console.export_html(inline_styles=True, code_format=FORM)
        shown = importlib.import_module("IPython.display")
        if self._output is None:
            self._output = shown.display(shown.HTML(html), display_id=True)
        else:
            self._output.update(shown.HTML(html))
