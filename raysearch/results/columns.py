"""A journal as columns: one row a segment, and the trials that the rows belong to.

Every computation works on whole columns, so a million trials take seconds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raysearch.core.segment import Mode
from raysearch.core.used_values import HELD
from raysearch.storage.journal.arrow_arrays import numbers
from raysearch.storage.journal.decisions import Decision, decisions
from raysearch.storage.journal.decode import Decoder, parse_metrics
from raysearch.storage.journal.reading import read_table
from raysearch.storage.journal.schema import USED

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

_T = TypeVar("_T", bound=np.generic)
_LOST = "lost"


def used_place(column: str) -> str:
    """How frames call a column of `core.used_values`: `used.lr:first`; `held.lr` where none stands for it."""
    return f"held.{column.removeprefix(HELD)}" if column.startswith(HELD) else f"used.{column}"


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
        return cls.of(read_table(journal), metric, mode)

    @classmethod
    def of(cls, table: pa.Table, metric: str, mode: Mode) -> Segments:
        """The segments in the rows of a journal, of which several may be of one segment."""
        rows = _first_of_each(table)
        return cls(table if len(rows) == table.num_rows else table.take(rows), metric, mode)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def integers(self, name: str) -> Integers:
        return np.asarray(numbers(self.table[name]), np.int64)

    def floats(self, name: str) -> Floats:
        return np.asarray(numbers(self.table[name]), np.float64)

    def texts(self, name: str) -> tuple[Integers, list[str]]:
        """(code of each row, the texts that the codes stand for) of a column of texts that repeat."""
        column = self.table[name].combine_chunks()
        return np.asarray(numbers(column.indices), np.int64), column.dictionary.to_pylist()

    def having(self, name: str, *texts: str) -> Booleans:
        """Which rows have one of these texts in the column."""
        codes, known = self.texts(name)
        if not known or self.table[name].null_count:
            return np.isin(codes, [i for i, text in enumerate(known) if text in texts])
        return np.array([text in texts for text in known], np.bool_)[codes]

    @cached_property
    def spans(self) -> dict[str, tuple[Integers, Integers]]:
        """For each metric (first, stop): where in `values` each row's points are; none where equal."""
        return {name: span for name, span in self._every_span.items() if not name.startswith(USED)}

    @cached_property
    def used_spans(self) -> dict[str, tuple[Integers, Integers]]:
        """The same for what optimizers held: columns of `core.used_values`."""
        spans = self._every_span.items()
        return {name.removeprefix(USED): span for name, span in spans if name.startswith(USED)}

    @cached_property
    def _every_span(self) -> dict[str, tuple[Integers, Integers]]:
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
        return np.asarray(numbers(column.offsets), np.int64), np.asarray(numbers(column.values), np.float64)

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

    def used_ends(self, rows: Integers) -> dict[str, Floats]:
        """Columns `used.NAME.first` and `.last` of these rows: what optimizers held; NaN if unknown.

        NAME is a hyper-parameter. Values that none stands for are `held.NAME.first` and `.last`.
        """
        values = np.append(self.values[1], np.nan)
        found: dict[str, Floats] = {}
        for column, (first, stop) in self.used_spans.items():
            place, _, part = used_place(column).partition(":")
            has = stop[rows] > first[rows]
            for end, at in (("first", first[rows]), ("last", stop[rows] - 1)):
                if part in ("", end):
                    known = found.setdefault(f"{place}.{end}", np.full(len(rows), np.nan))
                    known[has] = values[at[has]]
        return found

    def _span_of_metric(self) -> tuple[Integers, Integers]:
        nothing = np.zeros(len(self), np.int64)
        return self.spans.get(self.metric, (nothing, nothing))

    def decisions(self, rows: Sequence[int] | Integers) -> list[Decision]:
        """What the strategy decided of the segments in these rows."""
        picked = self.table.select(["detail", "reason"]).take(pa.array(rows, pa.int64()))
        return [*decisions(picked["detail"].to_pylist(), picked["reason"].to_pylist())]

    def configs(self, rows: Sequence[int] | Integers) -> list[dict[str, Any]]:
        """The configs of these rows."""
        return [*Decoder().configs(self.table.select(["shape", "numbers"]).take(pa.array(rows, pa.int64())))]


def _first_of_each(table: pa.Table) -> Integers:
    """Rows to keep, in order: of each id the first that is not lost, or else the first."""
    ids = np.asarray(numbers(table["id"]), np.int64)
    if not len(ids):
        return ids
    column = table["status"].combine_chunks()
    known = column.dictionary.to_pylist()
    lost_code = known.index(_LOST) if _LOST in known else -1
    lost = np.asarray(numbers(column.indices) == lost_code)
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
