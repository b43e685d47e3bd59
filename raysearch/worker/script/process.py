"""A script's process: a group of its own, listened to, held between iterations, ended with its trial."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysearch.errors import TrainableError
from raysearch.worker.script.leftovers import end_all
from raysearch.worker.script.lines import flat
from raysearch.worker.script.shim.raysearch_line import SOCKET

END_S = 2.0  # from SIGTERM to SIGKILL
TAIL = 20  # lines of output that are kept for an error's text
LOOK_S = 0.2  # between two looks at a process whose end cannot be waited for
# Ends the script and what it started when its worker is gone: then the pipe at its standard input is closed.
# "$0" is the group; "$1" stands in the environment of all that the script started, in whatever group.
WATCHDOG = (
    'read gone; kill -9 "-$0"; for one in $(grep -lsF -- "$1" /proc/[0-9]*/environ); '
    'do one=${one#/proc/}; kill -9 "${one%/environ}"; done'
)


@dataclass(slots=True)
class Message:
    """What came from the script: a report that waits for its answer, or a printed line."""

    metrics: dict[str, float]
    line: str = ""
    checkpoint: str | None = None
    is_summary: bool = False
    sender: socket.socket | None = None

    def answer(self) -> None:
        """Lets the script go on."""
        if self.sender is not None:
            with contextlib.suppress(OSError):
                self.sender.sendall(b"+")


class ScriptProcess:
    """The process of one trial and all that it starts."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], cwd: str, address: Path) -> None:
        """
        Args:
            address: where it will reach this worker; a path that does not exist.

        Raises:
            TrainableError: there is no such program, or it may not be started.
        """
        self._ready: deque[Message] = deque()
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[int, bytes] = {}
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._mark = f"{SOCKET}={address}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(address))
        self._listener.listen()
        try:
            self._process = subprocess.Popen(
                [*words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**env, SOCKET: str(address)},
                cwd=cwd or None,
                start_new_session=True,
            )
        except OSError as error:
            self._listener.close()
            raise TrainableError(f"{words[0]} cannot be started in {cwd or '.'}: {error.strerror}") from error
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, str(self._process.pid), self._mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._selector.register(self._output, selectors.EVENT_READ, "output")
        self._selector.register(self._listener, selectors.EVENT_READ, "listener")
        self._end_fd = _end_of(self._process.pid)
        if self._end_fd is not None:
            self._selector.register(self._end_fd, selectors.EVENT_READ, "end")

    def messages(self) -> Iterator[Message]:
        """What the script says, until it has ended."""
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._process.poll() is None:
                self._look(LOOK_S if self._end_fd is None else None)
                continue
            is_more = self._look(0.0)
            if not is_more:
                self._flush()
            if not is_more and not self._ready:
                return

    def waiting(self) -> tuple[Message, ...]:
        """What has come already besides the last message: the script may be further than that."""
        self._look(0.0)
        return tuple(self._ready)

    def hold(self) -> None:
        """Stops the script where it stands, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets it run again."""
        self._signal(signal.SIGCONT)

    @property
    def code(self) -> int:
        """The exit code; negative for the signal that killed it."""
        return self._process.wait()

    def end(self) -> None:
        """Ends the script and all that it started: asked first, killed where it stays."""
        for channel in [*self._selector.get_map().values()]:
            if channel.data == "line":
                channel.fileobj.close()  # type: ignore[union-attr]
        self._listener.close()
        if self._process.poll() is None:
            self.go_on()
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        self._signal(signal.SIGKILL)
        self._process.wait()
        end_all(self._mark)
        self._watchdog.kill()
        self._watchdog.communicate()
        self._output.close()
        if self._end_fd is not None:
            os.close(self._end_fd)
        self._selector.close()

    # ---- inside

    def _look(self, timeout: float | None) -> bool:
        """Takes in what has come, a block of each channel; whether there was any.

        Waits up to `timeout` seconds for it, None for as long as it takes.
        """
        found = [(key, key.data) for key, _ in self._selector.select(timeout)]
        for key, kind in found:
            if kind == "output":
                self._read_output()
            elif kind == "listener":
                sender, _ = self._listener.accept()
                self._selector.register(sender, selectors.EVENT_READ, "line")
            elif kind == "line":
                self._read_line(key.fileobj)  # type: ignore[arg-type]
        return any(kind != "end" for _, kind in found)

    def _read_output(self) -> None:
        try:
            block = os.read(self._output.fileno(), 1 << 16)
        except BlockingIOError:
            return
        if not block:
            self._selector.unregister(self._output)
            return
        *lines, rest = (self._buffers.pop(-1, b"") + block).split(b"\n")
        self._buffers[-1] = rest
        for line in lines:
            self._note(line)

    def _flush(self) -> None:
        """Takes in a last line without an end."""
        if rest := self._buffers.pop(-1, b""):
            self._note(rest)

    def _note(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self.tail.append(text)
        self._ready.append(Message({}, text))

    def _read_line(self, sender: socket.socket) -> None:
        try:
            block = sender.recv(1 << 16)
        except OSError:
            block = b""
        if not block:
            self._selector.unregister(sender)
            sender.close()
            return
        number = sender.fileno()
        *lines, rest = (self._buffers.pop(number, b"") + block).split(b"\n")
        if rest:
            self._buffers[number] = rest
        for line in lines:
            said = json.loads(line)
            metrics = flat(said["metrics"])
            more = (said.get("checkpoint"), bool(said.get("summary")), sender)
            self._ready.append(Message(metrics, "", *more))

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _end_of(pid: int) -> int | None:
    """A descriptor that can be read when the process ends; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
