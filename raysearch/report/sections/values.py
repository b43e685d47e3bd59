"""The parts of a report as values: sections with words, figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from raysearch.results.plots.style import note_of

if TYPE_CHECKING:
    import plotly.graph_objects as go


DIGITS = 5  # of a value in a table


@dataclass(frozen=True, slots=True)
class TextTable:
    """Rows of plain texts; columns whose positions are in `numeric` are set to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A figure and the text below it; `draw` makes it when it is first looked at."""

    name: str
    title: str
    draw: Callable[[], go.Figure]
    words: str = ""

    @cached_property
    def figure(self) -> go.Figure:
        """The figure."""
        return self.draw()

    @property
    def note(self) -> str:
        """How to read the figure, and what it leaves out."""
        return " ".join(part for part in (self.words, note_of(self.figure)) if part)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and below it words, pictures, tables and code, in this order.

    Attributes:
        steps: (why, the command to type) of what to do next.
    """

    key: str
    title: str
    words: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[TextTable] = ()
    code: str = ""
    steps: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """A number at the top of a report; `tone` is good, bad, warn or empty."""

    label: str
    value: str
    below: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Content:
    """All of a report."""

    name: str
    metric: str
    better: str
    headline: str
    tone: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    checks: Sequence[str] = field(default_factory=tuple)
