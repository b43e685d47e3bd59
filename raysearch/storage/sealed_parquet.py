"""Parquet files that hold a checksum of their own bytes; whoever reads one verifies it first.

    file.write_bytes(sealed(table, compression="zstd"))
    is_sealed = verify(data)            # False: an older version wrote it, without a checksum

The checksum stands among the metadata at the file's end: half of the SHA-256 of the whole file, taken with
zeros in the checksum's own place. So it goes wherever the file goes, to an object store too, and every
program that reads Parquet reads the file.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_KEY = b"raysearch.checksum"
_PREFIX = b"sha256/128:"
_DIGITS = 32


class BrokenSealError(Exception):
    """The bytes of a file are not those that were written."""


def sealed(table: pa.Table, **options: Any) -> bytes:
    """The table as a Parquet file with its checksum; `options` are those of `pq.write_table`."""
    blank = _PREFIX + b"0" * _DIGITS
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: blank}), sink, **options
    )
    content = bytearray(memoryview(sink.getvalue()))
    at = content.rindex(blank) + len(_PREFIX)
    content[at : at + _DIGITS] = _digest(content, at)
    return bytes(content)


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
