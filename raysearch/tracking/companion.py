"""The driver's side of the tracking process: started before Ray, started again when it dies, waited for briefly."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from raysearch.paths import RunPaths
from raysearch.tracking import settings
from raysearch.tracking.keys import find_key, taken_out

RESTARTS = 3
PATIENCE_S = 45.0  # at the end of a search, for the rest to be sent; a push at any time sends what is missing


@contextlib.contextmanager
def tracked(run: Path, wandb: Mapping[str, Any], say: Callable[[str], None]) -> Iterator[None]:
    """Sends the run to W&B for the length of the block, if its spec says so; the key is out of reach inside.

    `say` gets at most a line at the start, and one at the end where something is missing there.

    Raises:
        RunError: mode online without a key.
    """
    decision = settings.decide(wandb, str(run))
    if decision.why:
        say(decision.why)
    if not wandb or wandb.get("mode") == "off":
        yield
        return
    key = find_key()
    with taken_out():
        companion = Companion(run, key) if decision.send and key else None
        try:
            yield
        finally:
            if companion is not None and not companion.close():
                say(f"W&B: not everything is there yet; send the rest: raysearch wandb push {run}")


class Companion:
    """A tracking process and the thread that keeps it alive."""

    def __init__(self, run: Path, key: str) -> None:
        self._run, self._key = run, key
        self._closing = threading.Event()
        self._process = self._start()
        self._complete = False
        self._thread = threading.Thread(target=self._watch, daemon=True, name="tracking")
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the tracking process."""
        return self._process.pid

    def close(self, patience_s: float = PATIENCE_S) -> bool:
        """Lets it send the rest; ends it when that takes too long. True if the server has everything."""
        self._closing.set()
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._thread.join(patience_s)
        end(self._process)
        return self._complete

    def _start(self) -> subprocess.Popen[bytes]:
        return start(self._run, self._key)

    def _watch(self) -> None:
        for _ in range(RESTARTS + 1):
            code = self._process.wait()
            if self._closing.is_set() or code in (0, 3):
                self._complete = code == 0
                return
            end(self._process)  # what it started: the client's own process
            self._process = self._start()


def start(run: Path, key: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A tracking process; the key goes through its stdin and stands in no command line and no file."""
    paths = RunPaths(run)
    paths.tracking.mkdir(parents=True, exist_ok=True)
    with taken_out(), (paths.tracking / "process.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "raysearch.tracking.process", str(run), *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.write(f"{key}\n".encode())
        process.stdin.flush()
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a tracking process and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def push(run: Path, key: str, patience_s: float = 30.0) -> int:
    """Sends a run from its journal, and waits for it; 0 if the server has every row."""
    process = start(run, key, "--push", "--patience", f"{patience_s:g}")
    try:
        return process.wait()
    finally:
        end(process)
