"""What trials print goes to one file a worker, with a heading where the trial changes."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from raysearch.errors import StoreError
from raysearch.storage.mirror import mirror_at


class TrialOutput(io.TextIOBase):
    """Stands in for stdout and stderr of a worker's process.

    Python's output gets headings; that of C code and child processes, which write to the file
    descriptors, goes to the same file without.
    """

    def __init__(self, path: Path, heading: Callable[[], str]) -> None:
        self._heading = heading
        self._last = ""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8."""
        return "utf-8"

    @property
    def buffer(self) -> BinaryIO:
        """The file, for writers of bytes."""
        return self._file

    def fileno(self) -> int:
        """The file's descriptor, for child processes."""
        return self._file.fileno()

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Appends `text`; what cannot be written (a full disk) is dropped rather than ending a trial."""
        heading = self._heading()
        lines = f"--- {heading}\n{text}" if heading != self._last else text
        self._last = heading
        try:
            self._file.write(lines.encode("utf-8", "backslashreplace"))
        except OSError:
            self._last = ""
        return len(text)

    def take_over(self) -> None:
        """Becomes this process's stdout and stderr."""
        sys.stdout = self
        sys.stderr = self
        os.dup2(self.fileno(), 1)
        os.dup2(self.fileno(), 2)


class LogCopy:
    """Sends a worker's log to the store where the run is at one: its end, every half minute."""

    EVERY_S = 30.0
    MOST_BYTES = 1 << 20

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mirror = mirror_at(path.parent.parent)
        self._sent = 0
        self._at = time.monotonic()

    def send(self, now: bool = False) -> None:
        """Sends it if there is more and it is time; what cannot be sent now is sent the next time."""
        if self._mirror is None or not (now or time.monotonic() - self._at > self.EVERY_S):
            return
        self._at = time.monotonic()
        size = self._path.stat().st_size
        if size == self._sent:
            return
        with self._path.open("rb") as file:
            file.seek(max(0, size - self.MOST_BYTES))
            content = file.read()
        with contextlib.suppress(StoreError):
            self._mirror.store.put(f"{self._path.parent.name}/{self._path.name}", content)
            self._sent = size
