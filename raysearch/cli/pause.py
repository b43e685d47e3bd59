"""`raysearch pause` and `raysearch stop`: a run ends in order and gives its workers back to the cluster."""

from __future__ import annotations

import time
from pathlib import Path

from raysearch.cli import options
from raysearch.cli.ending_order import POLL_S, answer_of
from raysearch.cli.output import command, print_json, tell
from raysearch.errors import RunError, SpecError
from raysearch.storage.mirror import shown


def pause(
    run: options.Run, now: options.Now = False, wait: options.Wait = False, as_json: options.AsJson = False
) -> None:
    """End a run when its workers have finished their segments; [bold]resume[/bold] continues it."""
    from raysearch.run.pause import PAUSE

    _order(run, PAUSE, 0.0 if now else None, wait, as_json)


def stop(
    run: options.Run,
    grace: options.Grace = None,
    wait: options.Wait = False,
    as_json: options.AsJson = False,
) -> None:
    """End a run soon: workers start no new segment, and have 30 s to finish their current one."""
    from raysearch.core import quantities
    from raysearch.run.pause import GRACE_S, STOP

    try:
        seconds = GRACE_S if grace is None else 0.0 if grace.strip() == "0" else quantities.seconds(grace)
    except SpecError as error:
        raise SpecError(f"--grace: {error}") from None
    _order(run, STOP, seconds, wait, as_json)


# ---- inside


def _order(run: str, kind: str, grace_s: float | None, wait: bool, as_json: bool) -> None:
    from raysearch.cli.submit import elsewhere, order_there
    from raysearch.run.location import existing_run
    from raysearch.run.pause import PAUSE, order

    if (place := elsewhere(run, None)) is not None:
        grace = [] if grace_s is None else ["--now"] if kind == PAUSE else ["--grace", f"{grace_s:g}s"]
        order_there(place, [kind, *grace, *(["--json"] if as_json else [])])
        return
    root = existing_run(run)
    accepted, words = answer_of(root, order(kind, grace_s))
    if not accepted:
        raise SpecError(f"{shown(root)}: refused: {words}")
    go_on = command("resume", shown(root))
    if not as_json:
        tell(f"{words}; go on with: {go_on}", flush=True)
    if wait:
        _wait(root)
    if as_json:
        print_json({"run": shown(root), "words": words, "go_on": go_on, "ended": wait})


def _wait(root: Path) -> None:
    from raysearch.run.liveness import run_by, stopped

    while run_by(root) is not None:
        if owner := stopped(root):
            raise RunError(f"{shown(root)}: {owner}, so the run does not end; the order stands")
        time.sleep(POLL_S)
