"""Rows of SCHEMA back to outcomes and events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raysearch.core.segment import ORDINAL_BITS, Outcome, Role, Segment, Status
from raysearch.storage.journal.arrow_arrays import bits, numbers, unchecked, whole_numbers
from raysearch.storage.journal.config_columns import ConfigShape, parse_shape
from raysearch.storage.journal.decisions import causes, decisions
from raysearch.storage.journal.plain import memo, restored
from raysearch.storage.journal.schema import USED, JournalEvent


class Decoder:
    """Turns rows back into outcomes; remembers the shapes that it has seen."""

    def __init__(self) -> None:
        self._shapes: dict[str, ConfigShape] = {}
        self._metrics: dict[str, tuple[str, ...]] = {}

    def outcomes(self, batch: pa.RecordBatch | pa.Table) -> Iterator[Outcome]:
        """The outcomes among these rows, in order."""
        batch = batch.filter(pc.is_null(batch["event"])) if _has_events(batch) else batch
        details, errors = [*_values(batch["detail"])], [*_parsed(batch["error"], str)]
        segments = self._segments(batch, details)
        curves = self._curves(batch)
        found = map(
            Outcome,
            segments,
            _parsed(batch["status"], Status),
            curves,
            _values(batch["checkpoint"]),
            _values(batch["seconds"]),
            _parsed(batch["worker"], str),
            errors,
            _values(batch["done"]),
            _values(batch["finished_at"]),
            causes(details, errors),
        )
        has_used = pc.any(pc.match_substring(_texts(batch["metrics"]), USED)).as_py()
        return map(_without_used, found) if has_used else found

    def _segments(self, batch: pa.RecordBatch | pa.Table, details: Sequence[str | None]) -> Iterator[Segment]:
        trials = numbers(batch["trial"])
        ids = (trials << ORDINAL_BITS) + numbers(batch["ordinal"])
        parents = pc.subtract(whole_numbers(ids), _one(batch["back"]))
        reasons = [*_parsed(batch["reason"], str)]
        decided = [*decisions(details, reasons)]
        return map(
            Segment,
            ids.tolist(),
            trials.tolist(),
            _values(parents),
            self.configs(batch),
            numbers(batch["start"]).tolist(),
            numbers(batch["stop"]).tolist(),
            numbers(batch["seed"]).tolist(),
            reasons,
            _parsed(batch["role"], Role),
            _values(batch["source"]),
            [one.event for one in decided],
            [one.origin for one in decided],
        )

    def configs(self, batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any]]:
        """The config of each row; needs the columns `shape` and `numbers`."""
        return self._alike(batch) or self._mixed(batch)

    def _alike(self, batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any]] | None:
        """The configs, the fast way, if they have one shape and are flat and of floats; None if not."""
        first = pc.min_max(_texts(batch["shape"])).as_py()
        if first["min"] is None or first["min"] != first["max"]:
            return None
        shape = memo(self._shapes, first["min"], parse_shape)
        if not shape.floats_only or not shape.names:
            return None
        flat = numbers(_one(batch["numbers"]).flatten())
        names = shape.names
        return (dict(zip(names, row)) for row in flat.reshape(-1, len(names)).tolist())  # noqa: B905

    def _mixed(self, batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any]]:
        shapes = _parsed(batch["shape"], lambda text: memo(self._shapes, text, parse_shape))
        offsets, flat = _spread(batch["numbers"])
        for shape, start, stop in zip(shapes, offsets, offsets[1:], strict=False):
            yield shape.config(flat[start:stop])

    def _curves(self, batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, list[float]]]:
        names = _parsed(batch["metrics"], lambda text: memo(self._metrics, text, parse_metrics))
        offsets, flat = _spread(batch["values"])
        for metrics, start, stop in zip(names, offsets, offsets[1:], strict=False):
            if len(metrics) == 1:
                yield {metrics[0]: flat[start:stop]}
            elif not metrics:
                yield {}
            else:
                n = (stop - start) // len(metrics)
                yield {name: flat[start + k * n : start + k * n + n] for k, name in enumerate(metrics)}


def decode_events(batch: pa.RecordBatch | pa.Table) -> Iterator[JournalEvent]:
    """The events among these rows; needs the columns `event`, `detail` and `finished_at`."""
    found = batch.filter(pc.is_valid(batch["event"]))
    columns = (found[name].to_pylist() for name in ("event", "detail", "finished_at"))
    for kind, detail, at in zip(*columns, strict=True):
        yield JournalEvent(kind, {k: restored(v) for k, v in json.loads(detail).items()}, at)


def _without_used(outcome: Outcome) -> Outcome:
    """The outcome with what optimizers held apart from its curves."""
    curve = {name: values for name, values in outcome.curve.items() if not name.startswith(USED)}
    used = {name.removeprefix(USED): v for name, v in outcome.curve.items() if name.startswith(USED)}
    return replace(outcome, curve=curve, used=used)


def _has_events(batch: pa.RecordBatch | pa.Table) -> bool:
    return bool(batch["event"].null_count < batch.num_rows)


def parse_metrics(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _parsed(column: pa.Array | pa.ChunkedArray, parse: Callable[[str], Any]) -> Iterable[Any]:
    """`parse` of every value, called once for each that differs; equal values share an object."""
    encoded = _one(column)
    if not isinstance(encoded, pa.DictionaryArray):
        encoded = encoded.dictionary_encode()
    codes = numbers(encoded.indices).tolist()
    if len(encoded.dictionary) > len(codes):  # a few rows of many: most of its texts do not occur here
        used = {code: parse(encoded.dictionary[code].as_py()) for code in set(codes)}
        return map(used.__getitem__, codes)
    known = [parse(text) for text in encoded.dictionary.to_pylist()]
    return map(known.__getitem__, codes)


def _values(column: pa.Array | pa.ChunkedArray) -> Iterable[Any]:
    """The values, None where there is none; by way of NumPy where it can be, which is ten times faster."""
    values = _one(column)
    if values.null_count == len(values):
        return repeat(None, len(values))
    if pa.types.is_string(values.type) or pa.types.is_dictionary(values.type):
        return values.to_pylist()  # type: ignore[no-any-return]
    found: list[Any] = (bits(values) if pa.types.is_boolean(values.type) else unchecked(values)).tolist()
    if not values.null_count:
        return found
    for place in bits(values.is_null()).nonzero()[0].tolist():
        found[place] = None
    return found


def _texts(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The texts that occur, each at least once."""
    column = _one(column)
    return column.unique().dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _spread(column: pa.Array | pa.ChunkedArray) -> tuple[list[int], list[float]]:
    """Offsets and values of a column of lists."""
    lists = _one(column)
    return numbers(lists.offsets).tolist(), numbers(lists.values).tolist()
