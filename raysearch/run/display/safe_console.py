"""A rich console to which names and messages of others do nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from raysearch.core.terminal_text import escaped

FOLDED = 12  # columns of the screen that a cell has at least, into which its text is folded
WIDEST = 1_000_000


class SafeConsole(Console):
    """A console that writes control characters out; its own colours and cursor movements stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, their text escaped."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else escaped(segment.text)
            yield Segment(text, segment.style, segment.control)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as rich's text, escaped before it is measured: rich drops some control characters."""
        return super().render_str(escaped(text), **options)

    def print_table(self, table: Table) -> None:
        """Prints a table of which nothing is cut off: long cells are folded, and where even that does not
        fit, lines are longer than the screen.
        """
        for column in table.columns:
            column.overflow = column.overflow if column.no_wrap else "fold"
        least = 0
        for column in table.columns:
            cells = [column.header, *column.cells]
            widths = [
                Measurement.get(self, self.options.update(max_width=WIDEST), cell).maximum for cell in cells
            ]
            longest = max(widths)
            least += longest if column.no_wrap else min(longest, FOLDED)
            least += table.padding[1] + table.padding[3]
        if least > self.width:
            table.width = least
        self.print(table, crop=False)


def safe_text(text: str, style: str = "") -> Text:
    """Text for a cell, escaped: rich itself drops some control characters without a word."""
    return Text(escaped(text), style)
