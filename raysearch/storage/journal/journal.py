"""The writer of a journal: every outcome and event of a run is durable when `append` returns.

    with Journal.create(folder) as journal:
        journal.append(outcomes)                  # on disk when this returns
    for outcome in read_outcomes(folder): ...     # any process, at any time, without the lock

One process appends, to a log of checksummed frames (append_log.py); a thread turns full logs into Parquet
(compaction.py). schema.py describes the rows, and reading.py reads them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from raysearch.core.segment import Outcome
from raysearch.errors import JournalBusyError, JournalError, StoreError
from raysearch.storage import file_lock
from raysearch.storage.atomic import sync_path
from raysearch.storage.journal import parts
from raysearch.storage.journal.append_log import LogReader, LogWriter
from raysearch.storage.journal.compaction import compact
from raysearch.storage.journal.encode import encode_event, encode_outcomes
from raysearch.storage.journal.object_log import StoreLog
from raysearch.storage.journal.reading import (
    read_events,
    read_outcomes,
)
from raysearch.storage.journal.schema import JournalEvent
from raysearch.storage.mirror import Mirror, mirror_at
from raysearch.storage.paths import TMP_SUFFIX, JournalPaths, Part
from raysearch.storage.store_lock import Fence

# A log is compacted when it passes this; about a hundred thousand rows.
LOG_BYTES = 32 << 20

_APPEND_ROWS = 32_768


class Journal:
    """A journal opened for appending, which one process at a time may do; safe to call from any thread.

    Attributes:
        notes: events that need no action now: an unfinished append cut, a compaction put off.
    """

    def __init__(self, root: Path, lock: int) -> None:
        """Use `create` or `open`."""
        self.root = root
        self.notes: list[str] = []
        self._lock_fd = lock
        self._mirror = mirror_at(root.parent)  # where the run is at a store
        self._fence = _fence(self._mirror) if self._mirror is not None else None
        self._mutex = threading.Lock()
        self._compactor: ThreadPoolExecutor | None = None
        self._rotate_at = LOG_BYTES
        self._closed = False
        try:
            self._log = _open_log(root, self.notes, self._mirror)
        except BaseException:
            self._release_fence()
            raise

    @classmethod
    def create(cls, root: str | os.PathLike[str]) -> Journal:
        """A new journal in this folder, which is made if need be.

        Raises:
            JournalError: there is one already, or the folder cannot be written.
        """
        path = Path(root)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = _take_lock(JournalPaths(path))
        except OSError as error:
            raise JournalError(f"{path}: a journal cannot be made here: {error.strerror}") from error
        with _released_on_error(lock, f"{path}: a journal cannot be made here"):
            if any(JournalPaths(path).part(name) for name in os.listdir(path)):
                raise JournalError(f"{path}: holds a journal already; open it, or choose another folder")
            sync_path(path.parent)
            mirror = mirror_at(path.parent)
            if mirror is None:
                LogWriter.create(JournalPaths(path).log(0)).close()
            else:
                StoreLog.create(mirror)
            return cls(path, lock)

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Journal:
        """The journal in this folder, to go on with. An unfinished append is cut, and noted in `notes`.

        Raises:
            JournalError: there is none, another process has it open, or it is broken.
        """
        path = Path(root)
        parts.list_parts(path)
        try:
            lock = _take_lock(JournalPaths(path))
        except OSError as error:
            raise JournalError(f"{path}: the journal cannot be opened: {error.strerror}") from error
        with _released_on_error(lock, f"{path}: the journal cannot be opened"):
            return cls(path, lock)

    @property
    def rows(self) -> int:
        """How many rows there are, outcomes and events."""
        return self._log.next_row

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Makes the outcomes durable: one write and one sync for all of them, unless there are very many.

        Raises:
            SpecError: a config holds what cannot be kept; nothing was written.
            JournalError: the disk is full or failing; nothing was written, and append can be called
                again. Of more than 32,768 outcomes the first ones may have been written.
        """
        for at in range(0, len(outcomes), _APPEND_ROWS):
            self._append(encode_outcomes(outcomes[at : at + _APPEND_ROWS]))

    def append_event(self, kind: str, detail: Mapping[str, Any], at: float) -> None:
        """Makes an event durable; `at` is Unix time. Raises as `append` does."""
        self._append(encode_event(kind, detail, at))

    def outcomes(self) -> Iterator[Outcome]:
        """All outcomes in the order written."""
        return read_outcomes(self.root)

    def events(self) -> Iterator[JournalEvent]:
        """All events in the order written."""
        return read_events(self.root)

    def compact(self) -> None:
        """Turns everything written so far into Parquet; returns when it is done.

        Raises:
            JournalError: it cannot be done now; nothing is lost by that.
        """
        with self._mutex:
            self._check_open()
            try:
                self._rotate()
            except OSError as error:
                raise JournalError(f"{self.root}: cannot be compacted: {error.strerror}") from error
            job = self._submit()
        if note := job.result():
            raise JournalError(note)

    def close(self) -> None:
        """Compacts, and releases the lock. Logs that cannot be compacted stay, and `notes` says why."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            self._log.close()
            job = self._submit()
        try:
            job.result()
        finally:
            if self._compactor:
                self._compactor.shutdown()
            self._release_fence()
            os.close(self._lock_fd)

    def _release_fence(self) -> None:
        if self._fence is not None and self._mirror is not None:
            self._mirror.is_written_here = False
            self._fence.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, batch: pa.RecordBatch) -> None:
        with self._mutex:
            self._check_open()
            try:
                if self._fence is not None:
                    self._fence.check()
                self._log.append(batch)
            except (OSError, StoreError) as error:
                raise JournalError(
                    f"{self._log.part.path}: {batch.num_rows} rows could not be written: {_why(error)}."
                    " Everything acknowledged is still there; make room and resume"
                ) from error
            if self._log.end >= self._rotate_at:
                self._rotate_when_possible()

    def _check_open(self) -> None:
        if self._closed:
            raise JournalError(f"{self.root}: the journal was closed")

    def _rotate_when_possible(self) -> None:
        try:
            self._rotate()
        except OSError as error:
            self._rotate_at = self._log.end + LOG_BYTES
            self.notes.append(f"{self._log.part.path}: goes on growing, a new log cannot be made: {error}")
        else:
            self._submit()

    def _rotate(self) -> None:
        """Begins a new log, unless this one is empty."""
        if self._log.is_empty:
            return
        self._log = self._log.following()
        self._rotate_at = LOG_BYTES

    def _submit(self) -> Future[str]:
        """Starts the compaction of the logs that are closed; the result is its error, or empty."""
        if self._compactor is None:
            self._compactor = ThreadPoolExecutor(1, thread_name_prefix="journal-compaction")
        below = self._log.next_row if self._closed else self._log.part.first
        return self._compactor.submit(self._compact, below)

    def _compact(self, below: int) -> str:
        try:
            compact(self.root, below)
            if self._mirror is not None and self._fence is not None:
                self._fence.check()
                self._mirror.push_parts(parts.list_parts(self.root)[0])
        except (OSError, JournalError, StoreError, pa.ArrowException) as error:
            self.notes.append(f"{self.root}: not compacted: {error}")
            return self.notes[-1]
        return ""


def _fence(mirror: Mirror) -> Fence:
    """Locks a journal at a store, and brings its mirror up to date."""
    fence = Fence(mirror.store)
    try:
        mirror.refresh(now=True)
    except BaseException:
        fence.release()
        raise
    mirror.is_written_here = True
    return fence


@contextlib.contextmanager
def _released_on_error(lock: int, failure: str) -> Iterator[None]:
    """Releases the lock when the block raises; turns errors of storage into a JournalError."""
    try:
        yield
    except BaseException as error:
        os.close(lock)
        if isinstance(error, (OSError, StoreError)):
            raise JournalError(f"{failure}: {_why(error)}") from error
        raise


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _open_log(root: Path, notes: list[str], mirror: Mirror | None) -> LogWriter | StoreLog:
    """The log to append to, its unfinished end cut; removes what a crash left over."""
    for name in os.listdir(root):
        if name.endswith(TMP_SUFFIX):
            (root / name).unlink()
    used, covered = parts.list_parts(root)
    for part in covered:
        part.path.unlink()
    if text := parts.unsealed(used):
        notes.append(text)
    last = used[-1]
    if mirror is not None:
        return StoreLog(mirror, last.stop if last.stop is not None else _rows_of(last))
    if last.stop is not None:
        return LogWriter.create(JournalPaths(root).log(last.stop))
    reader = LogReader(last)
    for _ in reader.frames():
        pass
    if reader.tear:
        notes.append(str(reader.tear))
    if reader.end == 0:
        return LogWriter.create(last)
    return LogWriter(last, reader.end, reader.next_row)


def _rows_of(log: Part) -> int:
    """The number of the row behind a log's last."""
    reader = LogReader(log)
    for _ in reader.frames():
        pass
    return reader.next_row


def _take_lock(paths: JournalPaths) -> int:
    try:
        return file_lock.take(paths.lock)
    except file_lock.LockedError as owner:
        raise JournalBusyError(f"{paths.root}: {owner} has the journal open") from owner
