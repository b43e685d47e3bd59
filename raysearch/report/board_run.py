"""A run as the board shows it: a headline and numbers that are pushed, figures that are drawn when asked for.

A look at the journal decodes what is new. A figure of a run that grows is drawn anew at most for a share of
the time, so that the slow ones wait and the numbers do not.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.core.terminal_text import escaped
from raysearch.report.html import figure_json, tile
from raysearch.report.sections.content import opening_of, pictures_of
from raysearch.report.sections.values import Picture
from raysearch.results.growing import GrowingJournal, JournalLook
from raysearch.results.results import Results
from raysearch.run.liveness import run_by
from raysearch.storage.paths import RunPaths

LEAST_S = 1.0  # between two looks at a journal; longer where a look takes long
REST = 4  # times as long as a look or a figure took, before it is made again
FIGURES = (
    *("progress", "front", "hypervolume", "rungs", "curves", "parallel", "importance", "timeline"),
    *("schedules", "lineage"),
)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A figure, of which version of the run it is, and when it may be drawn anew (of the monotonic clock)."""

    text: str
    note: str
    version: int
    again_at: float

    @property
    def mark(self) -> str:
        """Tells whether two drawings are the same."""
        return hashlib.sha256(f"{self.note}\0{self.text}".encode()).hexdigest()[:16]


class WatchedRun:
    """A run that the board follows; its version counts the changes.

    Args:
        least_s: seconds between two looks at the journal, or two drawings of a figure.
        rest: times as long as one took, before it is made again; where that is more.
    """

    def __init__(self, run: Path, least_s: float = LEAST_S, rest: float = REST) -> None:
        self.run = run
        self._least_s, self._rest = least_s, rest
        self._journal = GrowingJournal(RunPaths(run).journal)
        self._latest: JournalLook | None = None
        self._seen: tuple[int, str | None] | None = None  # inode of the journal, and who runs the run
        self._head: dict[str, Any] = {}
        self._pictures: dict[str, Picture] = {}
        self._drawn: dict[str, _Drawn] = {}
        self._version = 0
        self._next = 0.0
        self._looking, self._drawing = threading.Lock(), threading.Lock()

    def head(self, known: int) -> dict[str, Any]:
        """Headline, tiles as HTML and the names of figures; the version alone if the page has it already.

        Raises:
            RaysearchError, OSError: the run cannot be read.
        """
        with self._looking:
            if time.monotonic() >= self._next:
                self._look()
            if known == self._version:
                return {"version": self._version}
            return {"version": self._version, **self._head}

    def figure(self, name: str, mark: str) -> dict[str, Any] | None:
        """A figure with its note, or its mark alone if the page has it; None if the run has no such figure.

        `again_s` says in how many seconds it can be had newer; None where it is up to date.
        """
        self.head(0)
        with self._drawing:
            version, picture = self._version, self._pictures.get(name)
            if picture is None:
                return None
            drawn = self._drawn.get(name)
            if drawn is None or (drawn.version != version and time.monotonic() >= drawn.again_at):
                drawn = self._drawn[name] = self._draw(picture, is_first=drawn is None)
        wait = None if drawn.version == version else max(LEAST_S, drawn.again_at - time.monotonic())
        found = {"name": name, "mark": drawn.mark, "version": drawn.version, "again_s": wait}
        return found if drawn.mark == mark else {**found, "note": escaped(drawn.note), "figure": drawn.text}

    def _look(self) -> None:
        began = time.monotonic()
        seen = RunPaths(self.run).journal.stat().st_ino, run_by(self.run)
        if self._seen is not None and self._seen[0] != seen[0]:  # another run stands in its place
            self._journal, self._drawn = GrowingJournal(RunPaths(self.run).journal), {}
        look = self._journal.look()
        if look is not self._latest or seen != self._seen:
            results = Results(self.run, look=look)
            pictures = {one.name: one for one in pictures_of(results) if one.name in FIGURES}
            self._head, self._pictures = _head(results, pictures.values()), pictures
            self._latest, self._seen, self._version = look, seen, self._version + 1
        self._next = self._rested(began, is_first=self._version == 1)

    def _draw(self, picture: Picture, is_first: bool) -> _Drawn:
        began = time.monotonic()
        text = figure_json(picture.figure)
        return _Drawn(text, picture.note, self._version, self._rested(began, is_first))

    def _rested(self, began: float, is_first: bool) -> float:
        """When what began then may be done again; the first time says little, since it loads libraries."""
        now = time.monotonic()
        return now + (self._least_s if is_first else max(self._least_s, self._rest * (now - began)))


def _head(results: Results, pictures: Iterable[Picture]) -> dict[str, Any]:
    headline, tone, tiles = opening_of(results)
    return {
        "name": escaped(results.digest.name),
        "headline": escaped(headline),
        "tone": tone,
        "tiles": "".join(map(tile, tiles)),
        "figures": [
            {"name": one.name, "title": escaped(one.title or one.name.capitalize())} for one in pictures
        ],
    }
