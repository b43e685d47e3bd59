"""Parquet files that hold a checksum of their own bytes; whoever reads one verifies it first.

    file.write_bytes(sealed(table, compression="zstd"))
    with open(path, "w+b") as file:
        write_sealed(file, schema, tables, compression="zstd")      # one row group after the other
    is_sealed = verify(data)            # False: an older version wrote it, without a checksum

The checksum stands among the metadata at the file's end: half of the SHA-256 of the whole file, taken with
zeros in the checksum's own place. So it goes wherever the file goes, to an object store too, and every
program that reads Parquet reads the file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_KEY = b"raysearch.checksum"
_PREFIX = b"sha256/128:"
_DIGITS = 32
_END = 8  # bytes behind a Parquet file's metadata: their length and a magic word
_PIECE = 1 << 20


class BrokenSealError(Exception):
    """The bytes of a file are not those that were written."""


def sealed(table: pa.Table, **options: Any) -> bytes:
    """The table as a Parquet file with its checksum; `options` are those of `pq.write_table`."""
    file = io.BytesIO()
    write_sealed(file, table.schema, [table], **options)
    return file.getvalue()


def write_sealed(file: BinaryIO, schema: pa.Schema, tables: Iterable[pa.Table], **options: Any) -> None:
    """Writes the tables as one Parquet file with its checksum into `file`, which is empty and can be read.

    Each table is a row group; in memory is one of them at a time. `options` are those of `pq.write_table`.

    Raises:
        OSError: it cannot be written.
    """
    blank = _PREFIX + b"0" * _DIGITS
    schema = schema.with_metadata({**(schema.metadata or {}), _KEY: blank})
    with pq.ParquetWriter(file, schema, **options) as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata))
    footer = file.seek(-_END, io.SEEK_END) - int.from_bytes(file.read(4), "little")
    at = file.seek(footer) + file.read().rindex(blank) + len(_PREFIX)
    file.seek(0)
    found = hashlib.sha256()  # with the zeros that stand there now
    while piece := file.read(_PIECE):
        found.update(piece)
    file.seek(at)
    file.write(found.hexdigest()[:_DIGITS].encode())
    file.seek(0, io.SEEK_END)


def verify(content: bytes) -> bool:
    """True if the file has a checksum and it is right, False if it has none.

    Key and prefix are looked for apart, so that a change in one of them does not pass for a file without.

    Raises:
        BrokenSealError: a byte of it was changed.
    """
    key, at = content.rfind(_KEY), content.rfind(_PREFIX)
    if key < 0 and at < 0:
        return False
    at += len(_PREFIX)
    if key < 0 or at < len(_PREFIX) or content[at : at + _DIGITS] != _digest(content, at):
        raise BrokenSealError("its bytes are not those that were written: a disk or a program changed them")
    return True


def _digest(content: bytes | bytearray, at: int) -> bytes:
    view, found = memoryview(content), hashlib.sha256()
    for piece in (view[:at], b"0" * _DIGITS, view[at + _DIGITS :]):
        found.update(piece)
    return found.hexdigest()[:_DIGITS].encode()
