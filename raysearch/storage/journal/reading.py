"""Readers of a journal: any process, at any time, without the lock.

Reading streams: it needs the memory of some thousand rows, however long the journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raysearch.core.segment import ORDINAL_BITS, Outcome
from raysearch.errors import JournalError, unknown
from raysearch.storage.journal import parts
from raysearch.storage.journal.append_log import LogReader
from raysearch.storage.journal.arrow_arrays import numbers, whole_numbers
from raysearch.storage.journal.decode import Decoder, decode_events
from raysearch.storage.journal.parts import START, Position
from raysearch.storage.journal.schema import SCHEMA, JournalEvent
from raysearch.storage.paths import Part

_EVENT_COLUMNS = ("event", "detail", "finished_at")


def read_outcomes(root: str | os.PathLike[str]) -> Iterator[Outcome]:
    """All outcomes in the order written, as they are read; an append that is going on may be left out.

    Raises:
        JournalError: there is no journal, or it is broken; says in which file, and where.
    """
    decoder = Decoder()
    for batch in parts.read_batches(Path(root)):
        with batch.decoded():
            yield from decoder.outcomes(batch.rows)


def read_events(root: str | os.PathLike[str]) -> Iterator[JournalEvent]:
    """All events in the order written. Raises as `read_outcomes` does."""
    for batch in parts.read_batches(Path(root), _EVENT_COLUMNS):
        with batch.decoded():
            yield from decode_events(batch.rows)


def read_table(root: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The outcomes as columns: those of schema.SCHEMA, but `id` and `parent` for `ordinal` and `back`.

    `columns` chooses some. The texts that repeat are dictionaries. `config`, JSON text, is made when asked
    for by name; `shape` and `numbers` hold the same without the cost.

    Raises:
        JournalError: there is no journal, or it is broken, or has no such column.
    """
    names = [*_TABLE_COLUMNS] if columns is None else [*columns]
    if wrong := [name for name in names if name not in (*_TABLE_COLUMNS, "config")]:
        raise JournalError(unknown("column", wrong[0], (*_TABLE_COLUMNS, "config")))
    stored = {part for name in names for part in _STORED.get(name, (name,))} | {"event"}
    wanted = [name for name in SCHEMA.names if name in stored]
    return _joined([_outcomes(batch.rows) for batch in parts.read_batches(Path(root), wanted)], wanted, names)


def table_since(
    root: str | os.PathLike[str], position: Position = START
) -> tuple[pa.Table, list[JournalEvent], Position]:
    """(the outcomes written since `position` as `read_table` has them, the events, the position behind them).

    A call costs what is new, as that of `tail`. Raises as `read_outcomes` does.
    """
    try:
        return _table_since(Path(root), position)
    except JournalError:
        if position.offset == 0:
            raise
        return _table_since(Path(root), Position(position.row))  # as in `tail`


def _table_since(root: Path, at: Position) -> tuple[pa.Table, list[JournalEvent], Position]:
    tables: list[pa.Table] = []
    events: list[JournalEvent] = []
    for batch in parts.read_batches(root, position=at):
        tables.append(_outcomes(batch.rows))
        with batch.decoded():
            events.extend(decode_events(batch.rows))
        at = batch.behind
    return _joined(tables, SCHEMA.names, _TABLE_COLUMNS), events, at


def _outcomes(rows: pa.RecordBatch) -> pa.Table:
    """The rows without the events among them."""
    table = parts.dictionaries(rows)
    return table if rows["event"].null_count == rows.num_rows else table.filter(pc.is_null(table["event"]))


def _joined(tables: list[pa.Table], wanted: Sequence[str], names: Sequence[str]) -> pa.Table:
    """One table of the columns `names`, made of those that are stored, `wanted`."""
    if not tables:
        empty = pa.RecordBatch.from_pylist([], schema=SCHEMA).select(wanted)
        tables = [parts.dictionaries(empty)]
    table = pa.concat_tables(tables).unify_dictionaries()
    return pa.table({name: _column(table, name) for name in names})


_STORED = {"id": ("trial", "ordinal"), "parent": ("trial", "ordinal", "back"), "config": ("shape", "numbers")}
_TABLE_COLUMNS = (
    "id",
    "parent",
    *(name for name in SCHEMA.names if name not in ("ordinal", "back", "event")),
)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    if name == "config":
        configs = Decoder().configs(table)
        return pa.array([json.dumps(config, ensure_ascii=False) for config in configs], pa.string())
    if name not in ("id", "parent"):
        return table[name]
    ids = whole_numbers((numbers(table["trial"]) << ORDINAL_BITS) + numbers(table["ordinal"]))
    return ids if name == "id" else pc.subtract(pa.chunked_array([ids]), table["back"])


def remarks(root: str | os.PathLike[str]) -> list[str]:
    """What is not as it should be in files that can be read nevertheless, a sentence each.

    Raises as `read_outcomes` does.
    """
    used, _ = parts.list_parts(Path(root))
    try:
        return [*filter(None, (parts.unsealed(used), _damaged_end(used[-1])))]
    except FileNotFoundError:  # compacted since it was listed, and so verified
        return []


def _damaged_end(last: Part) -> str:
    """A sentence on what stands behind a log's last whole row, if it is more than an append cut short."""
    if last.stop is not None:
        return ""
    reader = LogReader(last)
    for _ in reader.frames():
        pass
    tear = reader.tear
    if tear is None or not tear.is_damage:
        return ""
    return (
        f"{tear.path}: the rows before {tear.row} are whole, the {tear.size} bytes behind them are not: an "
        "append that a power cut left half written, or one that a disk or a program changed. What was in it "
        "does not count; a resume trains it again"
    )


def tail(root: str | os.PathLike[str], position: Position = START) -> tuple[list[Outcome], Position]:
    """The outcomes written since `position`, and the position behind them.

    A call costs what is new, not what is there, while the log that it stopped in is not compacted.
    """
    try:
        return _tail(Path(root), position)
    except JournalError:
        if position.offset == 0:
            raise
        # An append that we saw and that then failed was cut, and what came after is not where we stopped.
        return _tail(Path(root), Position(position.row))


def batches_since(
    root: str | os.PathLike[str], position: Position = START
) -> Iterator[tuple[list[Outcome], Position]]:
    """As `tail`, some thousand outcomes at a time, so that a long journal needs little memory."""
    decoder = Decoder()
    for batch in parts.read_batches(Path(root), position=position):
        with batch.decoded():
            outcomes = [*decoder.outcomes(batch.rows)]
        yield outcomes, batch.behind


def rows_since(
    root: str | os.PathLike[str], position: Position = START
) -> Iterator[tuple[list[Outcome], list[JournalEvent], Position]]:
    """As `batches_since`, with the events that stand among the outcomes."""
    decoder = Decoder()
    for batch in parts.read_batches(Path(root), position=position):
        with batch.decoded():
            outcomes, events = [*decoder.outcomes(batch.rows)], [*decode_events(batch.rows)]
        yield outcomes, events, batch.behind


def _tail(root: Path, at: Position) -> tuple[list[Outcome], Position]:
    decoder = Decoder()
    outcomes: list[Outcome] = []
    for batch in parts.read_batches(root, position=at):
        with batch.decoded():
            outcomes.extend(decoder.outcomes(batch.rows))
        at = batch.behind
    return outcomes, at
