"""A journal as columns: one row a segment, one a trial, one an iteration.

Everything is done on whole columns, so a million trials take seconds. pandas is imported when a frame
is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raysearch.core.reasons import event_of, words_of
from raysearch.core.reserved_names import column_of
from raysearch.core.segment import Mode, segment_name
from raysearch.storage.journal.config_columns import parse_shape
from raysearch.storage.journal.decode import Decoder, parse_metrics
from raysearch.storage.journal.reading import read_table

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

_T = TypeVar("_T", bound=np.generic)
_LOST = "lost"


@dataclass(frozen=True)
class Segments:
    """The segments of a run, one row each: that of a lost one only if nothing better came of it.

    Attributes:
        table: as `journal.read_table` gives it, in the order written.
        metric: whose values are `last` and `best`.
        mode: in which direction it is better.
    """

    table: pa.Table
    metric: str
    mode: Mode

    @classmethod
    def read(cls, journal: str | os.PathLike[str], metric: str, mode: Mode) -> Segments:
        """The segments in this journal. Raises JournalError if it cannot be read."""
        table = read_table(journal)
        rows = _first_of_each(table)
        return cls(table if len(rows) == table.num_rows else table.take(rows), metric, mode)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def integers(self, name: str) -> Integers:
        return np.asarray(self.table[name].to_numpy(), np.int64)

    def floats(self, name: str) -> Floats:
        return np.asarray(self.table[name].to_numpy(), np.float64)

    def texts(self, name: str) -> tuple[Integers, list[str]]:
        """(code of each row, the texts that the codes stand for) of a column of texts that repeat."""
        column = self.table[name].combine_chunks()
        return np.asarray(column.indices.to_numpy(), np.int64), column.dictionary.to_pylist()

    def having(self, name: str, *texts: str) -> Booleans:
        """Which rows have one of these texts in the column."""
        codes, known = self.texts(name)
        return np.isin(codes, [i for i, text in enumerate(known) if text in texts])

    @cached_property
    def spans(self) -> dict[str, tuple[Integers, Integers]]:
        """For each metric (first, stop): where in `values` each row's points are; none where equal."""
        codes, texts = self.texts("metrics")
        offsets, _ = self.values
        rows = np.arange(len(self))
        spans: dict[str, tuple[Integers, Integers]] = {}
        for code, text in enumerate(texts):
            here = rows[codes == code]
            names = parse_metrics(text)
            for k, name in enumerate(names):
                first, stop = spans.setdefault(
                    name, (np.zeros(len(self), np.int64), np.zeros(len(self), np.int64))
                )
                n = (offsets[here + 1] - offsets[here]) // len(names)
                first[here] = offsets[here] + k * n
                stop[here] = first[here] + n
        return spans

    @cached_property
    def values(self) -> tuple[Integers, Floats]:
        """Offsets of the rows, and the values of all metrics behind one another."""
        column = self.table["values"].combine_chunks()
        return np.asarray(column.offsets.to_numpy(), np.int64), np.asarray(
            column.values.to_numpy(), np.float64
        )

    @cached_property
    def points(self) -> Integers:
        """How many iterations each row reports."""
        points = np.zeros(len(self), np.int64)
        for first, stop in self.spans.values():
            np.maximum(points, stop - first, out=points)
        return points

    @cached_property
    def reached(self) -> Integers:
        return self.integers("start") + self.points

    @cached_property
    def last(self) -> Floats:
        """The metric's last value in each row; NaN where it reports none."""
        first, stop = self._span_of_metric()
        values = np.append(self.values[1], np.nan)
        return np.asarray(np.where(stop > first, values[stop - 1], np.nan), np.float64)

    @cached_property
    def best(self) -> Floats:
        """The metric's best finite value in each row; NaN where there is none."""
        first, stop = self._span_of_metric()
        values = np.append(self.values[1], np.nan)
        values[~np.isfinite(values)] = np.nan
        best = np.full(len(self), np.nan)
        has = stop > first
        if has.any():
            pairs = np.column_stack((first[has], stop[has])).ravel()
            reduce = np.fmin if self.mode == "min" else np.fmax
            best[has] = reduce.reduceat(values, pairs)[::2]
        return best

    def _span_of_metric(self) -> tuple[Integers, Integers]:
        nothing = np.zeros(len(self), np.int64)
        return self.spans.get(self.metric, (nothing, nothing))

    def configs(self, rows: Sequence[int] | Integers) -> list[dict[str, Any]]:
        """The configs of these rows."""
        return [*Decoder().configs(self.table.select(["shape", "numbers"]).take(pa.array(rows, pa.int64())))]


def _first_of_each(table: pa.Table) -> Integers:
    """Rows to keep, in order: of each id the first that is not lost, or else the first."""
    ids = np.asarray(table["id"].to_numpy(), np.int64)
    if not len(ids):
        return ids
    column = table["status"].combine_chunks()
    known = column.dictionary.to_pylist()
    lost_code = known.index(_LOST) if _LOST in known else -1
    lost = np.asarray(column.indices.to_numpy() == lost_code)
    order = np.lexsort((np.arange(len(ids)), lost, ids))
    new = np.ones(len(ids), np.bool_)
    new[1:] = ids[order][1:] != ids[order][:-1]
    return np.sort(order[new])


@dataclass(frozen=True)
class Trials:
    """The trials of a run, in the order of their numbers.

    Attributes:
        of: the segments.
        order: rows of `of`, sorted by trial, and within a trial lost ones first, then by `start`.
        bounds: where in `order` each trial begins.
    """

    of: Segments
    order: Integers
    bounds: Integers

    @classmethod
    def group(cls, segments: Segments, rows: Integers) -> Trials:
        """The trials that these rows belong to."""
        trials = segments.integers("trial")[rows]
        kept = ~segments.having("status", _LOST)[rows]
        order = np.lexsort((rows, segments.integers("start")[rows], kept, trials))
        new = np.ones(len(rows), np.bool_)
        new[1:] = np.diff(trials[order]) != 0
        return cls(segments, rows[order], np.flatnonzero(new))

    def __len__(self) -> int:
        return len(self.bounds)

    @cached_property
    def ends(self) -> Integers:
        return np.append(self.bounds, len(self.order))[1:]

    @cached_property
    def leaves(self) -> Integers:
        """The row of each trial's last segment."""
        return self.order[self.ends - 1]

    def rows(self, at: int) -> Integers:
        """The rows of one trial's segments: lost ones first, then by `start`."""
        return self.order[self.bounds[at] : self.ends[at]]

    @cached_property
    def numbers(self) -> Integers:
        return self.of.integers("trial")[self.leaves]

    @cached_property
    def iterations(self) -> Integers:
        """The highest iteration that each trial reported."""
        return self._reduce(np.maximum, self.of.reached)

    @cached_property
    def values(self) -> Floats:
        """The metric's last value at each trial's highest iteration; NaN if it was never reported."""
        if not len(self):
            return np.zeros(0)
        reported = np.where(self.of.points[self.order] > 0, np.arange(len(self.order)), -1)
        at = np.maximum.reduceat(reported, self.bounds)
        return np.where(at >= 0, self.of.last[self.order[at]], np.nan)

    @cached_property
    def best_values(self) -> Floats:
        """The best finite value that each trial ever reported; NaN if there is none."""
        return self._reduce(np.fmin if self.of.mode == "min" else np.fmax, self.of.best)

    @cached_property
    def levels(self) -> Integers:
        """The iteration to which each trial was trained in full; 0 if it was not."""
        completed = self.of.having("status", "completed")
        return self._reduce(np.maximum, np.where(completed, self.of.integers("stop"), 0))

    @property
    def segments(self) -> Integers:
        return self.ends - self.bounds

    @property
    def seconds(self) -> Floats:
        return self._reduce(np.add, self.of.floats("seconds"))

    def ranking(self) -> Integers:
        """Positions of the trials that can be best, best first.

        Those that ended well with a finite value: the highest level first, then by value, then by number.
        """
        able = np.isfinite(self.values) & self.of.having("status", "completed")[self.leaves]
        worse = self.values if self.of.mode == "min" else -self.values
        order = np.lexsort((self.numbers, worse, -self.levels))
        return order[able[order]]

    def _reduce(self, how: np.ufunc, column: npt.NDArray[_T]) -> npt.NDArray[_T]:
        reduced = how.reduceat(column[self.order], self.bounds) if len(self) else column[:0]
        return np.asarray(reduced, column.dtype)


# ---------------------------------------------------------------------------- frames


def segment_frame(segments: Segments, rows: Integers) -> pd.DataFrame:
    """One row a segment, in the order given; see `Results.segments`."""
    import pandas as pd

    picked = segments.table.take(pa.array(rows))
    columns: dict[str, Any] = {"segment": [segment_name(i) for i in picked["id"].to_pylist()]}
    columns |= {name: _integers(picked[name]) for name in ("id", "trial", "parent")}
    columns |= {name: _texts(picked[name]) for name in ("role", "status")}
    columns["source"] = _integers(picked["source"])
    columns |= {name: _own(picked[name]) for name in ("start", "stop")}
    columns |= {
        "reached": segments.reached[rows],
        "value": segments.last[rows],
        "best_value": segments.best[rows],
    }
    columns |= {name: _own(picked[name]) for name in ("seconds", "finished_at", "seed", "done")}
    columns |= config_columns(picked)
    columns |= {name: _texts(picked[name]) for name in ("reason", "worker", "checkpoint", "error")}
    return pd.DataFrame(columns, copy=False)


def with_events(frame: pd.DataFrame, path: set[int], rows: Integers) -> pd.DataFrame:
    """A frame of segments with what `Results.lineage` adds; `path` are the rows that led to the best."""
    depths: dict[int, int] = {}
    parents = frame["parent"].astype(object).where(frame["parent"].notna(), None)
    for segment, parent in zip(frame["id"], parents, strict=True):  # a parent ended before its children began
        depths[segment] = depths.get(parent, 0) + 1
    return frame.assign(
        event=[event_of(reason) for reason in frame["reason"]],
        words=[words_of(reason) for reason in frame["reason"]],
        depth=[depths[segment] for segment in frame["id"]],
        on_path=[row in path for row in rows.tolist()],
    )


def trial_frame(trials: Trials) -> pd.DataFrame:
    """One row a trial; see `Results.trials`."""
    import pandas as pd

    leaves = trials.of.table.take(pa.array(trials.leaves))
    columns: dict[str, Any] = {
        "trial": trials.numbers,
        "status": _texts(leaves["status"]),
        "value": trials.values,
        "best_value": trials.best_values,
        "iterations": trials.iterations,
        "segments": trials.segments,
        "seconds": trials.seconds,
        "role": _texts(leaves["role"]),
        "source": _integers(leaves["source"]),
    }
    columns |= config_columns(leaves)
    columns |= {name: _texts(leaves[name]) for name in ("reason", "checkpoint", "error")}
    return pd.DataFrame(columns, copy=False)


def curve_frame(segments: Segments, rows: Integers) -> pd.DataFrame:
    """One row an iteration; see `Results.curves`."""
    import pandas as pd

    points = segments.points[rows]
    total = int(points.sum())
    within = np.arange(total) - np.repeat(np.cumsum(points) - points, points)
    columns: dict[str, Any] = {
        "trial": np.repeat(segments.integers("trial")[rows], points),
        "segment": np.repeat(segments.integers("id")[rows], points),
        "iteration": np.repeat(segments.integers("start")[rows], points) + within + 1,
    }
    values = np.append(segments.values[1], np.nan)
    for name, (first, stop) in segments.spans.items():
        reported = np.repeat(stop[rows] > first[rows], points)
        at = np.repeat(first[rows], points) + within
        columns[column_of(name)] = values[np.where(reported, at, len(values) - 1)]
    return pd.DataFrame(columns, copy=False)


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy that Parquet can hold: a column that mixes numbers and text becomes text."""
    frame = frame.copy()
    for name in frame.select_dtypes(object).columns:
        try:
            pa.array(frame[name], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            frame[name] = frame[name].map(lambda value: None if value is None else str(value))
    return frame


def config_columns(table: pa.Table) -> dict[str, Any]:
    """`config.NAME` columns of rows with `shape` and `numbers`; a nested entry is `config.OUTER/INNER`.

    Numbers are float64, or int64 where all are whole numbers and none is missing (Int64 where some are);
    anything else is a column of Python objects, None where an entry does not occur.
    """
    shapes = table["shape"].combine_chunks()
    codes = np.asarray(shapes.indices.to_numpy(), np.int64)
    numbers = table["numbers"].combine_chunks()
    offsets, flat = numbers.offsets.to_numpy(), numbers.values.to_numpy()
    columns: dict[str, _Column] = {}
    for rows, code in _groups(codes):
        shape = parse_shape(shapes.dictionary[int(code)].as_py())
        for k, (path, whole) in enumerate(shape.numbers):
            _column(columns, path, len(codes)).put_numbers(rows, flat[offsets[rows] + k], whole)
        for path, value in shape.constants():
            _column(columns, path, len(codes)).put(rows, value)
    return {name: column.finish() for name, column in columns.items()}


def _column(columns: dict[str, _Column], path: tuple[str, ...], size: int) -> _Column:
    name = "config." + "/".join(path)
    if name not in columns:
        columns[name] = _Column(size)
    return columns[name]


class _Column:
    """A column that is filled shape by shape, numbers as long as nothing else comes."""

    def __init__(self, size: int) -> None:
        self._values = np.full(size, np.nan)
        self._there = np.zeros(size, np.bool_)
        self._whole = np.zeros(size, np.bool_)
        self._objects: npt.NDArray[np.object_] | None = None

    def put_numbers(self, rows: Integers, values: Floats, whole: bool) -> None:
        self._values[rows] = values
        self._there[rows] = True
        self._whole[rows] = whole

    def put(self, rows: Integers, value: Any) -> None:
        if self._objects is None:
            self._objects = np.full(len(self._values), None, object)
        for row in rows.tolist():
            self._objects[row] = value

    def finish(self) -> Any:
        import pandas as pd

        whole = self._whole[self._there].all()
        if self._objects is not None:
            for row in np.flatnonzero(self._there).tolist():
                value = float(self._values[row])
                self._objects[row] = int(value) if self._whole[row] else value
            return pd.Series(self._objects, dtype=object)
        if whole and self._there.all():
            return self._values.astype(np.int64)
        if whole:
            filled = np.where(self._there, self._values, 0).astype(np.int64)
            return pd.arrays.IntegerArray(filled, ~self._there)
        return self._values


def _groups(codes: Integers) -> Iterator[tuple[Integers, int]]:
    """(rows, code) for each code that occurs."""
    if not len(codes):
        return
    order = np.argsort(codes, kind="stable")
    bounds = np.flatnonzero(np.diff(codes[order])) + 1
    for rows in np.split(order, bounds):
        yield rows, int(codes[rows[0]])


def _texts(column: pa.ChunkedArray) -> Any:
    """A pandas column of plain strings, None where there is none."""
    return column.cast(pa.string()).to_pandas()


def _integers(column: pa.ChunkedArray) -> Any:
    """int64, or pandas' Int64 where some are missing."""
    import pandas as pd

    if not column.null_count:
        return _own(column)
    missing = np.array(column.is_null().to_numpy(), np.bool_)
    return pd.arrays.IntegerArray(np.array(column.fill_null(0).to_numpy(), np.int64), missing)


def _own(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """The column as an array that may be written into, which Arrow's own memory may not."""
    values: npt.NDArray[Any] = column.to_numpy()
    return values if values.flags.writeable else values.copy()
