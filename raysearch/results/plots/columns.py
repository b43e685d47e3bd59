"""Columns of a run as figures take them: numbers, labels, curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from raysearch.results.columns import Floats, Integers
    from raysearch.results.plots.digest import Digest

CURVE_POINTS = 200  # of one curve


def as_floats(values: Any) -> Floats | None:
    """A column as floats, NaN where there is nothing; None if it holds anything but numbers."""
    array = np.asarray(
        values.to_numpy(dtype=object, na_value=None) if hasattr(values, "to_numpy") else values
    )
    if array.dtype != object:
        return np.asarray(array, np.float64)
    listed = [float("nan") if v is None else v for v in array.tolist()]
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in listed):
        return None
    return np.asarray(listed, np.float64)


def as_labels(values: Any) -> list[str]:
    """A column as texts; empty where there is nothing."""
    from raysearch.core.formatting import setting

    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    return ["" if v is None or v != v else setting(v) for v in listed]


def curve_of(digest: Digest, rows: Integers, points: int = CURVE_POINTS) -> tuple[Integers, Floats]:
    """(iterations, the metric there) of segments that follow one another, thinned to so many points."""
    segments = digest.segments
    spans = segments.spans.get(digest.metric)
    if spans is None:
        return np.zeros(0, np.int64), np.zeros(0)
    first, stop = spans
    starts, values = segments.integers("start"), segments.values[1]
    xs = [np.arange(stop[r] - first[r]) + starts[r] + 1 for r in rows.tolist()]
    ys = [values[first[r] : stop[r]] for r in rows.tolist()]
    x, y = np.concatenate([*xs, np.zeros(0, np.int64)]), np.concatenate([*ys, np.zeros(0)])
    if len(x) > points:
        kept = np.unique(np.linspace(0, len(x) - 1, points).astype(np.int64))
        x, y = x[kept], y[kept]
    return x, np.where(np.isfinite(y), y, np.nan)
