"""The files of a journal as one sequence of rows.

A journal is parts: Parquet files, then logs, the last of which grows. Their names carry the row
numbers. Where two parts hold the same rows, as a crash of `compaction` leaves them, the longest counts.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from raysearch.errors import JournalError
from raysearch.storage.journal.append_log import VERSION, LogReader, check_version
from raysearch.storage.mirror import mirror_at
from raysearch.storage.paths import JournalPaths, Part
from raysearch.storage.sealed_parquet import BrokenSealError, verify

_BATCH_ROWS = 8_192
_BATCH_BYTES = 4 << 20  # of a log, at most about so many
_FRAMES = 128  # of a log that are held apart: each takes some 15 kB beyond its rows
_LISTINGS = 20
VERSION_KEY = b"raysearch.journal"
TEXTS_THAT_REPEAT = ("role", "status", "shape", "metrics", "worker", "error", "detail")
_KNOWN = 4096  # verified parts that a process remembers
MISREAD = (pa.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError, AttributeError)


class Position(NamedTuple):
    """How far a follower has read. Plain integers, so that it can be kept as JSON."""

    row: int = 0
    log: int = -1  # the log that stopped in, by its first row, and the byte behind what was read;
    offset: int = 0  # of use as long as it is not compacted


START = Position()


class Batch(NamedTuple):
    """Rows from number `first` on, the position behind them, and the file that they stand in."""

    first: int
    rows: pa.RecordBatch
    behind: Position
    path: Path

    @contextlib.contextmanager
    def decoded(self) -> Iterator[None]:
        """Turns what the block raises because the rows hold what no version wrote into a JournalError."""
        try:
            yield
        except MISREAD as error:
            last = self.first + self.rows.num_rows - 1
            raise JournalError(
                f"{self.path}: one of the rows {self.first} to {last} is no outcome or event: "
                f"{type(error).__name__}: {error}. A disk or a program changed the file; the rows of other "
                "files are whole. Restore it from a backup"
            ) from error


def list_parts(root: Path) -> tuple[list[Part], list[Part]]:
    """The parts that make up the journal, in order, and those that others cover.

    Raises:
        JournalError: there is no journal, or rows are missing between two parts.
        StoreError: it is at a store, which does not answer.
    """
    if (mirror := mirror_at(root.parent)) is not None:
        mirror.refresh()
    for _ in range(_LISTINGS):
        found = _listing(root)
        used, covered, gap = _chain(found)
        # A listing that a compaction ran through may miss both the old part and the new one.
        if not gap and found == _listing(root):
            return used, covered
    if gap:
        after = used[-1].stop if used else 0
        raise JournalError(f"{root}: the part with row {after} is missing; restore it from a backup")
    return used, covered


def _listing(root: Path) -> list[Part]:
    paths = JournalPaths(root)
    try:
        parts = [part for name in os.listdir(root) if (part := paths.part(name))]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise JournalError(f"{root}: there is no journal here") from error
    if not parts:
        raise JournalError(f"{root}: there is no journal here, no part of one in the folder")
    return sorted(parts, key=lambda part: (part.first, part.stop is None, -(part.stop or 0)))


def _chain(found: Sequence[Part]) -> tuple[list[Part], list[Part], bool]:
    """(used, covered, whether rows are missing) of parts sorted by (first, Parquet before logs, longest)."""
    used: list[Part] = []
    covered: list[Part] = []
    at: int | None = 0  # None behind a log: it ends where the next part begins
    for part in found:
        if (at is None and part.first > used[-1].first) or part.first == at:
            used.append(part)
            at = part.stop
        elif at is None or part.first < at:
            covered.append(part)
        else:
            return used, covered, True
    return used, covered, False


def read_batches(
    root: Path, columns: Sequence[str] | None = None, position: Position = START
) -> Iterator[Batch]:
    """Rows from `position` on, in order, some thousand at a time, while another process may append.

    Raises:
        JournalError: what is read is broken, foreign, or of a newer format.
    """
    at = position
    missing = 0
    while True:
        try:
            for batch in _read_listed(root, columns, at):
                at = batch.behind
                missing = 0
                yield batch
            return
        except FileNotFoundError as error:  # compacted since it was listed: its rows are in a new part
            missing += 1
            if missing > _LISTINGS:
                raise JournalError(f"{root}: {error.filename} cannot be opened") from error


def _read_listed(root: Path, columns: Sequence[str] | None, at: Position) -> Iterator[Batch]:
    used, _ = list_parts(root)
    for part, after in zip(used, [*used[1:], None], strict=True):
        stop = after.first if after else None
        if part.stop is not None:
            if part.stop > at.row:
                yield from _read_parquet(part, columns, at.row)
        elif part.first == at.log:
            yield from read_log(LogReader(part, at.offset, at.row), columns, at.row, stop)
        elif stop is None or stop > at.row:
            yield from read_log(LogReader(part), columns, at.row, stop)


def read_log(
    reader: LogReader, columns: Sequence[str] | None, row: int, stop: int | None = None
) -> Iterator[Batch]:
    """A log's rows from number `row` on; JournalError if it ends before `stop`."""
    path = reader.part.path
    small: list[pa.RecordBatch] = []  # an append may be of one row; together they decode faster
    first = rows = size = joined = 0
    for frame in reader.frames(row):
        behind = max(0, row - frame.first)
        first = first if small else frame.first + behind
        batch = frame.batch()
        small.append((batch if columns is None else batch.select(list(columns))).slice(behind))
        rows, size = rows + small[-1].num_rows, size + len(frame.payload)
        if len(small) - joined >= _FRAMES:
            small[joined:] = [_joined(small[joined:])]
            joined += 1
        if rows >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield Batch(first, _joined(small), Position(first + rows, reader.part.first, frame.end), path)
            small, rows, size, joined = [], 0, 0, 0
    if small:
        yield Batch(first, _joined(small), Position(first + rows, reader.part.first, reader.end), path)
    if stop is not None and reader.next_row != stop:
        raise JournalError(
            f"{reader.part.path}: broken at byte {reader.end}: rows {reader.next_row} to {stop - 1} are"
            " missing. Restore the file from a backup"
        )


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _read_parquet(part: Part, columns: Sequence[str] | None, row: int) -> Iterator[Batch]:
    at = part.first
    with open_parquet(part) as file:
        names = None if columns is None else list(columns)
        for batch in batches_of(part, file, names):
            behind = max(0, row - at)
            at += batch.num_rows
            if at > row:
                yield Batch(at - batch.num_rows + behind, batch.slice(behind), Position(at), part.path)
    if at != part.stop:
        raise JournalError(f"{part.path}: holds {at - part.first} rows, not those that its name says")


def batches_of(part: Part, file: pq.ParquetFile, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=columns)
    except MISREAD as error:
        raise broken(part, error) from error


def open_parquet(part: Part) -> pq.ParquetFile:
    """The part, verified and opened; texts that repeat are read as dictionaries.

    Raises:
        JournalError: not a part of a journal, of a newer format, or changed since it was written.
        FileNotFoundError: it is gone, compacted.
    """
    is_sealed(part)
    try:
        file = pq.ParquetFile(part.path, read_dictionary=list(TEXTS_THAT_REPEAT))
        version = (file.metadata.metadata or {}).get(VERSION_KEY)
        number = VERSION if version is None else int(version)
    except FileNotFoundError:
        raise
    except MISREAD as error:
        raise broken(part, error) from error
    if version is None:
        raise JournalError(f"{part.path}: a Parquet file, but not of a journal of raysearch")
    check_version(part.path, number)
    return file


def is_sealed(part: Part) -> bool:
    """Verifies a Parquet part; False if it is of a version that wrote no checksum.

    A process reads the whole of a file for it once, and again if the file was changed; of a part without a
    checksum it decodes each row. A part of a mirror that proves broken is fetched anew from the store.

    Raises:
        JournalError: its bytes are not those that were written.
        FileNotFoundError: it is gone, compacted.
    """
    found = _is_verified(part.path)
    if found is None and (mirror := mirror_at(part.path.parent.parent)) is not None:
        mirror.fetch_anew(part.path)
        found = _is_verified(part.path)
    if found is None:
        raise broken(part, "its bytes are not those that were written")
    if not found and _verified[part.path] not in _decodable:
        _check_rows(part)
        _decodable.add(_verified[part.path])
    return found


def _check_rows(part: Part) -> None:
    """Decodes each row. Raises JournalError for one that no version wrote."""
    from raysearch.storage.journal.decode import Decoder, decode_events

    decoder, at = Decoder(), part.first
    try:
        file = pq.ParquetFile(part.path, read_dictionary=list(TEXTS_THAT_REPEAT))
    except MISREAD as error:
        raise broken(part, error) from error
    with file:
        for rows in batches_of(part, file, None):
            batch = Batch(at, rows, START, part.path)
            with batch.decoded():
                deque(decoder.outcomes(rows), 0)
                deque(decode_events(rows), 0)
            at += rows.num_rows


def unsealed(used: Sequence[Part]) -> str:
    """A sentence on the parts without a checksum; empty if each has one. Raises as `is_sealed` does."""
    plain = [part.path for part in used if part.stop is not None and not is_sealed(part)]
    if not plain:
        return ""
    more = f" and {len(plain) - 1} more files" if plain[1:] else ""
    return (
        f"{plain[0]}{more}: of a version without checksums; a byte that a disk changes in it is not noticed"
    )


_verified: dict[Path, tuple[tuple[int, ...], bool]] = {}
_decodable: set[tuple[tuple[int, ...], bool]] = set()


def _is_verified(path: Path) -> bool | None:
    """Whether the file has a checksum; None if it is wrong."""
    with open(path, "rb") as file:
        stat = os.fstat(file.fileno())
        state = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        known = _verified.get(path)
        if known is not None and known[0] == state:
            return known[1]
        try:
            found = verify(file.read())
        except BrokenSealError:
            return None
    if len(_verified) >= _KNOWN:
        _verified.clear()
        _decodable.clear()
    _verified[path] = (state, found)
    return found


def broken(part: Part, why: object) -> JournalError:
    last = (part.stop or 0) - 1
    return JournalError(
        f"{part.path}: broken, or not a Parquet file: {why}. The rows {part.first} to {last} are in it; "
        "those of the other files are whole. Restore it from a backup"
    )


def dictionaries(rows: pa.RecordBatch) -> pa.Table:
    """The rows as a table, with the texts that repeat as dictionaries, in parts of any kind."""
    table = pa.Table.from_batches([rows])
    for name in TEXTS_THAT_REPEAT:
        at = table.schema.get_field_index(name)
        if at >= 0 and not pa.types.is_dictionary(table.schema.field(at).type):
            table = table.set_column(at, name, table.column(at).dictionary_encode())
    return table
