"""A rich console to which names and messages of others do nothing."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from raysearch.core.terminal_text import escaped


class SafeConsole(Console):
    """A console that writes control characters out; its own colours and cursor movements stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, their text escaped."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else escaped(segment.text)
            yield Segment(text, segment.style, segment.control)
