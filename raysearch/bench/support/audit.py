"""An independent reader of journals: what is in the files, by their documented format and nothing of ours.

It imports nothing of raysearch. `read` gives the rows; `audit` compares them with what workers saw
acknowledged, and with the same search left in peace.

A journal is a folder of parts, whose names say which rows they hold: `rows-FIRST-STOP.parquet` and
`log-FIRST.rsj`. A log is a header (magic, version, first row, crc32) and frames (magic, bytes, rows, crc32 of
the payload, first row, crc32 of these; then an Arrow record batch). The last frame may be torn.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ORDINAL_BITS = 20
_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_COLUMNS = pa.schema(
    [
        *((name, _WHOLE) for name in ("trial", "ordinal", "back")),
        ("role", _TEXT),
        *((name, _WHOLE) for name in ("source", "start", "stop")),
        ("seed", pa.uint64()),
        *((name, _TEXT) for name in ("status", "reason", "shape")),
        ("numbers", pa.list_(_REAL)),
        ("metrics", _TEXT),
        ("values", pa.list_(_REAL)),
        ("checkpoint", _TEXT),
        ("seconds", _REAL),
        ("worker", _TEXT),
        ("error", _TEXT),
        ("done", pa.bool_()),
        ("finished_at", _REAL),
        *((name, _TEXT) for name in ("event", "detail")),
    ]
)
_HEADER, _FRAME = struct.Struct("<8sHxxQI"), struct.Struct("<4sIIIQI")

Row = dict[str, Any]


class Broken(Exception):
    """The files do not hold what they should."""


@dataclass(slots=True)
class Findings:
    """What an audit found. All lists are empty where nothing is wrong.

    Attributes:
        rows, finals, lost_attempts: of the journal; finals count, the others were tried again.
        acknowledged: completed outcomes that workers saw acknowledged.
        lost: acknowledged and not in the journal, or not as they were handed in.
        doubled: segments with more than one outcome that counts.
        failed: segments recorded as failed or diverged, though the training does neither.
        torn: segments whose lineage is not whole, and why.
        strayed: what differs from the search that was left in peace: values by (trial, iteration), and
            segments by start, stop, parent, seed and configuration.
        best: the best value, and `calm_best` that of the search in peace.
    """

    rows: int = 0
    finals: int = 0
    lost_attempts: int = 0
    acknowledged: int = 0
    compared: int = 0
    best: float = math.nan
    calm_best: float = math.nan
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """True if nothing was lost, doubled or changed, and the workers did see something acknowledged."""
        wrong = self.lost or self.doubled or self.failed or self.torn or self.strayed
        return not wrong and self.acknowledged > 0 and self.best == self.calm_best


def audit(
    journal: Path, witnessed: Path, calm: Path, metric: str = "loss", trials_keep_configs: bool = True
) -> Findings:
    """Compares a journal with the workers' notes and with the journal of the same search left in peace.

    `trials_keep_configs`: a trial goes on with its configuration, as everywhere but in panda's decay.
    """
    rows = [row for row in read(journal) if row["event"] is None]
    finals = [row for row in rows if row["status"] != "lost"]
    notes = [note for note in _notes(witnessed) if note["status"] == "completed" and not note["stop"]]
    found = Findings(len(rows), len(finals), len(rows) - len(finals), len(notes))
    counts = Counter(map(_id, finals))
    found.doubled = [_name(segment) for segment, count in counts.items() if count > 1]
    found.lost = [*_lost(finals, notes, metric)]
    found.failed = [f"{_name(_id(row))}: {row['error']}" for row in finals if row["status"] != "completed"]
    found.torn = [*_torn(finals, trials_keep_configs)]
    peace = [row for row in read(calm) if row["event"] is None and row["status"] != "lost"]
    _compare(found, _values(finals), _values(peace))
    found.strayed += _moved(finals, peace)
    found.best, found.calm_best = _best(finals, metric), _best(peace, metric)
    return found


def read(journal: Path) -> list[Row]:
    """Every row in order.

    Raises:
        Broken: a row is missing, is there twice with different contents, or a frame in the middle is broken.
    """
    found: dict[int, Row] = {}
    for number, row in _numbered(journal):
        if found.setdefault(number, row) is not row and repr(found[number]) != repr(row):
            raise Broken(f"row {number} is there twice, and not the same")
    if sorted(found) != list(range(len(found))):
        raise Broken(f"rows are missing: {len(found)} are there, up to number {max(found)}")
    return [found[number] for number in sorted(found)]


def _numbered(journal: Path) -> Iterator[tuple[int, Row]]:
    for path in sorted(journal.iterdir()):
        if ended := re.fullmatch(r"rows-(\d+)-(\d+)\.parquet", path.name):
            rows = pq.read_table(path).select(_COLUMNS.names).to_pylist()
            if len(rows) != int(ended[2]) - int(ended[1]):
                raise Broken(f"{path.name} holds {len(rows)} rows")
            yield from enumerate(rows, int(ended[1]))
        elif re.fullmatch(r"log-(\d+)\.rsj", path.name):
            yield from _frames(path)


def _frames(path: Path) -> Iterator[tuple[int, Row]]:
    data = path.read_bytes()
    if len(data) < _HEADER.size:
        return
    magic, version, row, crc = _HEADER.unpack_from(data)
    if magic != b"raysrch\n" or version != 1 or crc != zlib.crc32(data[: _HEADER.size - 4]):
        raise Broken(f"{path.name}: its header is broken")
    at = _HEADER.size
    while at + _FRAME.size <= len(data):
        magic, length, count, crc, first, head_crc = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + length]
        if head_crc != zlib.crc32(data[at : at + _FRAME.size - 4]) or len(payload) < length:
            return  # torn
        if zlib.crc32(payload) != crc:
            return
        if magic != b"\xf7RSJ" or first != row:
            raise Broken(f"{path.name}: row {first} stands in place of row {row}")
        yield from enumerate(pa.ipc.read_record_batch(pa.py_buffer(payload), _COLUMNS).to_pylist(), row)
        row, at = row + count, at + _FRAME.size + length


def _notes(witnessed: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(witnessed.glob("*.jsonl")):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def _lost(finals: Sequence[Row], notes: Iterable[Mapping[str, Any]], metric: str) -> Iterator[str]:
    kept = {_id(row): _curve(row, metric) for row in finals if row["status"] == "completed"}
    for note in notes:
        if note["segment"] not in kept:
            yield f"{_name(note['segment'])}: acknowledged to {note['worker']}, and not there"
        elif kept[note["segment"]] != note["loss"]:
            yield f"{_name(note['segment'])}: another curve than {note['worker']} handed in"


def _torn(finals: Sequence[Row], trials_keep_configs: bool) -> Iterator[str]:
    """Segments whose parent is not there before them, ended elsewhere, or has another configuration."""
    before: dict[int, Row] = {}
    for row in finals:
        segment = _id(row)
        if row["back"] is None:
            if row["start"] != 0:
                yield f"{_name(segment)}: starts at {row['start']} from nothing"
        else:
            parent = before.get(segment - row["back"])
            if parent is None or parent["status"] != "completed":
                yield f"{_name(segment)}: its parent {_name(segment - row['back'])} is not there"
            elif parent["stop"] != row["start"]:
                yield f"{_name(segment)}: starts at {row['start']}, its parent ends at {parent['stop']}"
            elif trials_keep_configs and parent["trial"] == row["trial"] and _config(parent) != _config(row):
                yield f"{_name(segment)}: another configuration than its parent's"
        if (
            row["status"] == "completed"
            and len(_curve(row)) != row["stop"] - row["start"]
            and not row["done"]
        ):
            yield f"{_name(segment)}: a curve of {len(_curve(row))} iterations"
        before[segment] = row


def _compare(found: Findings, values: Mapping[Any, float], calm: Mapping[Any, float]) -> None:
    for key in sorted(values.keys() & calm.keys()):
        found.compared += 1
        is_alike = values[key] == calm[key] or (math.isnan(values[key]) and math.isnan(calm[key]))
        if not is_alike:
            found.strayed.append(
                f"trial {key[0]} iteration {key[1]}: {key[2]} {values[key]!r}, not {calm[key]!r}"
            )


def _moved(finals: Iterable[Row], peace: Iterable[Row]) -> Iterator[str]:
    """Segments that train something else than in the search in peace."""
    before = {_id(row): row for row in peace}
    for row in finals:
        if calm := before.get(_id(row)):
            for name in ("back", "start", "stop", "seed", "shape", "numbers"):
                if row[name] != calm[name]:
                    yield f"{_name(_id(row))}: {name} {row[name]!r}, not {calm[name]!r}"


def _values(finals: Iterable[Row]) -> dict[tuple[int, int, str], float]:
    """(trial, iteration, metric) -> value."""
    found = {}
    for row in finals:
        for metric in json.loads(row["metrics"] or "[]"):
            for i, value in enumerate(_curve(row, metric), row["start"] + 1):
                found[row["trial"], i, metric] = value
    return found


def _best(finals: Iterable[Row], metric: str) -> float:
    """The least last value among those that reached the furthest iteration."""
    ends = [(-row["stop"], _curve(row, metric)[-1]) for row in finals if row["status"] == "completed"]
    return min(ends)[1] if ends else math.nan


def _curve(row: Row, metric: str = "loss") -> list[float]:
    names = json.loads(row["metrics"] or "[]")
    if metric not in names:
        return []
    length = len(row["values"]) // len(names)
    at = names.index(metric) * length
    return list(row["values"][at : at + length])


def _config(row: Row) -> tuple[str, list[float]]:
    return row["shape"], row["numbers"]


def _id(row: Row) -> int:
    return int((row["trial"] << ORDINAL_BITS) + row["ordinal"])


def _name(segment: int) -> str:
    return f"{segment >> ORDINAL_BITS}.{segment & ((1 << ORDINAL_BITS) - 1)}"
