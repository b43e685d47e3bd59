"""The journal's log at a store, which cannot append: each append is a small log of its own.

Its file is put into the store first and then, for readers on this machine, into the mirror. So the
mirror never holds a row that the store does not, and an append that failed left nothing that counts
(or left just what the next try writes again under the same name).
"""

from __future__ import annotations

import os

import pyarrow as pa

from raysearch.storage.journal.append_log import frame, header
from raysearch.storage.mirror import JOURNAL, Mirror
from raysearch.storage.paths import JournalPaths, Part

ALLOWANCE = 64 << 10  # what a file counts for beside its bytes, so that many small ones are compacted too


class StoreLog:
    """Appends to a journal at a store, from row `next_row` on; takes the place of a LogWriter.

    Attributes:
        end: bytes since the last compaction, with an allowance for each file.
    """

    def __init__(self, mirror: Mirror, next_row: int) -> None:
        self.next_row = next_row
        self.end = 0
        self._mirror = mirror

    @classmethod
    def create(cls, mirror: Mirror) -> StoreLog:
        """That of a new journal, with an empty first log so that there is one. Raises StoreError, OSError."""
        log = cls(mirror, 0)
        log._put(header(0))
        return log

    @property
    def part(self) -> Part:
        """The file that the next append makes."""
        return JournalPaths(self._mirror.root / JOURNAL).log(self.next_row)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was appended since the last compaction."""
        return self.end == 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Makes the rows durable. Raises StoreError or OSError if it cannot."""
        content = header(self.next_row) + frame(self.next_row, batch)
        self._put(content)
        self.next_row += batch.num_rows
        self.end += len(content) + ALLOWANCE

    def following(self) -> StoreLog:
        """The log to go on with when this one is to be compacted."""
        return StoreLog(self._mirror, self.next_row)

    def close(self) -> None:
        """Nothing is open."""

    def _put(self, content: bytes) -> None:
        path = self.part.path
        self._mirror.store.put(f"{JOURNAL}/{path.name}", content)
        tmp = path.with_name(path.name + ".tmp")
        tmp.write_bytes(content)
        os.replace(tmp, path)
