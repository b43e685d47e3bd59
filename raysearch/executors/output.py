"""What trials print goes to one file a worker, with a heading where the trial changes."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path


class TrialOutput(io.TextIOBase):
    """Stands in for stdout and stderr; the file is made at the first word."""

    def __init__(self, path: Path, heading: Callable[[], str]) -> None:
        self._path = path
        self._heading = heading
        self._last = ""
        self._file: io.TextIOWrapper | None = None

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Appends `text`; what cannot be written (a full disk) is dropped rather than ending a trial."""
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", buffering=1, encoding="utf-8", errors="replace")
            heading = self._heading()
            if heading != self._last:
                self._last = heading
                self._file.write(f"--- {heading}\n")
            self._file.write(text)
        except OSError:
            self._file = None
        return len(text)

    def flush(self) -> None:
        if self._file is not None:
            try:
                self._file.flush()
            except OSError:
                self._file = None

    def take_over(self) -> None:
        """Becomes this process's stdout and stderr."""
        sys.stdout = self
        sys.stderr = self
