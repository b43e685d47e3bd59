"""Processes as seen from outside, through /proc: titles, children, namespaces, signals. Linux only."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a node, as seen from outside."""

    pid: int
    title: str


def descendants(pid: int) -> list[Process]:
    """Everything that a process started, and what those started."""
    found = [Process(child, title_of(child)) for child in children_of(pid)]
    return [*found, *(process for child in found for process in descendants(child.pid))]


def send(pid: int, number: int) -> bool:
    """Sends a signal; False if there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def thaw(frozen: Sequence[int]) -> None:
    """Lets frozen processes go on, as far as they are still there."""
    for pid in frozen:
        send(pid, signal.SIGCONT)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition()` became true within so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True


def pids() -> list[int]:
    """Of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def namespace_of(pid: int) -> str | None:
    """The namespace of process ids that it lives in; None if it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def title_of(pid: int) -> str:
    """Its command line; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def child_of(pid: int) -> int | None:
    """The only child: what `unshare` forked."""
    return next(iter(children_of(pid)), None)


def children_of(pid: int) -> list[int]:
    """The children of all of a process's threads."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        texts = [Path(f"/proc/{pid}/task/{task}/children").read_text() for task in tasks]
    except OSError:  # it has ended
        return []
    return [int(child) for text in texts for child in text.split()]
