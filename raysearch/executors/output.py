"""What trials print goes to one file a worker, with a heading where the trial changes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
        """The file, for those who write bytes."""
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
