"""Outcomes and events to rows of SCHEMA."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from raysearch.core.segment import ORDINAL_BITS, Outcome, Segment, segment_name
from raysearch.errors import JournalError
from raysearch.storage.journal.arrow_arrays import floats, integers, texts, truths
from raysearch.storage.journal.config_columns import encode_configs, list_column
from raysearch.storage.journal.decisions import detail_text
from raysearch.storage.journal.plain import dumps, plain, remember
from raysearch.storage.journal.schema import SCHEMA, USED


def encode_outcomes(outcomes: Sequence[Outcome]) -> pa.RecordBatch:
    """Rows of SCHEMA, one an outcome.

    Raises:
        SpecError: a config or a curve holds what cannot be kept; names the entry.
        JournalError: an integer does not fit its column; names the segment.
    """
    segments = [o.segment for o in outcomes]
    try:
        columns = _segment_columns(segments) | _outcome_columns(outcomes)
    except (OverflowError, TypeError) as error:
        raise _misfit(segments, error) from error
    columns["event"] = pa.nulls(len(segments), pa.string())
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def encode_event(kind: str, detail: Mapping[str, Any], at: float) -> pa.RecordBatch:
    """One row of SCHEMA."""
    text = json.dumps({name: plain(value, f"detail.{name}") for name, value in detail.items()})
    known = {"event": texts([kind]), "detail": texts([text]), "finished_at": floats([at])}
    columns = [known[field.name] if field.name in known else pa.nulls(1, field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _segment_columns(segments: Sequence[Segment]) -> dict[str, pa.Array]:
    trials = [s.trial for s in segments]
    shapes, numbers = encode_configs([s.config for s in segments])
    return {
        "trial": integers(trials),
        "ordinal": integers([s.id - (s.trial << ORDINAL_BITS) for s in segments]),
        "back": integers([None if s.parent is None else s.id - s.parent for s in segments]),
        "role": texts([s.role for s in segments]),
        "source": integers([s.source for s in segments]),
        "start": integers([s.start for s in segments]),
        "stop": integers([s.stop for s in segments]),
        "seed": integers([s.seed for s in segments], pa.uint64()),
        "reason": texts([s.reason for s in segments]),
        "shape": texts(shapes),
        "numbers": numbers,
    }


def _outcome_columns(outcomes: Sequence[Outcome]) -> dict[str, pa.Array]:
    curves = [_encode_curve(o) for o in outcomes]
    return {
        "status": texts([o.status._value_ for o in outcomes]),
        "metrics": texts([names for names, _ in curves]),
        "values": list_column([values for _, values in curves]),
        "checkpoint": texts([o.checkpoint for o in outcomes]),
        "seconds": floats([o.seconds for o in outcomes]),
        "worker": texts([o.worker for o in outcomes]),
        "error": texts([_text(o.error) for o in outcomes]),
        "done": truths([o.done for o in outcomes]),
        "detail": texts([detail_text(o) for o in outcomes]),
        "finished_at": floats([o.finished_at for o in outcomes]),
    }


def _text(text: str) -> str:
    """`text` without half characters (file names that are not UTF-8 bring them), which no column can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _misfit(segments: Sequence[Segment], error: Exception) -> JournalError:
    for segment in segments:
        for name, top in (("id", 63), ("trial", 63), ("start", 63), ("stop", 63), ("seed", 64)):
            value = getattr(segment, name)
            if not 0 <= value < 1 << top:
                where = f"segment {segment_name(segment.id)}"
                return JournalError(f"{where}: {name} = {value} does not fit; allowed: 0 to 2**{top} - 1")
    return JournalError(f"outcomes cannot be written as rows: {error}")


_metric_texts: dict[tuple[str, ...], str] = {}


def _encode_curve(outcome: Outcome) -> tuple[str, Sequence[float]]:
    curve = _with_used(outcome)
    names = tuple(curve)
    text = _metric_texts.get(names)
    if text is None:
        text = remember(_metric_texts, names, dumps(names))
    if len(names) == 1:
        return text, curve[names[0]]
    if len({len(values) for values in curve.values()}) > 1:
        lengths = {name: len(values) for name, values in curve.items()}
        raise ValueError(f"segment {segment_name(outcome.segment.id)}: curves differ in length: {lengths}")
    return text, [*chain.from_iterable(curve.values())]


def _with_used(outcome: Outcome) -> Mapping[str, Sequence[float]]:
    """The curves, and behind them what optimizers held; that is left out where nothing was reported."""
    if not outcome.used or not outcome.curve:
        return outcome.curve
    return {**outcome.curve, **{USED + name: values for name, values in outcome.used.items()}}
