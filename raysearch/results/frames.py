"""pandas frames of a journal: one row a segment, one a trial, one an iteration.

The functions import pandas when they make a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raysearch.core.reserved_names import column_of
from raysearch.core.segment import segment_name
from raysearch.results.columns import Floats, Integers, Segments, Trials, used_place
from raysearch.results.config_frame import config_columns

if TYPE_CHECKING:
    import pandas as pd


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
    columns |= segments.used_ends(rows)
    columns |= {name: _texts(picked[name]) for name in ("reason", "worker", "checkpoint", "error")}
    return pd.DataFrame(columns, copy=False)


def lineage_frame(segments: Segments, path: set[int], rows: Integers) -> pd.DataFrame:
    """One row a segment, with what `Results.lineage` adds; `path` are the rows that led to the best."""
    frame = segment_frame(segments, rows)
    events = [one.event for one in segments.decisions(rows)]
    depths: dict[int, int] = {}
    parents = frame["parent"].astype(object).where(frame["parent"].notna(), None)
    for segment, parent in zip(frame["id"], parents, strict=True):  # a parent ended before its children began
        depths[segment] = depths.get(parent, 0) + 1
    return frame.assign(
        event=[str(event) for event in events],
        words=[r.removeprefix(f"{event}: ") for event, r in zip(events, frame["reason"], strict=True)],
        depth=[depths[segment] for segment in frame["id"]],
        on_path=[row in path for row in rows.tolist()],
    )


def trial_frame(trials: Trials, further: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """One row a trial; see `Results.trials`. `further` columns come after its values."""
    import pandas as pd

    leaves = trials.of.table.take(pa.array(trials.leaves))
    columns: dict[str, Any] = {
        "trial": trials.numbers,
        "status": _texts(leaves["status"]),
        "value": trials.values,
        "best_value": trials.best_values,
        **(further or {}),
        "iterations": trials.iterations,
        "segments": trials.segments,
        "seconds": trials.seconds,
        "role": _texts(leaves["role"]),
        "source": _integers(leaves["source"]),
    }
    columns |= config_columns(leaves)
    columns |= {name: _texts(leaves[name]) for name in ("reason", "checkpoint", "error")}
    return pd.DataFrame(columns, copy=False)


def line_frame(segments: Segments, ways: Sequence[Sequence[int]]) -> pd.DataFrame:
    """The columns of `trial_frame`, one row a line; `ways` are the rows of its segments, the end's last."""
    import pandas as pd

    ends = np.array([way[-1] for way in ways], np.int64)
    frame = segment_frame(segments, ends)
    better = np.fmin if segments.mode == "min" else np.fmax
    names = [name for name in frame.columns if name.startswith("config.")]
    columns: dict[str, Any] = {
        **{name: frame[name] for name in ("trial", "status", "value")},
        "best_value": [better.reduce(segments.best[list(way)]) for way in ways],
        "iterations": segments.reached[ends],
        "segments": [len(way) for way in ways],
        "seconds": [segments.floats("seconds")[list(way)].sum() for way in ways],
        **{name: frame[name] for name in ("role", "source", *names, "reason", "checkpoint", "error")},
    }
    return pd.DataFrame(columns)


def schedule_frame(lineage: pd.DataFrame, configs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for segments that follow each other with one configuration, of a lineage and its configs."""
    new = [i == 0 or configs[i] != configs[i - 1] for i in range(len(configs))]
    first = np.flatnonzero(new)
    names = [name for name in lineage.columns if name.startswith("config.")]
    schedule = lineage.iloc[first][["start", "stop", "trial", *names, "reason"]].reset_index(drop=True)
    last = [*first[1:] - 1, len(configs) - 1]
    schedule["stop"] = lineage["reached"].to_numpy()[last]
    for name in (n for n in lineage.columns if n.startswith(("used.", "held."))):
        schedule[name] = lineage[name].to_numpy()[last if name.endswith(".last") else first]
    return schedule


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

    def found(span: tuple[Integers, Integers]) -> Floats:
        first, stop = span
        reported = np.repeat(stop[rows] > first[rows], points)
        at = np.repeat(first[rows], points) + within
        return np.asarray(values[np.where(reported, at, len(values) - 1)], np.float64)

    columns |= {column_of(name): found(span) for name, span in segments.spans.items()}
    columns |= _used_columns({name: found(span) for name, span in segments.used_spans.items()})
    return pd.DataFrame(columns, copy=False)


def _used_columns(found: Mapping[str, Floats]) -> dict[str, Floats]:
    """`used.NAME.first`, `.last`, `.least` and `.greatest` of an iteration, from the journal's columns."""
    columns: dict[str, Floats] = {}
    for column, values in found.items():
        place, _, part = used_place(column).partition(":")
        for end in ("first", "last", "least", "greatest"):
            if part in ("", end):
                known = columns.setdefault(f"{place}.{end}", np.full(len(values), np.nan))
                np.copyto(known, values, where=~np.isnan(values))
    for place in {name.removesuffix(".first") for name in columns if name.endswith(".first")}:
        ends = columns[f"{place}.first"], columns[f"{place}.last"]
        for end, extreme in (("least", np.fmin), ("greatest", np.fmax)):
            known = columns.setdefault(f"{place}.{end}", np.full(len(ends[0]), np.nan))
            np.copyto(known, extreme(*ends), where=np.isnan(known))
    return columns


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy that Parquet can hold: a column that mixes numbers and text becomes text."""
    frame = frame.copy()
    for name in frame.select_dtypes(object).columns:
        try:
            pa.array(frame[name], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            frame[name] = frame[name].map(lambda value: None if value is None else str(value))
    return frame


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
