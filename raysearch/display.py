"""How a search looks while it runs: a live panel on a terminal, a line now and then without one.

Both take snapshots (`Search.status`): as `on_status` of `launch.How`, or read from the journal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from raysearch.figures import column, duration, number, rate, settings
from raysearch.plan import Plan

Snapshot = Mapping[str, Any]

WINDOW_S = 20.0  # over which the current rate is taken
EVERY_S = 5.0  # between two plain lines
SETTLED_S = 5.0  # before an ETA is shown
RUNGS_SHOWN = 8
SILENT_S = 10.0  # a worker not heard of for so long is mentioned
BUSY_FROM = 3  # segments a worker must have ended before its busy share says anything


@dataclass(frozen=True, slots=True)
class About:
    """What stays the same while a search runs."""

    run: str
    strategy: str
    metric: str
    mode: str
    samples: int | None = None
    plan: Plan | None = None

    @property
    def better(self) -> str:
        """Which way the metric is to go."""
        return "lower is better" if self.mode == "min" else "higher is better"


class Pace:
    """How fast a search goes: trials a second of late, and seconds left by the iterations of the plan."""

    def __init__(self, plan: Plan | None) -> None:
        self._plan = plan
        self._first: tuple[float, int] | None = None  # seconds and iterations at the first snapshot
        self._recent: deque[tuple[float, int]] = deque()
        self._left: float | None = None

    def note(self, status: Snapshot) -> None:
        """Takes in a snapshot."""
        now = status["seconds"]
        self._recent.append((now, status["trials"] + status["finals"]))
        while len(self._recent) > 2 and now - self._recent[1][0] >= WINDOW_S:
            self._recent.popleft()
        self._left = self._estimate(status, now)

    @property
    def trials_per_s(self) -> float | None:
        """Of the last seconds; None before anything can be said."""
        if len(self._recent) < 2:
            return None
        (then, before), (now, trials) = self._recent[0], self._recent[-1]
        return (trials - before) / (now - then) if trials > before and now > then else None

    @property
    def seconds_left(self) -> float | None:
        """As many as the iterations left of the plan take at the pace so far; None if nobody can say."""
        return self._left

    def _estimate(self, status: Snapshot, now: float) -> float | None:
        left = self._plan.left(status) if self._plan else None
        if self._plan is None or left is None:
            return None
        done = self._plan.done(status)
        if self._first is None:
            self._first = (now, done)
        since, before = now - self._first[0], done - self._first[1]
        if since < SETTLED_S or before < max(1, self._plan.horizon) or not left:
            return None
        return left * since / before


class Screen:
    """The panel; drawn anew from the last snapshot whenever it is asked for."""

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
        """Takes the snapshot, and what else to say about the run."""
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
            return Text(f"starting, {duration(self._now() - self._seen)} so far")
        parts: list[RenderableType] = [self._head(status), Text("")]
        if status["rungs"]:
            parts += [rung_table(status["rungs"], self._about.metric), Text("")]
        parts.append(self._body(status, 4 if height >= 30 else 2))
        return Group(*parts)

    def _head(self, status: Snapshot) -> Table:
        grid = _grid()
        grid.add_row("trials", trials_line(status, self._about))
        if status["workers"] or self._hints:
            grid.add_row("workers", workers_line(status))
        grid.add_row("time", self._time_line(status))
        return grid

    def _time_line(self, status: Snapshot) -> Text:
        ticking = 0.0 if status["ending"] else self._now() - self._seen
        parts = [duration(status["seconds"] + ticking)]
        if (pace := self._pace.trials_per_s) is not None:
            parts.append(rate(pace))
        if (left := self._pace.seconds_left) is not None and not status["ending"]:
            parts.append(f"about {duration(left)} left, by iterations")
        return Text(" · ".join(parts))

    def _body(self, status: Snapshot, lines: int) -> Table:
        grid = _grid()
        if status["best"]:
            grid.add_row("best", best_line(status["best"], self._about.metric))
            grid.add_row("", Text(config_line(status["best"]["config"])))
        if status["recent"]:
            decisions = map(decision_line, status["recent"][-lines:])
            recent = Text("\n".join(decisions), no_wrap=True, overflow="ellipsis")
            grid.add_row("decided", recent)
        for text, count in list(status["warnings"].items())[-2:]:
            grid.add_row(Text("warning", "yellow"), _warning(text, count))
        if status["ending"] and self._hints:
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
    ) -> None:
        self.last: Snapshot | None = None
        self._console = console
        self._about = about
        self._every_s = every_s
        self._now = now
        self._pace = Pace(about.plan)
        self._next = -1.0
        self._printed: tuple[Any, ...] = ()
        self._warned: set[str] = set()

    def __call__(self, status: Snapshot, note: str = "") -> None:
        """Prints what is new."""
        ended_now = bool(status["ending"]) and not (self.last and self.last["ending"])
        self.last = status
        self._pace.note(status)
        for text in [text for text in status["warnings"] if text not in self._warned]:
            self._warned.add(text)
            self._print(f"warning: {text}")
        state = (status["trials"], status["finals"], status["segments"], status["best"])
        if state != self._printed and (ended_now or self._now() >= self._next):
            self._printed, self._next = state, self._now() + self._every_s
            self._print(plain_line(status, self._about, self._pace))
        if ended_now and status["ending"] != "complete":
            self._print(ending_line(status))

    def __enter__(self) -> PlainDisplay:
        self._print(f"{self._about.run}: {self._about.strategy} · {self._about.metric}, {self._about.better}")
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
    return LiveDisplay(console, about) if is_live else PlainDisplay(console, about)


# ---- what a snapshot says, in words


def trials_line(status: Snapshot, about: About) -> str:
    """`312 of 400 · 9 at full length · 3 diverged · 0 failed · finish 3 of 12`."""
    of = f" of {about.samples:,}" if about.samples else ""
    ended = {s: sum(r.get(s, 0) for r in status["rungs"]) for s in ("diverged", "failed")}
    parts = [f"{status['trials']:,}{of}"]
    if about.plan is not None:
        full = [r.get("completed", 0) for r in status["rungs"] if r["iteration"] >= about.plan.horizon]
        parts.append(f"{sum(full):,} at full length")
    parts += [f"{ended['diverged']:,} diverged", f"{ended['failed']:,} failed"]
    if lost := status["segments"].get("lost", 0):
        parts.append(f"{lost:,} tried again")
    if done := status["finals"]:
        planned = about.plan.finals if about.plan else 0
        parts.append(f"finish {done:,} of {planned:,}" if done <= planned else f"finish {done:,}")
    return " · ".join(parts)


def workers_line(status: Snapshot) -> str:
    """`2 of 2 training · 97% busy · worker-1 silent for 22s`."""
    workers: Mapping[str, Any] = status["workers"]
    if not workers:
        return "none has started yet"
    parts = [f"{status['running']} of {len(workers)} training"]
    if (busy := _busy_share(status)) is not None:
        parts.append(f"{busy:.0%} busy")
    restarts = sum(max(0, w["lives"] - 1) for w in workers.values())
    if restarts:
        parts.append(f"{restarts} restarted")
    silent = {name: w["silent_s"] for name, w in workers.items() if w["silent_s"] > SILENT_S and w["leases"]}
    if silent:
        name = max(silent, key=lambda name: silent[name])
        more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        parts.append(f"{name} silent for {duration(silent[name])}{more}")
    return " · ".join(parts)


def best_line(best: Mapping[str, Any], metric: str) -> Text:
    """`val_loss 0.08123 at iteration 81, trial 245`."""
    return Text.assemble(
        f"{metric} ",
        (number(best["value"]), "bold green"),
        f" at iteration {best['iteration']:,}, trial {best['trial']:,}",
    )


def config_line(config: Mapping[str, Any]) -> str:
    """`lr 0.003162, optimizer adamw`; a name and its value are not torn apart."""
    return ", ".join(f"{name}\N{NO-BREAK SPACE}{value}" for name, value in settings(config).items())


def decision_line(text: str) -> str:
    """`12.3: rung 27: rank 1 of 9, promoted`; without the long numbers that trials of the finish have."""
    name, _, reason = text.partition(": ")
    return reason if len(name) > 13 else text


def ending_line(status: Snapshot) -> str:
    """Why the search ends, and what happens now."""
    ending = str(status["ending"])
    if status["failed"] or ending == "complete" or not status["running"]:
        return ending
    return f"{ending}: finishing the iterations that are running. Ctrl-C again ends at once"


def plain_line(status: Snapshot, about: About, pace: Pace) -> str:
    """A snapshot in one line."""
    parts = [f"[{duration(status['seconds'])}] {trials_line(status, about)}"]
    if (per_s := pace.trials_per_s) is not None:
        parts.append(rate(per_s))
    if status["best"]:
        best = status["best"]
        parts.append(f"best {number(best['value'])} (trial {best['trial']}, iteration {best['iteration']})")
    if status["workers"]:
        parts.append(f"{status['running']} of {len(status['workers'])} workers training")
    if (left := pace.seconds_left) is not None and not status["ending"]:
        parts.append(f"about {duration(left)} left, by iterations")
    return " · ".join(parts)


def rung_table(rungs: list[Mapping[str, Any]], metric: str) -> Table:
    """The rungs, numbers aligned; of many the lowest two and the highest."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    for name in ("iteration", "completed", "diverged", "failed", f"best {metric}"):
        table.add_column(name, justify="right", no_wrap=True)
    bests = column([rung["best"] for rung in rungs])
    rows = [
        (f"{r['iteration']:,}", *(f"{r.get(s, 0):,}" for s in ("completed", "diverged", "failed")), best)
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


def _busy_share(status: Snapshot) -> float | None:
    """How much of their time workers trained; None while their segments are too long to tell."""
    workers = status["workers"].values()
    if not workers or status["seconds"] <= 0 or any(w["segments"] < BUSY_FROM for w in workers):
        return None
    share = sum(w["busy_s"] for w in workers) / (len(workers) * status["seconds"])
    return float(min(1.0, share))
