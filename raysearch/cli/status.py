"""`raysearch status`: how a run stands, read from its journal, whether a process runs it or not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raysearch.cli import options
from raysearch.cli.output import command, console, print_json, say
from raysearch.engine.snapshot import Snapshot
from raysearch.engine.wind_down import Ended, Ending, ended_of, more_of
from raysearch.errors import RaysearchError
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    from raysearch.run.display.status_text import About

POLL_S = 1.0
GONE_S = 15.0  # a coordinator that died is started again; longer without a holder is an end


def status(
    run: options.RunOrJob,
    watch: options.Watch = False,
    address: options.Dashboard = None,
    as_json: options.AsJson = False,
) -> None:
    """Show progress, workers and the best trial of a run, here or as a job on a cluster."""
    from raysearch.cli import submit
    from raysearch.results.remarks import remarks
    from raysearch.run.location import existing_run

    if (place := submit.elsewhere(run, address)) is not None:
        submit.follow(place) if watch else submit.show_job(place, as_json)
        return
    root = existing_run(run)
    follower = Follower(root)
    for text in remarks(root):
        say(f"note: {text}")
    if watch:
        _watch(root, follower)
        return
    look = follower.look(time.time())
    snapshot = look.snapshot.but(spent=_spent(root))
    if as_json:
        print_json(
            {"run": shown(root), "held_by": look.holder, **snapshot.as_dict(), "started_by": look.starter}
        )
        return
    from raysearch.run.display.panel import Screen

    out = console()
    screen = Screen(about_run(root), hints=False, framed=out.is_terminal)
    screen.show(snapshot, state(root, look))
    out.print(screen)


class Look(NamedTuple):
    """What a look at a run finds: how it stands, which process holds it, and which one is starting it."""

    snapshot: Snapshot
    holder: str | None
    starter: str | None


class Follower:
    """Folds a run's journal into snapshots; each look costs what is new."""

    def __init__(self, root: Path) -> None:
        from raysearch.cli.journal_status import JournalStatus
        from raysearch.results.results import load
        from raysearch.storage.paths import RunPaths

        results = load(root)
        self._root = root
        self._journal = RunPaths(root).journal
        self._standing = JournalStatus(self._journal, results.metric, results.mode)
        self._holder: str | None = None
        self._began, self._ended_at, self._before_s = 0.0, 0.0, 0.0
        self._ended: Ended | None = None

    def look(self, now: float) -> Look:
        """How the run stands now.

        Raises:
            JournalError: the journal is broken.
        """
        from raysearch.run.liveness import held_by, started_by

        holder = held_by(self._journal)
        starter = None if holder else started_by(self._root)
        self._standing.read()
        self._read_events(holder)
        until = now if holder else max(self._standing.last_at, self._ended_at)
        life_s = max(0.0, until - self._began) if self._began else 0.0
        snapshot = self._standing.snapshot().but(
            life_s=0.0 if starter else life_s,
            seconds=self._before_s + life_s,
            end=None if holder or starter else self._ended,
        )
        return Look(snapshot, holder, starter)

    def _read_events(self, holder: str | None) -> None:
        """Reads start and end of the run from its events; again only if its holder changed or is gone."""
        from raysearch.run.session import account_of
        from raysearch.storage.journal.reading import read_events

        if self._began and holder is not None and holder == self._holder:
            return
        self._holder, known = holder, self._began
        for event in read_events(self._journal):
            if event.kind == "start":
                self._began, self._ended_at, self._ended = event.at, 0.0, None
            elif event.kind == "end":
                self._ended_at, self._ended = event.at, ended_of(event.detail)
        if self._began != known:  # a life that is new; those before it are over
            self._before_s = account_of(self._root).before.seconds


def _spent(root: Path) -> str:
    """The cost of the run so far, in words; empty if its spec sets no budget and no prices."""
    from raysearch.run.session import spent_on
    from raysearch.spec.search_spec import load_spec

    try:
        budget = load_spec(root / "spec.yaml").budget
    except RaysearchError:  # a strategy that is not installed here
        return ""
    return budget.in_words(spent_on(root)) if budget.is_set else ""


def state(root: Path, look: Look) -> str:
    """Which process runs or starts it; or why none does, and how to go on."""
    from raysearch.run.liveness import stopped

    live = look.snapshot.live
    if look.holder is not None:
        held = f"held by {look.holder}"
        if (driver := stopped(root)) and driver != look.holder:
            held += f"; its driver is {driver}"
        return f"{live.winding}, {held}" if live.winding else held
    if look.starter is not None:
        return f"starting ({look.starter})"
    ended = live.end
    if ended is not None and ended.kind is Ending.COMPLETE:
        return f"complete; {command('best', shown(root))}"
    if ended is not None and ended.kind in (Ending.PAUSED, Ending.STOPPED, Ending.SIGNAL):
        return f"{ended.words}; go on with: {command('resume', shown(root))}"
    why = ended.words if ended is not None else "its process was ended from outside"
    return f"no process is running it ({why}); go on: {command('resume', shown(root), *more_of(ended))}"


def about_run(root: Path) -> About:
    """The fixed part of a run's display; less of it if the strategy is not installed here."""
    from raysearch.results.results import load
    from raysearch.run.display.status_text import About, about
    from raysearch.spec.search_spec import load_spec
    from raysearch.storage.paths import RunPaths

    try:
        return about(root, load_spec(RunPaths(root).spec))
    except RaysearchError:
        results = load(root)
        name = results.spec.get("strategy", {}).get("name", "?")
        return About(shown(root), str(name), results.metric, results.mode)


def _watch(root: Path, follower: Follower) -> None:
    from raysearch.run.display.panel import LiveDisplay, PlainDisplay

    out = console()
    about = about_run(root)
    display = LiveDisplay(out, about, hints=False) if out.is_terminal else PlainDisplay(out, about)
    held_at = 0.0
    with display:
        while True:
            now = time.time()
            look = follower.look(now)
            display(look.snapshot, state(root, look))
            held_at = now if look.holder or look.starter else held_at
            if not look.holder and (look.snapshot.ending or now - held_at > GONE_S):
                break
            time.sleep(POLL_S)
