"""Arrow arrays made of their buffers, and NumPy's of Arrow's, without pandas.

`pyarrow.array` and `to_numpy` import pandas when they are called first, which a coordinator and a look at a
run have no use for: 35 MB, and a third of a second. These give the same arrays, bit for bit.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence, Sized
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_KINDS: Mapping[str, type[np.generic]] = {
    "int32": np.int32,
    "int64": np.int64,
    "uint64": np.uint64,
    "double": np.float64,
}
_REPEATED = 1 << 28  # characters of a text in every row, of up to four bytes each: offsets have 31 bits


def integers(values: Sequence[int | None], kind: pa.DataType | None = None) -> pa.Array:
    """A column of int64, or of uint64 if that is the `kind`.

    Raises:
        OverflowError: a value does not fit.
        TypeError: a value is no integer.
    """
    kind = kind or pa.int64()
    missing = values.count(None)
    known: Sequence[Any] = [0 if value is None else value for value in values] if missing else values
    buffer = pa.py_buffer(array("Q" if kind == pa.uint64() else "q", known))
    return pa.Array.from_buffers(kind, len(values), [_validity(values, missing), buffer], missing)


def whole_numbers(values: npt.NDArray[np.int64]) -> pa.Array:
    """A column of int64, of an array."""
    buffer = pa.py_buffer(np.ascontiguousarray(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, buffer], 0)


def floats(values: Sequence[float] | npt.NDArray[np.float64]) -> pa.Array:
    """A column of float64."""
    numbers = np.ascontiguousarray(values, np.float64)
    return pa.Array.from_buffers(pa.float64(), len(numbers), [None, pa.py_buffer(numbers)], 0)


def truths(values: Sequence[bool]) -> pa.Array:
    """A column of bool."""
    bits = np.packbits(np.array(values, np.bool_), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)], 0)


def texts(values: Sequence[str | None]) -> pa.Array:
    """A column of strings.

    Raises:
        UnicodeEncodeError: a text has half a character.
        TypeError: a value is no text.
    """
    first = values[0] if values else None
    if first is not None and values.count(first) == len(values) and len(first) * len(values) < _REPEATED:
        return _repeated(first.encode(), len(values))
    missing = values.count(None)
    known: Sequence[Any] = [value or "" for value in values] if missing else values
    joined = "".join(known)
    data = joined.encode()
    if len(data) > len(joined):
        known = [text.encode() for text in known]
    buffers = [_validity(values, missing), _offsets(known), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(values), buffers, missing)


def _repeated(text: bytes, count: int) -> pa.Array:
    """The same text in every row."""
    ends = np.arange(count + 1, dtype=np.int32) * np.int32(len(text))
    return pa.Array.from_buffers(
        pa.string(), count, [None, pa.py_buffer(ends), pa.py_buffer(text * count)], 0
    )


def lists(rows: Sequence[Sized], flat: npt.NDArray[np.float64]) -> pa.ListArray:
    """A column with one list of float64 a row: the numbers of `flat`, cut as long as the `rows` are."""
    child = floats(flat)
    return pa.Array.from_buffers(
        pa.list_(pa.float64()), len(rows), [None, _offsets(rows)], 0, children=[child]
    )


def _offsets(rows: Sequence[Any]) -> pa.Buffer:
    """Where each row begins, and where the last one ends. Raises OverflowError beyond 2**31 - 1."""
    return pa.py_buffer(array("i", accumulate(map(len, rows), initial=0)))


def _validity(values: Sequence[Any], missing: int) -> pa.Buffer | None:
    """Which values are there, a bit each; None if all are."""
    if not missing:
        return None
    return pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))


def numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """The values of a column of int32, int64, uint64 or float64, in place; read them only.

    Where some are missing, as `to_numpy` gives them: floats, NaN for those.
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if values.null_count:
        return np.asarray(values.to_numpy(zero_copy_only=False))
    return unchecked(values)


def unchecked(values: pa.Array) -> npt.NDArray[Any]:
    """As `numbers`, and whatever stands in place of those that are missing."""
    kind = _KINDS[str(values.type)]
    if not len(values):
        return np.empty(0, kind)
    return np.frombuffer(values.buffers()[1], kind, len(values), values.offset * np.dtype(kind).itemsize)


def bits(values: pa.Array) -> npt.NDArray[np.bool_]:
    """A column of bool as an array that may be changed; False where one is missing."""
    found = _bits(values.buffers()[1], values) if len(values) else np.zeros(0, np.bool_)
    return found & _bits(values.buffers()[0], values) if values.null_count else found


def _bits(buffer: pa.Buffer, values: pa.Array) -> npt.NDArray[np.bool_]:
    end = values.offset + len(values)
    packed = np.frombuffer(buffer, np.uint8, -(-end // 8))
    return np.unpackbits(packed, count=end, bitorder="little")[values.offset :].view(np.bool_)
