"""What the board lets people order of a run: given as orders are, beside the command that does the same."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.core.segment import segment_id, trial_number
from raysearch.core.yaml_io import read_yaml
from raysearch.errors import RunError, SpecError, unknown
from raysearch.run.edits import SAMPLES, SPACE
from raysearch.run.liveness import run_by
from raysearch.run.orders import Orders
from raysearch.run.pause import GRACE_S, PAUSE, RESUME, STOP
from raysearch.storage.paths import RunPaths

NUDGE, ROLLBACK, ENQUEUE = "nudge", "rollback", "enqueue"
KINDS = (PAUSE, STOP, RESUME, SAMPLES, NUDGE, ROLLBACK, ENQUEUE, SPACE)
TEXT_MAX = 100_000  # characters of what is typed
PATIENCE_S = 20.0  # for the answer of the process that runs the run
POLL_S = 0.1
_SEGMENT = re.compile(r"(\d+[a-z]?)\.(\d+)")
_SAMPLES = re.compile(r"\+?[0-9]{1,9}")


def order_of(kind: str, text: str) -> dict[str, Any]:
    """The order that a button and what is typed beside it come to.

    >>> order_of("nudge", "lr: 3e-4")
    {'kind': 'nudge', 'values': {'lr': 0.0003}}

    Args:
        text: of `samples` a number such as +20; of `nudge`, `enqueue` and `space` a YAML mapping; of
            `rollback` a segment such as 12.3; of the others nothing.

    Raises:
        SpecError: the kind is unknown, or the text is not what it needs.
    """
    if kind not in KINDS:
        raise SpecError(unknown("order", kind, KINDS))
    if len(text) > TEXT_MAX:
        raise SpecError(f"{len(text):,} characters; at most {TEXT_MAX:,} are read")
    text = text.strip()
    if kind in (PAUSE, STOP, RESUME):
        return {"kind": kind, "grace_s": GRACE_S if kind == STOP else None}
    if kind == SAMPLES:
        if not _SAMPLES.fullmatch(text):
            raise SpecError(f"{text!r} is neither a whole number nor +N")
        return {"kind": SAMPLES, "samples": text}
    if kind == ROLLBACK:
        found = _SEGMENT.fullmatch(text)
        if found is None:
            raise SpecError(f"{text!r} is no segment; they are like 12.3, as the lineage shows them")
        return {"kind": ROLLBACK, "segment": segment_id(trial_number(found[1]), int(found[2]))}
    given = read_yaml(text, "what is typed")
    if not isinstance(given, Mapping) or not given:
        raise SpecError("what is typed is no mapping, such as lr: 0.001")
    return {"kind": kind, {NUDGE: "values", ENQUEUE: "config", SPACE: "space"}[kind]: dict(given)}


def command_of(run: str, kind: str, text: str) -> str:
    """The command line that does the same; files in it hold what is typed."""
    name, text = shlex.quote(run), text.strip()
    if kind == SAMPLES:
        return f"raysearch resume {name} --samples {shlex.quote(text or '+N')}"
    if kind == NUDGE:
        given = read_yaml(text, "what is typed") if text else None
        pairs = given.items() if isinstance(given, Mapping) else [("NAME", "VALUE")]
        return f"raysearch nudge {name} {' '.join(shlex.quote(f'{n}={v}') for n, v in pairs)}"
    if kind == ROLLBACK:
        return f"raysearch rollback {name} {shlex.quote(text or 'SEGMENT')}"
    if kind == ENQUEUE:
        return f"raysearch enqueue {name} config.yaml"
    if kind == SPACE:
        return f"raysearch pause {name} --wait; raysearch resume {name} --space space.yaml"
    return f"raysearch {kind} {name}"


def give(root: Path, order: Mapping[str, Any], patience_s: float = PATIENCE_S) -> tuple[bool, str]:
    """Gives an order to the process that runs the run; (whether it accepts it, its words).

    Raises:
        RunError: no process runs it, or the process does not answer; the order is then taken back.
    """
    if run_by(root) is None:
        raise RunError("no process runs this run, so nobody takes the order in; the command goes on with it")
    orders = Orders(RunPaths(root).orders)
    name = orders.give(order)
    until = time.monotonic() + patience_s
    while (answer := orders.answered(name)) is None:
        if time.monotonic() > until or run_by(root) is None:
            orders.withdraw(name)
            raise RunError("the process that runs it has not answered, and the order was taken back")
        time.sleep(POLL_S)
    return answer
