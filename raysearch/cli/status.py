"""`raysearch status`: how a run stands, read from its journal, whether a process runs it or not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.cli import options
from raysearch.cli.output import command, console, print_json, say
from raysearch.engine.wind_down import Ending, more_of
from raysearch.errors import RaysearchError
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    from raysearch.run.display.status_text import About
    from raysearch.run.follower import Follower, Look

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
    from raysearch.run.follower import Follower, spent_so_far
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
    snapshot = look.snapshot.but(spent=spent_so_far(root))
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
    if ended is not None and ended.is_done:
        return f"{ended.words}; {command('best', shown(root))}"
    if ended is not None and ended.kind in (Ending.PAUSED, Ending.STOPPED, Ending.SIGNAL):
        return f"{ended.words}; go on with: {command('resume', shown(root))}"
    why = ended.words if ended is not None else "its process was ended from outside"
    return f"no process is running it ({why}); go on: {command('resume', shown(root), *more_of(ended))}"


def about_run(root: Path) -> About:
    """The fixed part of a run's display; less of it if the strategy is not installed here."""
    from raysearch.results.results import Results
    from raysearch.run.display.status_text import About, about
    from raysearch.spec.search_spec import load_spec
    from raysearch.storage.paths import RunPaths

    try:
        return about(root, load_spec(RunPaths(root).spec))
    except RaysearchError:
        results = Results(root)
        name = results.spec.get("strategy", {}).get("name", "?")
        return About(shown(root), str(name), results.metric, results.mode, note=results.goals.note)


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
