"""The driver's side of the tracking process: started before Ray, started again when it dies, waited for briefly."""  # noqa: E501

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.core.version import install
from raysearch.errors import RunError
from raysearch.storage.paths import RunPaths
from raysearch.tracking.wandb import settings
from raysearch.tracking.wandb.api_key import find_key, taken_out

RESTARTS = 3
OK, INCOMPLETE, AGAIN = 0, 3, 5  # exit codes of the tracking process
REPORT_S = 60.0
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
        sent = False
        try:
            yield
        finally:
            if companion is not None and not (sent := companion.close()):
                say(f"W&B: not everything is there yet; send the rest: raysearch wandb push {run}")
        _report(run, key if sent else None, say)


@contextlib.contextmanager
def sinking(run: Path, names: Sequence[str], say: Callable[[str], None]) -> Iterator[None]:
    """Writes the run to its sinks for the length of the block, in a process that never has the W&B key."""
    if not names:
        yield
        return
    paths = RunPaths(run)
    process = beside(run, "sinks.log", "raysearch.tracking.sending", *names)
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            code = -1
        end(process)
        if code:
            again = f"raysearch sink {run} {' '.join(names)}"
            say(
                f"{', '.join(names)}: not everything is written ({paths.tracking / 'sinks.log'}); again: {again}"  # noqa: E501
            )


class Companion:
    """A tracking process and the thread that keeps it alive."""

    def __init__(self, run: Path, key: str) -> None:
        self._run, self._key, self._began = run, key, time.time()
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
        """Has the process send the rest, or ends it after a while. True if the server has everything."""
        self._closing.set()
        self._leave()
        self._thread.join(patience_s)
        end(self._process)
        return self._complete

    def _leave(self) -> None:
        """Closes the process's stdin, at which it sends the rest and ends."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _start(self) -> subprocess.Popen[bytes]:
        return start(self._run, self._key, "--since", repr(self._began))

    def _watch(self) -> None:
        deaths = 0
        while deaths <= RESTARTS:
            code = self._process.wait()
            if self._closing.is_set() or code in (OK, INCOMPLETE):
                self._complete = code == OK
                return
            deaths += code != AGAIN  # an outage may last for any time
            end(self._process)  # with the client's own process, which it started
            self._process = self._start()
            if self._closing.is_set():  # the search ended while it was being started again
                self._leave()


def beside(run: Path, log: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts `module` with the run and arguments, without the W&B key; it writes to `log` in `tracking/`.

    The end of its stdin tells it that the driver has left.
    """
    tracking = RunPaths(run).tracking
    tracking.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", module, str(run), *arguments]
    with taken_out(), (tracking / log).open("ab") as file:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True
        )


def start(run: Path, key: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts a tracking process; the key goes through its stdin, and is in no command line and no file."""
    process = beside(run, "process.log", "raysearch.tracking.process", *arguments)
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.write(f"{key}\n".encode())
        process.stdin.flush()
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a tracking process and its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def report(run: Path, key: str | None, timeout_s: float = REPORT_S) -> str:
    """Builds the W&B report beside the run, and with a key saves it at W&B; returns its address there.

    Raises:
        RunError: it cannot be built or saved; says why.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise RunError(f"the W&B report needs an extra: {install('wandb-report')}")
    command = [
        sys.executable,
        "-m",
        "raysearch.tracking.wandb.report",
        str(run),
        *(["--save"] if key else []),
    ]
    try:
        with taken_out():
            done = subprocess.run(
                command,
                input=f"{key or ''}\n",
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise RunError(f"the W&B report of {run} was not saved within {timeout_s:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RunError(
            f"the W&B report of {run} could not be saved: {said[-1] if said else 'no reason given'}"
        )
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def _report(run: Path, key: str | None, say: Callable[[str], None]) -> None:
    """Saves the report of an ended search, where the extra is installed; prints failures."""
    if importlib.util.find_spec("wandb_workspaces") is None:
        return
    try:
        if url := report(run, key):
            say(f"W&B report: {url}")
    except RunError as error:
        say(f"W&B: {error}; save it later: raysearch report {run} --wandb")


def push(run: Path, key: str, patience_s: float = 30.0) -> int:
    """Sends a run from its journal, and waits for it; 0 if the server has every row."""
    process = start(run, key, "--push", "--patience", f"{patience_s:g}")
    try:
        return process.wait()
    finally:
        end(process)
