"""Outcomes and events as Arrow rows, and back.

One schema serves the log and the Parquet parts. What repeats is kept out of the rows:

- A config is its `shape`, JSON text naming the entries and holding those that are no numbers, and its
  `numbers`. `{"lr": 0.1, "layers": 3, "optimizer": "adamw"}` is
  `[["lr","f"],["layers","i"],["optimizer","=","adamw"]]` with `[0.1, 3.0]`; a number in a nested dict has
  a path for a name: `[["model","lr"],"f"]`. Few shapes occur in a search, so they compress to nothing,
  and tables are built from the numbers without parsing text.
- A curve is `metrics`, JSON text naming them, and `values`, one metric after the other.
- A segment's id is (trial << ORDINAL_BITS) + `ordinal`, its parent's id is id - `back`.

Floats keep every bit, NaN and infinities too. An event is a row with `event` and `detail` set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysearch.core.segment import ORDINAL_BITS, Config, Outcome, Segment, Status, segment_name
from raysearch.errors import JournalError, SpecError

SCHEMA = pa.schema(
    [
        ("trial", pa.int64()),
        ("ordinal", pa.int64()),
        ("back", pa.int64()),
        ("role", pa.string()),
        ("source", pa.int64()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("seed", pa.uint64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("shape", pa.string()),
        ("numbers", pa.list_(pa.float64())),
        ("metrics", pa.string()),
        ("values", pa.list_(pa.float64())),
        ("checkpoint", pa.string()),
        ("seconds", pa.float64()),
        ("worker", pa.string()),
        ("error", pa.string()),
        ("done", pa.bool_()),
        ("finished_at", pa.float64()),
        ("event", pa.string()),
        ("detail", pa.string()),
    ]
)
_EVENT_COLUMNS = ("event", "detail")
_EXACT = 2**53  # integers up to here are exact as floats
_TUPLE = "__tuple__"
_CACHED = 10_000
_PLAIN = frozenset({float, int, str, bool, type(None)})


class Event(NamedTuple):
    """Something that happened to the run and is no outcome."""

    kind: str
    detail: dict[str, Any]
    at: float


# ---------------------------------------------------------------------------- writing


def encode_outcomes(outcomes: Sequence[Outcome]) -> pa.RecordBatch:
    """Rows of SCHEMA, one an outcome.

    Raises:
        SpecError: a config or a curve holds what cannot be kept; names the entry.
        JournalError: an integer does not fit its column; names the segment.
    """
    segments = [o.segment for o in outcomes]
    try:
        columns = _segment_columns(segments) | _outcome_columns(outcomes)
    except (OverflowError, pa.ArrowInvalid) as error:
        raise _misfit(segments, error) from error
    nothing = pa.nulls(len(segments), pa.string())
    columns |= dict.fromkeys(_EVENT_COLUMNS, nothing)
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def encode_event(kind: str, detail: Mapping[str, Any], at: float) -> pa.RecordBatch:
    """One row of SCHEMA."""
    text = json.dumps({name: _plain(value, f"detail.{name}") for name, value in detail.items()})
    row = {"event": kind, "detail": text, "finished_at": float(at)}
    return pa.RecordBatch.from_pylist([row], schema=SCHEMA)


def check_config(config: Config) -> None:
    """Raises SpecError, naming the entry, if a journal cannot keep this config."""
    _encode_config(config)


def _segment_columns(segments: Sequence[Segment]) -> dict[str, pa.Array]:
    ids = np.array([s.id for s in segments], np.int64)
    trials = np.array([s.trial for s in segments], np.int64)
    shapes, numbers = _encode_configs([s.config for s in segments])
    return {
        "trial": pa.array(trials),
        "ordinal": pa.array(ids - (trials << ORDINAL_BITS)),
        "back": pa.array([None if s.parent is None else s.id - s.parent for s in segments], pa.int64()),
        "role": pa.array([s.role for s in segments], pa.string()),
        "source": pa.array([s.source for s in segments], pa.int64()),
        "start": pa.array([s.start for s in segments], pa.int64()),
        "stop": pa.array([s.stop for s in segments], pa.int64()),
        "seed": pa.array([s.seed for s in segments], pa.uint64()),
        "reason": pa.array([s.reason for s in segments], pa.string()),
        "shape": pa.array(shapes, pa.string()),
        "numbers": numbers,
    }


def _outcome_columns(outcomes: Sequence[Outcome]) -> dict[str, pa.Array]:
    curves = [_encode_curve(o) for o in outcomes]
    return {
        "status": pa.array([o.status._value_ for o in outcomes], pa.string()),
        "metrics": pa.array([names for names, _ in curves], pa.string()),
        "values": _lists([values for _, values in curves]),
        "checkpoint": pa.array([o.checkpoint for o in outcomes], pa.string()),
        "seconds": pa.array([o.seconds for o in outcomes], pa.float64()),
        "worker": pa.array([o.worker for o in outcomes], pa.string()),
        "error": pa.array([_text(o.error) for o in outcomes], pa.string()),
        "done": pa.array([o.done for o in outcomes], pa.bool_()),
        "finished_at": pa.array([o.finished_at for o in outcomes], pa.float64()),
    }


def _text(text: str) -> str:
    """`text` without half characters (file names that are not UTF-8 bring them), which no column can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _lists(rows: Sequence[Sequence[float]]) -> pa.ListArray:
    offsets = np.array([0, *accumulate(map(len, rows))], np.int32)
    flat = np.array([*chain.from_iterable(rows)], np.float64)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))


def _misfit(segments: Sequence[Segment], error: Exception) -> JournalError:
    for segment in segments:
        for name, top in (("id", 63), ("trial", 63), ("start", 63), ("stop", 63), ("seed", 64)):
            value = getattr(segment, name)
            if not 0 <= value < 1 << top:
                where = f"segment {segment_name(segment.id)}"
                return JournalError(f"{where}: {name} = {value} does not fit; allowed: 0 to 2**{top} - 1")
    return JournalError(f"outcomes cannot be written as rows: {error}")


class _Plan(NamedTuple):
    """How configs of one (names, types) are taken apart."""

    numbers: tuple[int, ...]  # positions
    integers: tuple[int, ...]
    constants: tuple[int, ...]
    text: str | None  # the shape, if there are no constants


_plans: dict[tuple[tuple[str, ...], tuple[type, ...]], _Plan | None] = {}
_shapes: dict[tuple[Any, ...], str] = {}
_metric_texts: dict[tuple[str, ...], str] = {}


def _encode_configs(configs: Sequence[Config]) -> tuple[list[str], pa.ListArray]:
    """Shapes and numbers. The usual case, all flat with the same names and only floats, column by column."""
    names = tuple(configs[0]) if configs else ()
    if names and all(tuple(config) == names for config in configs):
        columns = [*zip(*[config.values() for config in configs], strict=True)]
        kinds = [set(map(type, column)) for column in columns]
        if all(kind == {float} for kind in kinds):
            shape, _ = _encode_config(configs[0])
            numbers = np.array(columns, np.float64).T.ravel()
            offsets = np.arange(len(configs) + 1, dtype=np.int32) * np.int32(len(names))
            return [shape] * len(configs), pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers))
    encoded = [_encode_config(config) for config in configs]
    return [shape for shape, _ in encoded], _lists([numbers for _, numbers in encoded])


def _encode_config(config: Config) -> tuple[str, Sequence[float]]:
    names, values = tuple(config), tuple(config.values())
    types = tuple(map(type, values))
    key = (names, types)
    try:
        plan = _plans[key]
    except KeyError:
        plan = _remember(_plans, key, _make_plan(names, types))
    if plan is None:
        return _encode_any(config)
    for i in plan.integers:
        if not -_EXACT <= values[i] <= _EXACT:
            return _encode_any(config)
    if plan.text is not None:
        return plan.text, values
    constants = (names, types, *[values[i] for i in plan.constants])
    text = _shapes.get(constants)
    if text is None:
        text = _remember(_shapes, constants, _encode_any(config)[0])
    return text, [values[i] for i in plan.numbers]


def _make_plan(names: tuple[Any, ...], types: tuple[type, ...]) -> _Plan | None:
    """None if these entries need a look at each value."""
    if not _PLAIN.issuperset(types) or not all(type(name) is str for name in names):
        return None
    numbers = tuple(i for i, t in enumerate(types) if t in (float, int))
    integers = tuple(i for i in numbers if types[i] is int)
    constants = tuple(i for i in range(len(types)) if i not in numbers)
    entries = [[name, "i" if t is int else "f"] for name, t in zip(names, types, strict=True)]
    return _Plan(numbers, integers, constants, None if constants else _dumps(entries))


def _encode_any(config: Config) -> tuple[str, list[float]]:
    entries: list[list[Any]] = []
    numbers: list[float] = []
    for name, raw in config.items():
        if not isinstance(name, str):
            raise SpecError(f"config: the name {name!r} is of type {type(name).__name__}; names are strings")
        _take_apart((str(name),), _plain(raw, f"config.{name}"), entries, numbers)
    return _dumps(entries), numbers


def _take_apart(path: tuple[str, ...], value: Any, entries: list[list[Any]], numbers: list[float]) -> None:
    """Adds the entries and numbers of what stands at `path` in a config."""
    name = path[0] if len(path) == 1 else path
    if type(value) is float or (type(value) is int and -_EXACT <= value <= _EXACT):
        entries.append([name, "f" if type(value) is float else "i"])
        numbers.append(value)
    elif isinstance(value, dict) and value and _TUPLE not in value:
        for key, inner in value.items():
            _take_apart((*path, key), inner, entries, numbers)
    else:
        entries.append([name, "=", value])


def _plain(value: Any, where: str) -> Any:
    """`value` of the types that JSON has, tuples marked; numpy scalars become Python's.

    Raises:
        SpecError: it has none of the types that can be kept.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value) if not isinstance(value, str) else str.__str__(value)
    if isinstance(value, tuple):
        return {_TUPLE: [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, Mapping):
        return {_plain_key(k, where): _plain(v, f"{where}.{k}") for k, v in value.items()}
    kept = "numbers, strings, booleans, None, and lists, tuples and dicts of them"
    raise SpecError(
        f"{where} = {value!r}: a {type(value).__module__}.{type(value).__qualname__} cannot be kept in the"
        f" journal; allowed: {kept}. Pass a name or a number and make the object in the trainable"
    )


def _plain_key(name: Any, where: str) -> str:
    if not isinstance(name, str) or name == _TUPLE:
        raise SpecError(f"{where}: the key {name!r} cannot be kept in the journal; keys are strings")
    return name


def _encode_curve(outcome: Outcome) -> tuple[str, Sequence[float]]:
    curve = outcome.curve
    names = tuple(curve)
    text = _metric_texts.get(names)
    if text is None:
        text = _remember(_metric_texts, names, _dumps(names))
    if len(names) == 1:
        return text, curve[names[0]]
    if len({len(values) for values in curve.values()}) > 1:
        lengths = {name: len(values) for name, values in curve.items()}
        raise ValueError(f"segment {segment_name(outcome.segment.id)}: curves differ in length: {lengths}")
    return text, [*chain.from_iterable(curve.values())]


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _remember(cache: dict[Any, Any], key: Any, value: Any) -> Any:
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = value
    return value


# ---------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Shape:
    """A parsed `shape`.

    Attributes:
        names: top-level names, in order.
        base: the config with its constants in place and None where the numbers go.
        numbers: (path, whether it is an integer) of each of the numbers, in their order.
        floats_only: the config is flat and of floats.
        nested: the config holds what can be changed, so `base` must be copied deeply.
        flat: names of the numbers, and of the integers among them, where all are at the top level.
    """

    names: tuple[str, ...]
    base: Mapping[str, Any]
    numbers: tuple[tuple[tuple[str, ...], bool], ...]
    floats_only: bool
    nested: bool
    flat: tuple[tuple[str, ...], tuple[str, ...]] | None

    def config(self, numbers: Sequence[float]) -> dict[str, Any]:
        """The config with these numbers."""
        if self.floats_only:
            return dict(zip(self.names, numbers, strict=True))
        config: dict[str, Any] = _copy(self.base) if self.nested else dict(self.base)
        if self.flat is not None:
            names, integers = self.flat
            config.update(zip(names, numbers, strict=True))
            for name in integers:
                config[name] = int(config[name])
            return config
        for (path, integer), number in zip(self.numbers, numbers, strict=True):
            _put(config, path, int(number) if integer else number)
        return config

    def constants(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """(path, value) of every entry that is not among the numbers."""
        numbers = {path for path, _ in self.numbers}
        return ((path, value) for path, value in _leaves((), self.base) if path not in numbers)


def parse_shape(text: str) -> Shape:
    """What `text`, a value of the column `shape`, says."""
    base: dict[str, Any] = {}
    numbers = []
    for name, kind, *constant in json.loads(text):
        path = (name,) if isinstance(name, str) else tuple(name)
        _put(base, path, _restore(constant[0]) if kind == "=" else None)
        if kind != "=":
            numbers.append((path, kind == "i"))
    return Shape(
        names=tuple(base),
        base=base,
        numbers=tuple(numbers),
        floats_only=len(numbers) == len(base) and all(len(path) == 1 and not i for path, i in numbers),
        nested=any(isinstance(value, (list, dict, tuple)) for value in base.values()),
        flat=_flat(numbers),
    )


def _flat(
    numbers: Sequence[tuple[tuple[str, ...], bool]],
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    if any(len(path) > 1 for path, _ in numbers):
        return None
    return tuple(path[0] for path, _ in numbers), tuple(path[0] for path, is_int in numbers if is_int)


def _put(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        config = config.setdefault(name, {})
    config[path[-1]] = value


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for name, inner in value.items():
            yield from _leaves((*path, name), inner)
    else:
        yield path, value


def _restore(value: Any) -> Any:
    if isinstance(value, list):
        return [_restore(v) for v in value]
    if isinstance(value, dict):
        if _TUPLE in value:
            return tuple(_restore(v) for v in value[_TUPLE])
        return {k: _restore(v) for k, v in value.items()}
    return value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(v) for v in value)
    return value


class Decoder:
    """Turns rows back into outcomes; remembers the shapes that it has seen."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape] = {}
        self._metrics: dict[str, tuple[str, ...]] = {}

    def outcomes(self, batch: pa.RecordBatch | pa.Table) -> Iterator[Outcome]:
        """The outcomes among these rows, in order."""
        batch = batch.filter(pc.is_null(batch["event"])) if _has_events(batch) else batch
        segments = self._segments(batch)
        curves = self._curves(batch)
        return map(
            Outcome,
            segments,
            _parsed(batch["status"], Status),
            curves,
            _values(batch["checkpoint"]),
            _values(batch["seconds"]),
            _parsed(batch["worker"], str),
            _parsed(batch["error"], str),
            _values(batch["done"]),
            _values(batch["finished_at"]),
        )

    def _segments(self, batch: pa.RecordBatch | pa.Table) -> Iterator[Segment]:
        trials = batch["trial"].to_numpy()
        ids = (trials << ORDINAL_BITS) + batch["ordinal"].to_numpy()
        parents = pc.subtract(pa.array(ids), _one(batch["back"]))
        return map(
            Segment,
            ids.tolist(),
            trials.tolist(),
            _values(parents),
            self.configs(batch),
            batch["start"].to_numpy().tolist(),
            batch["stop"].to_numpy().tolist(),
            batch["seed"].to_numpy().tolist(),
            _parsed(batch["reason"], str),
            _parsed(batch["role"], str),
            _values(batch["source"]),
        )

    def configs(self, batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any]]:
        """The config of each row; needs the columns `shape` and `numbers`."""
        return self._alike(batch) or self._mixed(batch)

    def _alike(self, batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any]] | None:
        """The configs, the fast way, if they have one shape and are flat and of floats; None if not."""
        first = pc.min_max(_texts(batch["shape"])).as_py()
        if first["min"] is None or first["min"] != first["max"]:
            return None
        shape = _memo(self._shapes, first["min"], parse_shape)
        if not shape.floats_only or not shape.names:
            return None
        flat = _one(batch["numbers"]).flatten().to_numpy()
        names = shape.names
        return (dict(zip(names, row)) for row in flat.reshape(-1, len(names)).tolist())  # noqa: B905

    def _mixed(self, batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any]]:
        shapes = _parsed(batch["shape"], lambda text: _memo(self._shapes, text, parse_shape))
        offsets, flat = _spread(batch["numbers"])
        for shape, start, stop in zip(shapes, offsets, offsets[1:], strict=False):
            yield shape.config(flat[start:stop])

    def _curves(self, batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, list[float]]]:
        names = _parsed(batch["metrics"], lambda text: _memo(self._metrics, text, parse_metrics))
        offsets, flat = _spread(batch["values"])
        for metrics, start, stop in zip(names, offsets, offsets[1:], strict=False):
            if len(metrics) == 1:
                yield {metrics[0]: flat[start:stop]}
            elif not metrics:
                yield {}
            else:
                n = (stop - start) // len(metrics)
                yield {name: flat[start + k * n : start + k * n + n] for k, name in enumerate(metrics)}


def decode_events(batch: pa.RecordBatch | pa.Table) -> Iterator[Event]:
    """The events among these rows; needs the columns `event`, `detail` and `finished_at`."""
    found = batch.filter(pc.is_valid(batch["event"]))
    columns = (found[name].to_pylist() for name in ("event", "detail", "finished_at"))
    for kind, detail, at in zip(*columns, strict=True):
        yield Event(kind, {k: _restore(v) for k, v in json.loads(detail).items()}, at)


def _has_events(batch: pa.RecordBatch | pa.Table) -> bool:
    return bool(batch["event"].null_count < batch.num_rows)


def parse_metrics(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _memo(cache: dict[str, Any], text: str, parse: Callable[[str], Any]) -> Any:
    found = cache.get(text)
    return _remember(cache, text, parse(text)) if found is None else found


def _parsed(column: pa.Array | pa.ChunkedArray, parse: Callable[[str], Any]) -> Iterable[Any]:
    """`parse` of every value, called once for each that differs; equal values share an object."""
    encoded = _one(column)
    if not isinstance(encoded, pa.DictionaryArray):
        encoded = encoded.dictionary_encode()
    known = [parse(text) for text in encoded.dictionary.to_pylist()]
    return map(known.__getitem__, encoded.indices.to_numpy().tolist())


def _values(column: pa.Array | pa.ChunkedArray) -> Iterable[Any]:
    """The values, None where there is none; by way of NumPy where it can be, which is ten times faster."""
    values = _one(column)
    if values.null_count == len(values):
        return repeat(None, len(values))
    if pa.types.is_string(values.type) or pa.types.is_dictionary(values.type):
        return values.to_pylist()  # type: ignore[no-any-return]
    if not values.null_count:
        return values.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    found = values.fill_null(0).to_numpy(zero_copy_only=False).tolist()
    missing = values.is_null().to_numpy(zero_copy_only=False).nonzero()[0].tolist()
    for place in missing:
        found[place] = None
    return found  # type: ignore[no-any-return]


def _texts(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The texts that occur, each at least once."""
    column = _one(column)
    return column.unique().dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _spread(column: pa.Array | pa.ChunkedArray) -> tuple[list[int], list[float]]:
    """Offsets and values of a column of lists."""
    lists = _one(column)
    return lists.offsets.to_numpy().tolist(), lists.values.to_numpy().tolist()
