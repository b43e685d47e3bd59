"""Compaction: the logs of a journal become Parquet parts.

A part is written under a temporary name, synced and renamed, and only then what it covers is removed; a crash
in between leaves rows that two parts hold, of which the longest counts. So no row is lost or doubled at any
moment. Rows go through memory some megabytes at a time, however long the log and wide its rows; each source
is verified as it is read, and what is written sealed anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from raysearch.storage.atomic import sync_path
from raysearch.storage.journal.append_log import VERSION, LogReader
from raysearch.storage.journal.parts import (
    MISREAD,
    TEXTS_THAT_REPEAT,
    VERSION_KEY,
    batches_of,
    broken,
    list_parts,
    open_parquet,
    read_log,
)
from raysearch.storage.journal.schema import SCHEMA
from raysearch.storage.paths import TMP_SUFFIX, JournalPaths, Part
from raysearch.storage.sealed_parquet import write_sealed

# A part with fewer rows, and bytes, is written again, together with the next one.
FULL_PART_ROWS = 100_000
FULL_PART_BYTES = 16 << 20

_GROUP_BYTES = 8 << 20  # of the rows that compaction has in memory; a row group of the part
_INTEGERS = ("trial", "ordinal", "back", "source", "start", "stop", "seed")
_FLOATS = ("numbers.list.element", "values.list.element", "seconds", "finished_at")


def compact(root: Path, below: int) -> None:
    """Turns the logs of rows below number `below`, which no process appends to, into Parquet parts.

    Raises:
        JournalError: a log is broken.
        OSError: the disk is full; the logs stay as they are.
    """
    while True:
        used, covered = list_parts(root)
        _remove(root, covered)
        nexts = [*used[1:], None]
        logs = [i for i, part in enumerate(used) if part.stop is None and part.first < below]
        if not logs:
            return
        i = logs[0]
        after = nexts[i]
        _compact_one(root, used[:i], used[i], after.first if after else below)


def _compact_one(root: Path, before: Sequence[Part], log: Part, stop: int) -> None:
    sources = [log]
    while before and not _is_full(before[-1]):
        sources.insert(0, before[-1])
        before = before[:-1]
    batches = (batch for part in sources for batch in _plain_batches(part, stop))
    write_parquet(JournalPaths(root).rows(sources[0].first, stop), _grouped(batches))
    _remove(root, sources)


def _is_full(part: Part) -> bool:
    """Whether the part is a Parquet part that stays as it is; a log is left alone too."""
    if part.stop is None:
        return True
    return part.stop - part.first >= FULL_PART_ROWS or part.path.stat().st_size >= FULL_PART_BYTES


def _plain_batches(part: Part, stop: int) -> Iterator[pa.Table]:
    """The rows of a part below number `stop`, some thousand at a time, as tables of SCHEMA."""
    if part.stop is None:
        for batch in read_log(LogReader(part), None, part.first, stop):
            yield pa.Table.from_batches([batch.rows], SCHEMA)
        return
    with open_parquet(part) as file:
        for rows in batches_of(part, file, None):
            try:
                table = pa.Table.from_batches([rows]).cast(SCHEMA)
            except MISREAD as error:
                raise broken(part, error) from error
            yield table


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in row groups of some megabytes."""
    group: list[pa.Table] = []
    size = 0
    for table in tables:
        group.append(table)
        size += table.nbytes
        if size >= _GROUP_BYTES:
            yield pa.concat_tables(group)
            group, size = [], 0
    if group:
        yield pa.concat_tables(group)


def write_parquet(part: Part, groups: Iterable[pa.Table]) -> None:
    """Makes the rows of `groups`, tables of SCHEMA, the part, sealed, at once and durably."""
    tmp = part.path.with_name(part.path.name + TMP_SUFFIX)
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [*TEXTS_THAT_REPEAT, "event"],
        "column_encoding": dict.fromkeys(_INTEGERS, "DELTA_BINARY_PACKED")
        | dict.fromkeys(_FLOATS, "BYTE_STREAM_SPLIT"),
        "write_statistics": ["event", "finished_at"],
    }
    schema = SCHEMA.with_metadata({VERSION_KEY: str(VERSION).encode()})
    try:
        with open(tmp, "w+b") as file:
            write_sealed(file, schema, groups, **options)
        sync_path(tmp)
        os.replace(tmp, part.path)
    finally:
        tmp.unlink(missing_ok=True)
    sync_path(part.path.parent)


def _remove(root: Path, parts: Sequence[Part]) -> None:
    for part in parts:
        part.path.unlink(missing_ok=True)
    if parts:
        sync_path(root)
