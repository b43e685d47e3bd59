"""An order that ends a run, or takes that back, and the answer of the process that runs it."""

from __future__ import annotations

import time
from pathlib import Path

from raysearch.cli.output import command
from raysearch.engine.wind_down import more_of
from raysearch.errors import RunError, SpecError
from raysearch.storage.mirror import shown

PATIENCE_S = 60.0  # for the answer of the process that runs it
STOPPED_S = 5.0  # for the answer of a run of which a process is stopped
POLL_S = 0.1


def answer_of(root: Path, order: dict[str, object]) -> tuple[bool, str]:
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
    accepted, words = answer_of(root, order(RESUME))
    if not accepted:
        look = command("status", shown(root), "--watch")
        raise SpecError(f"{shown(root)}: {holder} runs it, and {words} ({look})")
    return words


# ---- inside


def _check_run(root: Path) -> None:
    from raysearch.run.liveness import last_ended, run_by
    from raysearch.storage.paths import RunPaths

    if run_by(root) is None:
        ended = last_ended(RunPaths(root).journal)
        why = ended.words if ended is not None else "its process was ended from outside"
        more = f"; go on with: {command('resume', shown(root), *more_of(ended))}"
        hint = "" if ended is not None and ended.is_done else more
        raise RunError(f"no process is running {shown(root)} ({why}), so there is nothing to end{hint}")
