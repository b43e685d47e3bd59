"""IsolatedHost: a fresh process for every trial (`isolate: true`).

For trainables that leak, that keep global state, or that may crash the process: a segmentation fault
then costs one segment and not the worker. The price is a process start a trial.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ray import cloudpickle

from raysearch.core.error_text import print_traceback
from raysearch.core.segment import Cause, Status
from raysearch.engine.messages import Lease
from raysearch.errors import CheckpointError
from raysearch.worker.child_steps import environment_for
from raysearch.worker.host import Aborted, Host, Progress
from raysearch.worker.job import Job
from raysearch.worker.reports import Trained


class IsolatedHost:
    """Trains like a Host, in a child process that serves one trial."""

    def __init__(self, job: Job, scratch: Path, log: Path | None) -> None:
        self._job = job
        self._scratch = scratch
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._trial: int | None = None

    def train(self, lease: Lease, checkpoint: Path | None, progress: Progress) -> Trained:
        """As Host.train; a child that dies is a failed segment."""
        if lease.segment.trial != self._trial:
            self.drop()
            self._start(lease.segment.trial)
        try:
            self._send(("train", lease, checkpoint))
            while True:
                kind, value = self._receive()
                if kind == "progress":
                    self._send(progress(value))
                    continue
                return self._unpack(kind, value)
        except (EOFError, OSError):
            code = self._child.wait() if self._child else None
            self.drop()
            return Trained(
                Status.FAILED, error=f"the trial's process died ({_death(code)})", cause=Cause.PROCESS_DIED
            )

    def save(self, folder: Path, midway: bool = False) -> bool:
        """As Host.save."""
        try:
            self._send(("save", folder, midway))
            kind, value = self._receive()
        except (EOFError, OSError) as error:
            self.drop()
            raise OSError("the trial's process died while it wrote the checkpoint") from error
        if kind == "error":
            raise OSError(value)
        return bool(value)

    def drop(self) -> None:
        """Ends the child, if there is one."""
        child, pipe, self._child, self._pipe, self._trial = self._child, self._pipe, None, None, None
        if pipe is not None:
            pipe.close()
        if child is not None:
            with contextlib.suppress(ProcessLookupError):  # the session it leads: its own children too
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _start(self, trial: int) -> None:
        ours, theirs = _pipe()
        output = None
        if self._log is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            output = self._log.open("ab")
        ends = [str(theirs.fileno()), str(os.getpid())]
        command = [sys.executable, "-m", "raysearch.worker.isolated_host", *ends]
        paths = os.pathsep.join(p for p in sys.path if p)
        self._child = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,
        )
        if output is not None:
            output.close()
        theirs.close()
        self._pipe, self._trial = ours, trial
        self._send((self._job, self._scratch))

    def _send(self, message: Any) -> None:
        assert self._pipe is not None
        self._pipe.send_bytes(cloudpickle.dumps(message))

    def _receive(self) -> tuple[str, Any]:
        assert self._pipe is not None
        return cloudpickle.loads(self._pipe.recv_bytes())  # type: ignore[no-any-return]

    def _unpack(self, kind: str, value: Any) -> Trained:
        if kind == "aborted":
            self.drop()
            raise Aborted
        if kind == "unreadable":
            self.drop()
            raise CheckpointError(value)
        if value.status is not Status.COMPLETED and not value.paused:
            self.drop()
        return value  # type: ignore[no-any-return]


def _pipe() -> tuple[Connection, Connection]:
    from multiprocessing import Pipe

    return Pipe()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(pipe: Connection, parent: int) -> None:
    """The child's side: answers requests until the pipe is closed."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    job, scratch = cloudpickle.loads(pipe.recv_bytes())
    os.environ.update(environment_for(Path(scratch, "children", str(os.getpid()))))
    host = Host.of(job, scratch)
    while True:
        try:
            request = cloudpickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        answer = _trained(host, pipe, *request[1:]) if request[0] == "train" else _saved(host, *request[1:])
        pipe.send_bytes(cloudpickle.dumps(answer))


def _end_with(parent: int) -> None:
    """Ends this process and its children when its worker is gone, even in the midst of an iteration."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(0, signal.SIGKILL)


def _trained(host: Host, pipe: Connection, lease: Lease, checkpoint: Path | None) -> tuple[str, Any]:
    def progress(iteration: int) -> int:
        pipe.send_bytes(cloudpickle.dumps(("progress", iteration)))
        return int(cloudpickle.loads(pipe.recv_bytes()))

    try:
        return "trained", host.train(lease, checkpoint, progress)
    except Aborted:
        return "aborted", None
    except CheckpointError as error:
        return "unreadable", str(error)


def _saved(host: Host, folder: Path, midway: bool) -> tuple[str, Any]:
    try:
        return "saved", host.save(folder, midway)
    except Exception as error:  # noqa: BLE001  (the user's save_checkpoint may raise anything)
        print_traceback()
        return "error", f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
