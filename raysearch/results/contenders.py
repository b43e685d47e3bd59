"""The configurations that the finish of a run trained again."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from raysearch.results.verdict import Contender

if TYPE_CHECKING:
    from raysearch.results.run_rows import RunRows


def contenders(run: RunRows, unfit: Collection[int] = frozenset()) -> list[Contender]:
    """The configurations of the longest finish: earlier, shorter ones do not compare."""
    rows, segments = run.finals, run.segments
    if not len(rows):
        return []
    names = ("role", "source", "seed", "status", "stop", "error")
    picked = segments.table.select(names).take(rows)
    longest = max(picked["stop"].to_pylist())
    values, configs = segments.last[rows].tolist(), segments.configs(rows)
    found: dict[tuple[str, int | None], Contender] = {}
    for row, value, config in zip(picked.to_pylist(), values, configs, strict=True):
        if row["stop"] < longest or row["status"] == "lost" or row["source"] in unfit:
            continue
        key = (row["role"], row["source"])
        old = found.get(key) or Contender(*key, config, {})
        value = value if row["status"] == "completed" else math.nan
        found[key] = Contender(*key, config, {**old.values, row["seed"]: value}, [*old.errors, row["error"]])
    return [*found.values()]
