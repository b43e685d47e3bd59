"""Columns made of their buffers are those that pyarrow.array makes, and bring no pandas."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_journal import ids, outcome

from raysearch.storage.journal import parts
from raysearch.storage.journal.arrow_arrays import (
    bits,
    floats,
    integers,
    lists,
    numbers,
    texts,
    truths,
    unchecked,
)
from raysearch.storage.journal.journal import Journal

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=4)
KINDS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], pa.Array], pa.DataType]] = {
    "integers": (st.lists(st.none() | INT64), integers, pa.int64()),
    "seeds": (st.lists(st.integers(0, 2**64 - 1)), lambda v: integers(v, pa.uint64()), pa.uint64()),
    "floats": (st.lists(st.floats()), floats, pa.float64()),
    "truths": (st.lists(st.booleans()), truths, pa.bool_()),
    "texts": (st.lists(st.none() | TEXT), texts, pa.string()),
    "a text in every row": (st.builds(lambda t, n: [t] * n, TEXT, st.integers(1, 9)), texts, pa.string()),
    "lists": (
        st.lists(st.lists(st.floats(), max_size=3)),
        lambda rows: lists(rows, np.array([x for row in rows for x in row], np.float64)),
        pa.list_(pa.float64()),
    ),
}


def written(column: pa.Array) -> bytes:
    column.validate(full=True)
    return bytes(pa.RecordBatch.from_arrays([column], ["x"]).serialize())


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_column_is_written_as_pyarrows_own(kind: str, data: st.DataObject) -> None:
    drawn, make, of = KINDS[kind]
    values = data.draw(drawn)
    assert written(make(values)) == written(pa.array(values, of))


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(OverflowError):
        integers([1, value])


def test_a_number_with_a_fraction_is_no_integer() -> None:
    with pytest.raises(TypeError):
        integers([1, 1.5])  # type: ignore[list-item]


@given(st.lists(st.none() | INT64), st.integers(0, 9), st.integers(0, 30))
def test_integers_come_back_as_pyarrow_gives_them(values: list[int | None], start: int, length: int) -> None:
    column = pa.array(values, pa.int64()).slice(start, length)
    np.testing.assert_array_equal(numbers(column), column.to_numpy(zero_copy_only=False))
    np.testing.assert_array_equal(
        numbers(pa.chunked_array([column] * 2)), [*numbers(column), *numbers(column)]
    )
    known = np.array([value is not None for value in column.to_pylist()], np.bool_)
    assert unchecked(column)[known].tolist() == column.drop_null().to_pylist()


@given(st.lists(st.none() | st.booleans()), st.integers(0, 9), st.integers(0, 30))
def test_truths_come_back_and_what_is_missing_is_false(
    values: list[bool | None], start: int, length: int
) -> None:
    column = pa.array(values, pa.bool_()).slice(start, length)
    assert bits(column).tolist() == [value is True for value in column.to_pylist()]


def test_appends_and_looks_bring_no_pandas(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from raysearch.core.segment import Outcome, Segment, Status
from raysearch.run.journal_status import JournalStatus
from raysearch.storage.journal.reading import read_outcomes
from raysearch.storage.journal.journal import Journal
segment = Segment(1 << 20, 1, None, {"lr": 0.1, "layers": 2, "optimizer": "sgd"}, 0, 3, 7, "a new sample")
with Journal.create(sys.argv[1]) as journal:
    journal.append_event("start", {"raysearch": "1"}, 0.0)
    journal.append([Outcome(segment, Status.COMPLETED, {"loss": [1.0, 2.0]}, "c1", 1.0)])
[outcome] = read_outcomes(sys.argv[1])
assert outcome.segment == segment
status = JournalStatus(Path(sys.argv[1]), "loss", "min")
status.read()
print("pandas" in sys.modules, status.snapshot().best.value)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "journal")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False 2.0\n"


@pytest.mark.parametrize("more", [-1, 0, 1, 2])
def test_many_small_appends_are_read_in_order(
    tmp_path: Path, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_FRAMES", 4)
    count = 8 + more
    with Journal.create(tmp_path) as journal:
        for trial in range(count):
            journal.append([outcome(trial)])
        (batch,) = parts.read_batches(tmp_path)
        assert batch.rows["trial"].to_pylist() == [*range(count)]
        assert (batch.first, batch.behind.row) == (0, count)
    assert len(ids(tmp_path)) == count
