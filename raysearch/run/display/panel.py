"""How a search looks while it runs: a live panel on a terminal, a line now and then without one.

Both take snapshots: as `on_status` of `launch.How`, or read from the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from raysearch.core.formatting import column, duration, rate
from raysearch.engine.snapshot import RungCounts, Snapshot
from raysearch.run.display.pace import Pace
from raysearch.run.display.status_text import (
    About,
    best_line,
    config_line,
    decision_line,
    ending_line,
    latest_line,
    plain_line,
    progress_line,
    workers_line,
)
from raysearch.strategies.cost import PopulationCost

STARTING = "importing the trainable and starting the workers"
EVERY_S = 5.0  # between two plain lines
RUNGS_SHOWN = 8
LIFE_SHOWN_S = 1.0  # of earlier lives, from which on this one's time is shown too


class Screen:
    """The panel; rich draws it again and again from the last snapshot."""

    def __init__(
        self,
        about: About,
        hints: bool = True,
        framed: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._about = about
        self._hints = hints
        self._framed = framed
        self._now = now
        self._pace = Pace(about.plan)
        self._status: Snapshot | None = None
        self._seen = now()
        self._note = ""

    def show(self, status: Snapshot, note: str = "") -> None:
        """Replaces the snapshot, and the line about the run below it."""
        self._pace.note(status)
        self._status, self._seen, self._note = status, self._now(), note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._framed:
            yield Text(f"{self._about.run}: {self._what}")
            yield self._content(console.size.height)
            return
        yield Panel(
            self._content(console.size.height),
            title=Text(self._about.run),
            title_align="left",
            subtitle=Text(self._what),
            subtitle_align="right",
            border_style="dim",
            padding=(0, 1),
        )
        yield Text("")  # Ctrl-C is echoed here and not behind the frame, where it would wrap

    @property
    def _what(self) -> str:
        return f"{self._about.strategy} · {self._about.metric}, {self._about.better}"

    def _content(self, height: int) -> RenderableType:
        status = self._status
        if status is None:
            return Text(f"{STARTING}, {duration(self._now() - self._seen)} so far")
        parts: list[RenderableType] = [self._head(status), Text("")]
        if status.rungs and not isinstance(self._about.plan, PopulationCost):
            parts += [rung_table(status.rungs, self._about.metric), Text("")]
        parts.append(self._body(status, 4 if height >= 30 else 2))
        return Group(*parts)

    def _head(self, status: Snapshot) -> Table:
        grid = _grid()
        grid.add_row("trials" if self._pace.unit == "trials" else "model", progress_line(status, self._about))
        if status.live.workers or self._hints:
            grid.add_row("workers", workers_line(status))
        grid.add_row("time", self._time_line(status))
        if spent := status.live.spent:
            grid.add_row("spent", spent)
        if forecast := status.live.forecast:
            grid.add_row("going on", forecast)
        return grid

    def _time_line(self, status: Snapshot) -> Text:
        ticking = 0.0 if status.ending else self._now() - self._seen
        parts = [duration(status.live.seconds + ticking)]
        if status.live.seconds - status.live.life_s >= LIFE_SHOWN_S:
            parts.append(f"{duration(status.live.life_s + ticking)} of it in this life")
        if (pace := self._pace.per_s) is not None:
            parts.append(rate(pace, self._pace.unit))
        if (left := self._pace.seconds_left) is not None and not status.ending:
            parts.append(f"about {duration(left)} left, by iterations")
        return Text(" · ".join(parts))

    def _body(self, status: Snapshot, lines: int) -> Table:
        grid = _grid()
        if status.latest is not None and isinstance(self._about.plan, PopulationCost):
            grid.add_row("now", Text(latest_line(status.latest, self._about.metric)))
        if status.best is not None:
            grid.add_row("best", best_line(status.best, self._about.metric))
            grid.add_row("", Text(config_line(status.best.config)))
        if status.recent:
            decisions = map(decision_line, status.recent[-lines:])
            recent = Text("\n".join(decisions), no_wrap=True, overflow="ellipsis")
            grid.add_row("decided", recent)
        for text, count in list(status.live.warnings.items())[-2:]:
            grid.add_row(Text("warning", "yellow"), _warning(text, count))
        if (status.ending or status.live.winding) and self._hints:
            grid.add_row(Text("ending", "bold"), Text(ending_line(status)))
        if self._note:
            grid.add_row("state", Text(self._note))
        return grid


class Display(Protocol):
    """Shows snapshots while its `with` block lasts; `last` is the latest of them."""

    last: Snapshot | None

    def __call__(self, status: Snapshot, note: str = "") -> None: ...

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LiveDisplay:
    """A panel that stays in place and is redrawn."""

    def __init__(self, console: Console, about: About, hints: bool = True) -> None:
        self.last: Snapshot | None = None
        self._screen = Screen(about, hints)
        self._live = Live(self._screen, console=console, refresh_per_second=4)

    def __call__(self, status: Snapshot, note: str = "") -> None:
        """Redraws."""
        self.last = status
        self._screen.show(status, note)

    def __enter__(self) -> LiveDisplay:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class PlainDisplay:
    """Lines without escape codes: one every few seconds if anything changed, warnings as they come."""

    def __init__(
        self,
        console: Console,
        about: About,
        every_s: float = EVERY_S,
        now: Callable[[], float] = time.monotonic,
        warns: bool = True,
        starts: bool = False,
    ) -> None:
        """`starts`: this process starts the search, and says so before there is a snapshot."""
        self.last: Snapshot | None = None
        self._warns = warns
        self._starts = starts
        self._console = console
        self._about = about
        self._every_s = every_s
        self._now = now
        self._pace = Pace(about.plan)
        self._next = -1.0
        self._printed: tuple[Any, ...] = ()
        self._warned: set[str] = set()
        self._winding = False

    def __call__(self, status: Snapshot, note: str = "") -> None:
        """Prints what is new."""
        ended_now = bool(status.ending) and not (self.last is not None and self.last.ending)
        self.last = status
        self._pace.note(status)
        for text in [text for text in status.live.warnings if text not in self._warned]:
            self._warned.add(text)
            if self._warns:
                self._print(f"warning: {text}")
        state = (status.trials, status.finals, status.segments, status.best)
        if state != self._printed and (ended_now or self._now() >= self._next):
            self._printed, self._next = state, self._now() + self._every_s
            self._print(plain_line(status, self._about, self._pace))
        winds_down = bool(status.live.winding) and not status.ending
        if (ended_now and not status.is_complete) or (winds_down and not self._winding):
            self._print(ending_line(status))
        self._winding = winds_down

    def __enter__(self) -> PlainDisplay:
        self._print(f"{self._about.run}: {self._about.strategy} · {self._about.metric}, {self._about.better}")
        if self._starts:
            self._print(f"[0s] {STARTING}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to put away."""

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)
        self._console.file.flush()


def display_for(console: Console, about: About, shared: bool = False) -> Display:
    """The live panel on a terminal, lines elsewhere.

    Args:
        shared: trials run in this process, and a debugger may need the terminal: lines too.
    """
    is_live = console.is_terminal and not shared
    return LiveDisplay(console, about) if is_live else PlainDisplay(console, about, starts=True)


def rung_table(rungs: Sequence[RungCounts], metric: str) -> Table:
    """A table of the rungs, numbers aligned; of many rungs the lowest two and the highest ones."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    for name in ("iteration", "completed", "diverged", "failed", f"best {metric}"):
        table.add_column(name, justify="right", no_wrap=True)
    bests = column([rung.best for rung in rungs])
    rows = [
        (f"{r.iteration:,}", *(f"{r.counts.get(s, 0):,}" for s in ("completed", "diverged", "failed")), best)
        for r, best in zip(rungs, bests, strict=True)
    ]
    if len(rows) > RUNGS_SHOWN:
        rows = [*rows[:2], ("...",) * 5, *rows[len(rows) - RUNGS_SHOWN + 3 :]]
    for row in rows:
        table.add_row(*row)
    return table


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=7)
    grid.add_column(ratio=1)
    return grid


def _warning(text: str, count: int) -> Text:
    return Text(text if count == 1 else f"{text} ({count:,} times)")
