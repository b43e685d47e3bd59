"""Remembered searches: a folder or object store with one Parquet file for each, shared by a team; no server.

memory = Memory("memory")                    # or s3://bucket/memory, gs://...: what pyarrow.fs reads
memory.add(record_of(raysearch.load("runs/digits"), task="digits", now=time.time()))
memory.records().good
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from raysearch.errors import RunError, SpecError, first_line, unknown
from raysearch.results.rung_scores import scores_of
from raysearch.space.space import Space
from raysearch.storage.object_store import keyless
from raysearch.storage.sealed_parquet import BrokenSealError, sealed, verify
from raysearch.strategies.base import abilities_of
from raysearch.workflows.memory.goals import VERSION, goal_fields, goals_in, goals_of
from raysearch.workflows.memory.recall import LEAST, Record
from raysearch.workflows.retest.records import history, last_fingerprint

if TYPE_CHECKING:
    from raysearch.results.results import Results
    from raysearch.strategies.samplers.transfer_settings import Transfer

PLAIN = "of a version without checksums; a byte that a disk changes in it is not noticed: add the run again"
UNREADABLE = (
    *(pa.ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError, AttributeError),
    *(RecursionError, BrokenSealError),
)
META = b"raysearch.memory"
_TASK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}")
_COLUMNS = ("config", "iterations", "value")
_CURVES = ("curve_iterations", "curve_values")  # only where there are curves; older versions pass over them
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("task", "run", "metric", "mode", "verdict"), (str,)),
    **dict.fromkeys(("space", "importances", "fingerprint"), (dict,)),
    "at": (int, float),
}
_FIELDS = ("task", "run", "metric", "mode", "space", "at", "importances", "verdict", "fingerprint")


@dataclass(frozen=True)
class MemoryContent:
    """The content of a memory: usable records, (file, why) of the others, and files without a checksum."""

    good: tuple[Record, ...]
    bad: tuple[tuple[str, str], ...]
    plain: tuple[str, ...] = ()


class Memory:
    """The records in one folder or under one URL."""

    def __init__(self, where: str | os.PathLike[str]) -> None:
        """Opens the folder or URL; makes nothing.

        Raises:
            SpecError: the URL names a store that cannot be read.
        """
        self.where = os.fspath(where)
        try:
            self.where.encode()  # pyarrow takes UTF-8 alone
            if "://" in self.where:
                keyless(self.where)
                self._fs, self._root = pafs.FileSystem.from_uri(self.where)
                if not self._root:
                    raise ValueError("it names no bucket and no folder")
            else:
                self._fs, self._root = pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(self.where))
        except SpecError as error:
            raise SpecError(f"memory {error}") from None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SpecError(f"memory {self.where!r} cannot be opened: {error}") from None

    def add(self, record: Record) -> str:
        """Writes a record; one of the same task and run is replaced. Returns its file's name.

        A reader sees the old file or the new one, never half of one.

        Raises:
            RunError: the store cannot be written.
        """
        name = f"{record.task}-{hashlib.blake2b(record.run.encode(), digest_size=5).hexdigest()}.parquet"
        meta = {f: getattr(record, f) for f in _FIELDS} | {"version": 1} | goal_fields(record)
        columns = {
            "config": [json.dumps(dict(c), sort_keys=True) for c in record.configs],
            "iterations": pa.array(record.iterations, pa.int64()),
            "value": pa.array(record.values, pa.float64()),
        }
        for part, (column, kind) in enumerate(zip(_CURVES, (pa.int64(), pa.float64()), strict=True)):
            if record.curves:
                columns[column] = pa.array([[p[part] for p in c] for c in record.curves], pa.list_(kind))
        table = pa.table(columns).replace_schema_metadata({META: json.dumps(meta)})
        self.write(name, table)
        return name

    def write(self, name: str, table: pa.Table) -> None:
        """Writes a table as a file of this name, or of `folder/name`, with a checksum.

        Raises:
            RunError: the store cannot be written.
        """
        target = f"{self._root}/{name}"
        folder = target.rpartition("/")[0]
        try:
            self._fs.create_dir(folder, recursive=True)
            tmp = f"{folder}/.{uuid.uuid4().hex}.tmp"
            with self._fs.open_output_stream(tmp) as stream:
                stream.write(sealed(table, compression="zstd"))
            self._fs.move(tmp, target)
        except (pa.ArrowException, OSError) as error:
            raise RunError(f"memory {self.where!r} cannot be written: {error}") from None

    def read(self, name: str) -> tuple[pa.Table, bool]:
        """(the table of a file, whether the file has a checksum). Raises one of UNREADABLE."""
        with self._fs.open_input_file(f"{self._root}/{name}") as file:
            content = bytes(file.read())
        is_sealed = verify(content)
        return pq.read_table(pa.BufferReader(content)), is_sealed

    def records(self) -> MemoryContent:
        """All records, by task and time; empty if there is no such folder yet."""
        good, bad, plain = [], [], []
        for name in self.names():
            try:
                record, is_sealed = self._read(name)
            except UNREADABLE as error:
                bad.append((name, first_line(str(error) or type(error).__name__)))
                continue
            good.append(record)
            if not is_sealed:
                plain.append(name)
        return MemoryContent(tuple(sorted(good, key=lambda r: (r.task, r.at))), tuple(bad), tuple(plain))

    def forget(self, task: str) -> int:
        """Deletes every record of a task; returns their number.

        Raises:
            RunError: there is none.
        """
        held = self.records()
        names = [n for n in self.names() if n.rpartition("-")[0] == task]
        if not names:
            raise RunError(f"memory {self.where!r}: {unknown('task', task, {r.task for r in held.good})}")
        for name in names:
            self._fs.delete_file(f"{self._root}/{name}")
        return len(names)

    @property
    def is_there(self) -> bool:
        """Whether there is such a folder; one is made when a record is added.

        Raises:
            SpecError: it is a file, or cannot be read.
        """
        try:
            kind = self._fs.get_file_info(self._root).type
        except (pa.ArrowException, OSError) as error:
            raise SpecError(f"memory {self.where!r} cannot be read: {error}") from None
        if kind == pafs.FileType.File:
            raise SpecError(
                f"memory {self.where!r} is a file; name a folder, which is made where there is none"
            )
        return bool(kind != pafs.FileType.NotFound)

    def names(self, folder: str = "") -> list[str]:
        """The files of tables in the memory, or in a folder of it, by name; none where it is not there.

        Raises:
            SpecError: it cannot be read.
        """
        if not self.is_there:
            return []
        where = f"{self._root}/{folder}" if folder else self._root
        try:
            found = self._fs.get_file_info(pafs.FileSelector(where, allow_not_found=True))
        except (pa.ArrowException, OSError) as error:
            raise SpecError(f"memory {self.where!r} cannot be read: {error}") from None
        names = [info.base_name for info in found if info.type == pafs.FileType.File]
        return sorted(n for n in names if n.endswith(".parquet"))

    def _read(self, name: str) -> tuple[Record, bool]:
        """(the record of a file, whether the file has a checksum). Raises one of UNREADABLE."""
        table, is_sealed = self.read(name)
        meta = json.loads((table.schema.metadata or {}).get(META, b"null"))
        if not isinstance(meta, dict):
            raise ValueError("it is no record of raysearch")
        if meta.get("version", 0) > VERSION:
            raise ValueError(
                f"it was written by a newer version (format {meta['version']}, this reads {VERSION})"
            )
        configs, iterations, values = (table[c].to_pylist() for c in _COLUMNS)
        fields: dict[str, Any] = {f: meta[f] for f in _FIELDS}
        nan = [float("nan") if v is None else float(v) for v in values]
        _check_fields(fields)
        known = [json.loads(c) for c in configs]
        goals, curves = goals_in(meta, len(known)), _curves_in(table)
        found = Record(configs=known, iterations=iterations, values=nan, curves=curves, **fields, **goals)
        return found, is_sealed


def _curves_in(table: pa.Table) -> tuple[tuple[tuple[int, float], ...], ...]:
    """The curves of a record's table; none where it has none. Raises ValueError for halves of curves."""
    if any(column not in table.column_names for column in _CURVES):
        return ()
    halves = (table[column].to_pylist() for column in _CURVES)
    return tuple(
        tuple((int(i), math.nan if v is None else float(v)) for i, v in zip(at, values, strict=True))
        for at, values in zip(*halves, strict=True)
    )


def check_task(task: str) -> None:
    """Raises SpecError for a task's name that cannot be part of a file's."""
    if not _TASK.fullmatch(task):
        raise SpecError(f"task {task!r} cannot name a file; use letters, digits, and . _ - (not first)")


def _check_fields(fields: Mapping[str, Any]) -> None:
    """Raises ValueError for a field of another type than a record has there."""
    for name, kinds in _TYPES.items():
        if not isinstance(fields[name], kinds) or isinstance(fields[name], bool):
            raise ValueError(f"{name} is {str(fields[name])[:80]!r}, which no record has there")
    if fields["mode"] not in ("min", "max"):
        raise ValueError(f"mode is {fields['mode']!r}, not min or max")


def record_of(results: Results, *, task: str | None, now: float) -> Record:
    """The record of a search: what a memory keeps of it.

    Raises:
        SpecError: the task cannot name a file.
        RunError: too few trials ended for it to say anything.
    """
    named = task or str(results.spec.get("name") or results.path.name)
    check_task(named)
    space = Space.from_dict(results.spec["space"])
    scores = scores_of(results, space)
    known = ~np.isnan(scores.scores)
    rows = [i for i in range(len(scores.configs)) if known[i].any()]
    if len(rows) < LEAST:
        raise RunError(f"{results.path}: {len(rows)} trials have ended, and a record needs {LEAST}")
    last = [int(np.flatnonzero(known[i])[-1]) for i in rows]
    sign = 1.0 if results.mode == "min" else -1.0
    values = [sign * float(scores.scores[i, j]) for i, j in zip(rows, last, strict=True)]
    past = history(results.path)
    return Record(
        task=named,
        run=str(results.path.absolute()),
        metric=results.metric,
        mode=results.mode,
        space=results.spec["space"],
        configs=[scores.configs[i] for i in rows],
        iterations=[scores.levels[j] for j in last],
        values=[v if np.isfinite(v) else float("nan") for v in values],
        at=now,
        importances=scores.importances(),
        verdict=past[-1].word if past else "",
        fingerprint=last_fingerprint(results.path),
        **goals_of(results, space, [*zip(rows, last, strict=True)]),
    )


def begin_from(spec: Any) -> tuple[Any, tuple[str, ...]]:
    """(the recipe that starts from memory, known_good and priors of the spec, remarks for the user).

    The recipe holds the transfer itself: a resumed run does not depend on later changes of the memory.

    Raises:
        SpecError: the strategy begins from nothing known, or a prior is wrong.
    """
    from raysearch.strategies.samplers.priors import check_priors
    from raysearch.strategies.samplers.transfer_settings import Transfer

    if not (spec.memory or spec.known_good or spec.priors):
        return spec.strategy, ()
    if not abilities_of(spec.strategy).transfers:
        what = "memory" if spec.memory else "known_good" if spec.known_good else "priors"
        raise SpecError(
            f"{what}: strategy {spec.strategy.name} does not begin from what is known; caviar does"
        )
    if spec.strategy.transfer is not None:
        return spec.strategy, ()
    check_priors(spec.space, spec.priors)
    own = [{"config": dict(c), "why": f"known good, number {n}"} for n, c in enumerate(spec.known_good, 1)]
    found, remarks = _remembered(spec) if spec.memory else (Transfer(), ())
    transfer = dataclasses.replace(found, portfolio=[*own, *found.portfolio], priors=spec.priors)
    return dataclasses.replace(spec.strategy, transfer=transfer), remarks


def _remembered(spec: Any) -> tuple[Transfer, tuple[str, ...]]:
    """(the transfer from the spec's memory, remarks for the user)."""
    from raysearch.strategies.samplers.transfer_settings import Transfer
    from raysearch.workflows.memory.recall import recall

    memory = Memory(spec.memory)
    if not memory.is_there:
        return Transfer(), (f"memory {spec.memory}: there is no such folder, so nothing is known from it",)
    held = memory.records()
    recalled = recall(held.good, spec.space, spec.metric, spec.mode, goals=spec.goals)
    used = ", ".join(recalled.used) or "none"
    return recalled.transfer, (
        f"memory {spec.memory}: {len(recalled.used)} tasks used: {used}",
        *(f"memory: {task} is not used: {why}" for task, why in (*recalled.refused, *held.bad)),
        *(f"memory: {note}" for note in recalled.notes),
        *(f"memory: {name}: {PLAIN}" for name in held.plain),
    )
