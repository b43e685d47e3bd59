"""`raysearch pause` and `raysearch stop`: a run ends in order and gives its workers back to the cluster."""

from __future__ import annotations

import time
from pathlib import Path

from raysearch.cli import options
from raysearch.cli.output import command, print_json, tell
from raysearch.engine.wind_down import Ending, more_of
from raysearch.errors import RunError, SpecError
from raysearch.storage.mirror import shown

PATIENCE_S = 60.0  # for the answer of the process that runs it
STOPPED_S = 5.0  # for the answer of a run of which a process is stopped
POLL_S = 0.1


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


def taken_back(root: Path) -> str | None:
    """Takes back the order to pause or stop; the answer of the run, or None if no process runs it.

    Raises:
        SpecError: the run refuses, because it is searching or has ended already.
    """
    from raysearch.run.liveness import run_by
    from raysearch.run.pause import RESUME, order

    holder = run_by(root)
    if holder is None:
        return None
    accepted, words = _answer(root, order(RESUME))
    if not accepted:
        look = command("status", shown(root), "--watch")
        raise SpecError(f"{shown(root)}: {holder} runs it, and {words} ({look})")
    return words


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
    accepted, words = _answer(root, order(kind, grace_s))
    if not accepted:
        raise SpecError(f"{shown(root)}: refused: {words}")
    go_on = command("resume", shown(root))
    if not as_json:
        tell(f"{words}; go on with: {go_on}", flush=True)
    if wait:
        _wait(root)
    if as_json:
        print_json({"run": shown(root), "words": words, "go_on": go_on, "ended": wait})


def _answer(root: Path, order: dict[str, object]) -> tuple[bool, str]:
    """Gives the order to a run, which may still be starting; (is it accepted, the words of the run).

    Raises:
        RunError: no process runs it, or the process does not answer within PATIENCE_S.
    """
    from raysearch.run.liveness import run_by, started_by, stopped
    from raysearch.run.orders import Orders
    from raysearch.storage.paths import RunPaths

    _check_run(root)
    orders = Orders(RunPaths(root).orders)
    name = orders.give(order)
    began = time.monotonic()
    while (answer := orders.answered(name)) is None:
        waited = time.monotonic() - began
        if waited > STOPPED_S and (owner := stopped(root)):
            orders.withdraw(name)
            raise RunError(f"{shown(root)}: {owner}, does not answer, and the order was taken back")
        if waited > PATIENCE_S:
            if (starter := started_by(root)) is not None:
                return True, f"{starter} is still starting it, and takes the order in when it has"
            orders.withdraw(name)
            raise RunError(
                f"{shown(root)}: the process that runs it has not answered for {PATIENCE_S:g} s, and "
                "the order was taken back"
            )
        if run_by(root) is None:
            time.sleep(POLL_S)  # its last act may be the answer
            if (answer := orders.answered(name)) is not None:
                break
            orders.withdraw(name)
            _check_run(root)
        time.sleep(POLL_S)
    return answer


def _check_run(root: Path) -> None:
    from raysearch.run.liveness import last_ended, run_by
    from raysearch.storage.paths import RunPaths

    if run_by(root) is None:
        ended = last_ended(RunPaths(root).journal)
        why = ended.words if ended is not None else "its process was ended from outside"
        more = f"; go on with: {command('resume', shown(root), *more_of(ended))}"
        hint = "" if ended is not None and ended.kind is Ending.COMPLETE else more
        raise RunError(f"no process is running {shown(root)} ({why}), so there is nothing to end{hint}")


def _wait(root: Path) -> None:
    from raysearch.run.liveness import run_by, stopped

    while run_by(root) is not None:
        if owner := stopped(root):
            raise RunError(f"{shown(root)}: {owner}, so the run does not end; the order stands")
        time.sleep(POLL_S)
