"""The journal's append log: frames of Arrow rows, each durable before `append` returns.

    header  magic, format version, number of the first row, crc32 of these
    frame   magic, bytes and rows of the payload, its crc32, number of its first row, crc32 of these;
            the payload: rows of schema.SCHEMA as an Arrow IPC message without the schema

An append is one frame, so a crash can leave at most one broken frame, at the end: a tear, which is cut.
A broken frame with a whole one behind it is corruption and an error.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from raysearch.errors import JournalError
from raysearch.storage.atomic import sync, sync_path
from raysearch.storage.journal.schema import SCHEMA
from raysearch.storage.paths import Part, log_name

VERSION = 1

_MAGIC = b"raysrch\n"
_HEADER = struct.Struct("<8sHxxQ")
_FRAME_MAGIC = b"\xf7RSJ"
_FRAME = struct.Struct("<4sIIIQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
_FRAME_BYTES = _FRAME.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Frame:
    """One append: `rows` rows from number `first` on; `end` is where the next frame begins."""

    first: int
    rows: int
    end: int
    payload: bytes

    def batch(self) -> pa.RecordBatch:
        return pa.ipc.read_record_batch(pa.py_buffer(self.payload), SCHEMA)


@dataclass(frozen=True, slots=True)
class Tear:
    """The end of a log that is no whole frame.

    Attributes:
        row: the number that its first row would have; those before it are whole.
        is_damage: all bytes of a frame are there, and some are wrong: no append that a process died in, but
            one that a power cut left half written, or that was changed since.
    """

    path: Path
    offset: int
    size: int
    row: int = 0
    is_damage: bool = False

    def __str__(self) -> str:
        text = f"{self.path}: cut {self.size} bytes at {self.offset}, an append that was never finished"
        return f"{text}, or that a disk or a program has changed since" if self.is_damage else text


class LogReader:
    """Reads a log's whole frames in order; `tear` and `end` are set when they have been read.

    Raises:
        JournalError: not a log, of a newer format, or broken other than at its end.
    """

    def __init__(self, part: Part, offset: int = HEADER_BYTES, row: int | None = None) -> None:
        """Begins at byte `offset`, where row number `row` stands; at the first row by default."""
        self.part = part
        self.end = offset
        self.next_row = part.first if row is None else row
        self.tear: Tear | None = None

    def frames(self, from_row: int = 0) -> Iterator[Frame]:
        """The frames that hold rows from `from_row` on; the others are passed over unread."""
        with open(self.part.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not self._check_header(file, size):
                return
            file.seek(self.end)
            while self.end < size:
                found = _read_frame(file, self.end, from_row)
                if found is None:
                    self._break(file, size)
                    return
                if found.first != self.next_row:
                    raise JournalError(
                        f"{self.part.path}: row {found.first} stands at byte {self.end} in place of row"
                        f" {self.next_row}: a program changed the file. Restore it from a backup"
                    )
                self.end, self.next_row = found.end, found.first + found.rows
                if self.next_row > from_row:
                    yield found

    def _check_header(self, file: BinaryIO, size: int) -> bool:
        """False if a crash left the header unfinished, so that there is no row."""
        head = file.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES and _MAGIC.startswith(head[: len(_MAGIC)]):
            self.end, self.tear = 0, Tear(self.part.path, 0, size)
            return False
        check_version(self.part.path, *_parse_header(self.part.path, head))
        return True

    def _break(self, file: BinaryIO, size: int) -> None:
        file.seek(self.end)
        if behind := _whole_frame_behind(file.read()):
            raise JournalError(
                f"{self.part.path}: broken at byte {self.end}, with whole rows behind it at byte"
                f" {self.end + behind}: the disk or a program changed it. The rows before {self.next_row} are"
                " whole. Restore the file from a backup"
            )
        file.seek(self.end)
        head, left = file.read(_FRAME_BYTES), size - self.end - _FRAME_BYTES
        parsed = _parse_frame(head)
        is_damage = left >= 0 and (parsed is None or parsed[0] <= left)
        self.tear = Tear(self.part.path, self.end, size - self.end, self.next_row, is_damage)


def header(first: int) -> bytes:
    """The beginning of a log whose first row is number `first`."""
    head = _HEADER.pack(_MAGIC, VERSION, first)
    return head + _CRC.pack(zlib.crc32(head))


def frame(first: int, batch: pa.RecordBatch) -> bytes:
    """The frame of these rows, of which the first is number `first`."""
    payload = batch.serialize()
    head = _FRAME.pack(_FRAME_MAGIC, len(payload), batch.num_rows, zlib.crc32(payload), first)
    return b"".join((head, _CRC.pack(zlib.crc32(head)), payload))


def _parse_header(path: Path, head: bytes) -> tuple[int, bool]:
    if len(head) < HEADER_BYTES or not head.startswith(_MAGIC):
        raise JournalError(f"{path}: not a journal of raysearch (at byte 0: {head[:8]!r})")
    _, version, _ = _HEADER.unpack_from(head)
    (crc,) = _CRC.unpack_from(head, _HEADER.size)
    return version, crc == zlib.crc32(head[: _HEADER.size])


def check_version(path: Path, version: int, whole: bool = True) -> None:
    """Raises JournalError if this raysearch cannot read a file of that format."""
    if version > VERSION:
        raise JournalError(
            f"{path}: written by a newer raysearch, journal format {version}; this one reads up to {VERSION}."
            " Upgrade raysearch to read it"
        )
    if not whole:
        raise JournalError(f"{path}: broken at byte 0, its header. Restore the file from a backup")


def _read_frame(file: BinaryIO, offset: int, from_row: int) -> Frame | None:
    """The frame at `offset`, where `file` stands; None if there is none whole. Old rows are skipped."""
    head = _parse_frame(file.read(_FRAME_BYTES))
    if head is None:
        return None
    length, rows, crc, first = head
    end = offset + _FRAME_BYTES + length
    if first + rows <= from_row and os.fstat(file.fileno()).st_size >= end:
        file.seek(end)
        return Frame(first, rows, end, b"")
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload) != crc:
        return None
    return Frame(first, rows, end, payload)


def _parse_frame(head: bytes) -> tuple[int, int, int, int] | None:
    if len(head) < _FRAME_BYTES:
        return None
    magic, length, rows, crc, first = _FRAME.unpack_from(head)
    (head_crc,) = _CRC.unpack_from(head, _FRAME.size)
    if magic != _FRAME_MAGIC or head_crc != zlib.crc32(head[: _FRAME.size]):
        return None
    return length, rows, crc, first


def _whole_frame_behind(rest: bytes) -> int | None:
    """Where in `rest`, behind its broken beginning, a whole frame stands."""
    at = rest.find(_FRAME_MAGIC, 1)
    while at >= 0:
        head = _parse_frame(rest[at : at + _FRAME_BYTES])
        if head is not None:
            length, _, crc, _ = head
            payload = rest[at + _FRAME_BYTES : at + _FRAME_BYTES + length]
            if len(payload) == length and zlib.crc32(payload) == crc:
                return at
        at = rest.find(_FRAME_MAGIC, at + 1)
    return None


class LogWriter:
    """Appends frames to a log; only one process may."""

    def __init__(self, part: Part, end: int, next_row: int) -> None:
        """Goes on at byte `end` of a log that is there; what stands behind it is cut."""
        self.part = part
        self.end = end
        self.next_row = next_row
        self._fd = os.open(part.path, os.O_RDWR)
        self._clean = False
        self._cut()

    @classmethod
    def create(cls, part: Part) -> LogWriter:
        """A new log, durable. Raises OSError, leaving no file, if it cannot be written."""
        try:
            with open(part.path, "wb") as file:
                file.write(header(part.first))
                file.flush()
                sync(file.fileno())
            sync_path(part.path.parent)
        except OSError:
            part.path.unlink(missing_ok=True)
            raise
        return cls(part, HEADER_BYTES, part.first)

    def append(self, batch: pa.RecordBatch) -> None:
        """Makes the rows durable. Raises OSError if it cannot; then none of them is there."""
        self._write(frame(self.next_row, batch))
        self.next_row += batch.num_rows

    @property
    def is_empty(self) -> bool:
        """Whether it holds no row."""
        return self.next_row == self.part.first

    def following(self) -> LogWriter:
        """A new log for the rows to come; closes this one. Raises OSError if it cannot be made."""
        new = LogWriter.create(Part(self.part.path.with_name(log_name(self.next_row)), self.next_row))
        self.close()
        return new

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, data: bytes) -> None:
        if os.fstat(self._fd).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the journal's file was deleted while it was in use")
        if not self._clean:
            self._cut()
        self._clean = False
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._fd, left) :]
            sync(self._fd)
        except OSError:
            self._cut()
            raise
        self.end += len(data)
        self._clean = True

    def _cut(self) -> None:
        os.ftruncate(self._fd, self.end)
        os.lseek(self._fd, self.end, os.SEEK_SET)
        os.fsync(self._fd)
        self._clean = True
