"""The driver's side of `notify:`: starts the process that tells people, and never waits for a server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.tracking.notify.deliver import Undelivered, missing, ways
from raysearch.tracking.notify.message import Message
from raysearch.tracking.supervisor import beside, sinking, tracked

if TYPE_CHECKING:
    from raysearch.spec.search_spec import SearchSpec

WAIT_S = 3.0  # at the end of a search, for its last message; the process goes on by itself if it takes longer


@contextlib.contextmanager
def reported(run: Path, spec: SearchSpec, say: Callable[[str], None]) -> Iterator[None]:
    """Sends the run to W&B and its sinks, and tells people of it, for the length of the block; see each."""
    with telling(run, spec.notify, say), sinking(run, spec.sinks, say), tracked(run, spec.wandb, say):
        yield


@contextlib.contextmanager
def telling(run: Path, notify: Mapping[str, Any], say: Callable[[str], None]) -> Iterator[None]:
    """Tells people of the run for the length of the block, in a process of its own."""
    if not notify:
        yield
        return
    if why := missing(notify, os.environ):
        say(f"notify: {why}; nobody is told by webhook")
    process = beside(run, "notify.log", "raysearch.tracking.notify.process", repr(time.time()))
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(WAIT_S)
        process.returncode = process.returncode if process.poll() is not None else 0  # it ends by itself


def try_one(notify: Mapping[str, Any], name: str) -> list[tuple[str, bool]]:
    """Sends one message in every way that `notify:` names; (a line on what became of it, did it arrive)."""
    message = Message("test", f"{name}: a message of `raysearch launch --dry-run --notify-test`")
    lines = []
    for way, hand_on in ways(notify, os.environ).items():
        try:
            hand_on(message)
            lines.append((f"notify by {way}: told", True))
        except Undelivered as error:
            lines.append((f"notify by {way}: not told, {error}", False))
    return lines
