"""`raysearch status`: how a run stands, from its journal alone, whoever is running it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.cli import options
from raysearch.cli.output import command, console, print_json
from raysearch.errors import RaysearchError
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    from raysearch.cli.status_text import About

POLL_S = 1.0
GONE_S = 15.0  # a coordinator that died is started again; longer without a holder is an end


def status(
    run: options.RunOrJob,
    watch: options.Watch = False,
    address: options.Dashboard = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how a run stands, whether it is being run now or not, here or as a job on a cluster."""
    from raysearch.cli import submit
    from raysearch.run.location import existing_run

    if (place := submit.elsewhere(run, address)) is not None:
        submit.follow(place) if watch else submit.show_job(place, as_json)
        return
    root = existing_run(run)
    follower = Follower(root)
    if watch:
        _watch(root, follower)
        return
    snapshot, holder = follower.look(time.time())
    snapshot["spent"] = _spent(root)
    if as_json:
        print_json({"run": shown(root), "held_by": holder, **snapshot})
        return
    from raysearch.cli.display import Screen

    out = console()
    screen = Screen(about_run(root), hints=False, framed=out.is_terminal)
    screen.show(snapshot, state(root, snapshot, holder))
    out.print(screen)


class Follower:
    """Folds a run's journal into snapshots; each look costs what is new."""

    def __init__(self, root: Path) -> None:
        from raysearch.cli.journal_status import Standing
        from raysearch.results.results import load
        from raysearch.storage.paths import RunPaths

        results = load(root)
        self._root = root
        self._journal = RunPaths(root).journal
        self._standing = Standing(self._journal, results.metric, results.mode)
        self._holder: str | None = None
        self._began, self._ended, self._before_s, self._ending = 0.0, 0.0, 0.0, ""

    def look(self, now: float) -> tuple[dict[str, Any], str | None]:
        """(snapshot as of Search.status and `started_by`, who holds the run or None).

        Raises:
            JournalError: the journal is broken.
        """
        from raysearch.run.liveness import held_by, started_by

        holder = held_by(self._journal)
        starter = None if holder else started_by(self._root)
        self._standing.read()
        self._read_events(holder)
        snapshot = self._standing.snapshot()
        until = now if holder else max(self._standing.last_at, self._ended)
        life_s = max(0.0, until - self._began) if self._began else 0.0
        snapshot["life_s"] = 0.0 if starter else life_s
        snapshot["seconds"] = self._before_s + life_s
        snapshot["ending"] = "" if holder or starter else self._ending
        snapshot["started_by"] = starter
        return snapshot, holder

    def _read_events(self, holder: str | None) -> None:
        """Reads when the run began and why it ended, again only when its holder changes or it has none."""
        from raysearch.run.session import account_of
        from raysearch.storage.journal.reading import read_events

        if self._began and holder is not None and holder == self._holder:
            return
        self._holder, known = holder, self._began
        for event in read_events(self._journal):
            if event.kind == "start":
                self._began, self._ended, self._ending = event.at, 0.0, ""
            elif event.kind == "end":
                self._ended, self._ending = event.at, str(event.detail.get("ending", ""))
        if self._began != known:  # a life that is new; those before it are over
            self._before_s = account_of(self._root).before.seconds


def _spent(root: Path) -> str:
    """What the run has cost, in words; empty where its spec sets no budget and no prices."""
    from raysearch.run.session import spent_on
    from raysearch.spec.search_spec import load_spec

    try:
        budget = load_spec(root / "spec.yaml").budget
    except RaysearchError:  # a strategy that is not installed here
        return ""
    return budget.in_words(spent_on(root)) if budget.is_set else ""


def state(root: Path, snapshot: dict[str, Any], holder: str | None) -> str:
    """Who runs or starts it; or why nobody does, and how to go on."""
    from raysearch.core.budget import more_of

    if holder is not None:
        phase = snapshot["winding"]
        return f"{phase}, held by {holder}" if phase else f"held by {holder}"
    if (starter := snapshot["started_by"]) is not None:
        return f"starting ({starter})"
    ending = snapshot["ending"]
    if ending == "complete":
        return f"complete; {command('best', shown(root))}"
    if ending.startswith(("paused", "stopped")):
        return f"{ending}; go on with: {command('resume', shown(root))}"
    why = ending or "its process was ended from outside"
    return f"no process is running it ({why}); go on: {command('resume', shown(root), *more_of(why))}"


def about_run(root: Path) -> About:
    """What a run's spec says of it; less where a strategy of the spec is not installed here."""
    from raysearch.cli.status_text import About, about
    from raysearch.results.results import load
    from raysearch.spec.search_spec import load_spec
    from raysearch.storage.paths import RunPaths

    try:
        return about(root, load_spec(RunPaths(root).spec))
    except RaysearchError:
        results = load(root)
        name = results.spec.get("strategy", {}).get("name", "?")
        return About(shown(root), str(name), results.metric, results.mode)


def _watch(root: Path, follower: Follower) -> None:
    from raysearch.cli.display import LiveDisplay, PlainDisplay

    out = console()
    about = about_run(root)
    display = LiveDisplay(out, about, hints=False) if out.is_terminal else PlainDisplay(out, about)
    held_at = 0.0
    with display:
        while True:
            now = time.time()
            snapshot, holder = follower.look(now)
            display(snapshot, state(root, snapshot, holder))
            held_at = now if holder or snapshot["started_by"] else held_at
            if not holder and (snapshot["ending"] or now - held_at > GONE_S):
                break
            time.sleep(POLL_S)
