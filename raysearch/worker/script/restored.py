"""Whether a script that was given a checkpoint read it: one that began anew must not count as going on."""

from __future__ import annotations

import os
from pathlib import Path

from raysearch.errors import TrainableError

LONG_AGO = 1_000_000_000.0  # before any file's own time: file systems note a first read after that
NEVER_READ = (
    "{name} was to go on from its checkpoint, and read none of the files in RAYSEARCH_CHECKPOINT_DIR before "
    "it reported: its next iterations would be those of a training that began anew. Load from there where "
    "the folder is not empty; or, if it cannot go on, set variant: stopping in the strategy"
)


class Restored:
    """The files of a checkpoint that a script is given."""

    def __init__(self, folder: Path) -> None:
        self._files = [file for file in folder.rglob("*") if file.is_file()]
        for file in self._files:
            _forget(file)
        self._is_watched = bool(self._files) and _notes_reads(folder.parent)

    def check(self, name: str) -> None:
        """At the first report. Raises TrainableError where no file was read and the file system knows it."""
        files, self._files = self._files, []
        if self._is_watched and files and not any(map(_was_read, files)):
            raise TrainableError(NEVER_READ.format(name=name))


def _forget(file: Path) -> None:
    """Sets the time at which it was last read to one long ago."""
    os.utime(file, (LONG_AGO, file.stat().st_mtime))


def _was_read(file: Path) -> bool:
    """Whether it was read since, or replaced, or is gone."""
    return not file.exists() or file.stat().st_atime != LONG_AGO


def _notes_reads(folder: Path) -> bool:
    """Whether the file system notes reads: those mounted with noatime do not."""
    probe = folder / "probe"
    probe.write_text("read")
    _forget(probe)
    probe.read_text()
    return _was_read(probe)
