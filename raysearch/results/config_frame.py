"""The configurations of many rows as columns of a data frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raysearch.storage.journal.config_columns import ConfigShape, parse_shape
from raysearch.storage.journal.plain import memo

if TYPE_CHECKING:
    from raysearch.results.columns import Floats, Integers

_Number = tuple[tuple[str, ...], bool]  # a path, and whether what stands there is a whole number


def config_columns(table: pa.Table, known: dict[str, ConfigShape] | None = None) -> dict[str, Any]:
    """`config.NAME` columns of rows with `shape` and `numbers`; a nested entry is `config.OUTER/INNER`.

    Numbers are float64, or int64 where all are whole numbers and none is missing (Int64 where some are);
    anything else is a column of Python objects, None where an entry does not occur.

    Args:
        known: parsed shapes by their text; those that are missing there are put there.
    """
    known = {} if known is None else known
    shapes = table["shape"].combine_chunks()
    codes = np.asarray(shapes.indices.to_numpy(), np.int64)
    numbers = table["numbers"].combine_chunks()
    offsets, flat = numbers.offsets.to_numpy(), numbers.values.to_numpy()
    columns: dict[str, _Column] = {}
    alike: dict[tuple[_Number, ...], list[Integers]] = {}  # rows by what their numbers are
    for rows, code in _groups(codes):
        shape = memo(known, shapes.dictionary[code].as_py(), parse_shape)
        if shape.numbers not in alike:
            alike[shape.numbers] = []
            for path, _ in shape.numbers:
                _column(columns, path, len(codes))
        alike[shape.numbers].append(rows)
        for path, value in shape.constants():
            _column(columns, path, len(codes)).put(rows, value)
    for paths, parts in alike.items():
        rows = np.concatenate(parts)
        firsts = offsets[rows]
        for k, (path, whole) in enumerate(paths):
            _column(columns, path, len(codes)).put_numbers(rows, flat[firsts + k], whole)
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
