"""Waiting for what can still come true, not for a number of seconds; processes that end with their test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PATIENCE_S = 300.0  # for what takes some seconds on a machine that has nothing else to do
SHOWN = 4000  # characters of what a process printed, in a failure
PAUSE_S = 0.05  # between two looks
PAUSE_LOOKS = 9  # the same as a multiple of what a look takes: who is waited for needs the processor too


def wait_for(
    condition: Callable[[], object],
    seconds: float = PATIENCE_S,
    *,
    alive: Callable[[], object] | None = None,
    saw: Callable[[], object] | None = None,
) -> None:
    """Returns when `condition()` is true.

    Args:
        alive: false when whoever was to make it true is gone; then no more time is spent on waiting.
        saw: what there was to see in the end, for the failure.

    Raises:
        AssertionError: it did not become true in time, or nobody is left who could make it so.
    """
    until = time.monotonic() + seconds
    while True:
        looked = time.monotonic()
        is_last = alive is not None and not alive()  # asked first: a last word may have come before the end
        if condition():
            return
        assert not is_last, f"cannot come true any more: {_name(condition)}{_told(saw)}"
        assert time.monotonic() < until, f"did not come true in {seconds:g} s: {_name(condition)}{_told(saw)}"
        time.sleep(max(PAUSE_S, min(PAUSE_LOOKS * (time.monotonic() - looked), 1.0)))


def _told(saw: Callable[[], object] | None) -> str:
    """What there was to see; asked for in a failure only, since looking may take a process of its own."""
    return "" if saw is None else f"; seen in the end: {saw()}"


def _name(condition: Callable[[], object]) -> str:
    code = getattr(condition, "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else repr(condition)


class Child:
    """A process of a test's own, and all that it starts; what they print is in a file: no pipe can fill."""

    def __init__(self, command: Sequence[object], log: Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        self.pid = self.process.pid

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        """As above; fails at once when it ended without that."""
        wait_for(condition, seconds, alive=lambda: self.is_running, saw=self._end_of_said)

    def end(self, code: int = 0, seconds: float = PATIENCE_S) -> str:
        """Waits for its end with this exit code; returns what it printed."""
        wait_for(lambda: not self.is_running, seconds, saw=self._end_of_said)
        assert self.process.returncode == code, self._end_of_said()
        return self.said

    def kill(self) -> None:
        """SIGKILL, to what it started too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def _end_of_said(self) -> str:
        return f"process {self.pid}, exit code {self.process.poll()}, printed:\n{self.said[-SHOWN:]}"


class Children:
    """Starts processes, each with a file of its own for what it prints; `end` kills those that are left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Child] = []

    def __call__(self, *command: object, **options: Any) -> Child:
        child = Child(command, self._folder / f"{len(self._all)}.log", **options)
        self._all.append(child)
        return child

    def end(self) -> None:
        for child in self._all:
            child.kill()
