"""Recorded learning curves, read from Parquet into tables for the simulator.

One row is one training: columns `hp_*` are its hyper-parameters, list columns its curves, and `task`
(or `problem`) says what was trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raysearch.core.segment import Mode
from raysearch.errors import SpecError, unknown
from raysearch.executors.simulated import Floats, Table
from raysearch.space.space import Space

HIGHER_IS_BETTER = ("acc", "auc", "f1", "reward", "r2")
LOG_FROM = 8.0  # greatest over least, from which on a log scale is considered


@dataclass(frozen=True)
class Columns:
    """Which columns are what; None lets the file decide.

    Attributes:
        metric: list column that is compared; the first whose name tells of accuracy, else the first.
        mode: max for accuracies and the like.
        seconds: list column of cumulative cost; epochs if there is none.
        log: hyper-parameters on a log scale; decided by their range and median if None.
        tasks: which tasks; all if None.
    """

    metric: str | None = None
    mode: Mode | None = None
    seconds: str | None = None
    log: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None


def read_tables(path: str | Path, columns: Columns) -> dict[str, Table]:
    """A table for each task of the file.

    Raises:
        SpecError: for columns or tasks that are not there.
    """
    frame = pd.read_parquet(path)
    lists = [str(c) for c in frame if len(frame) and isinstance(frame[c].iloc[0], np.ndarray)]
    task = next((c for c in ("task", "problem") if c in frame), None)
    if task is None or not lists or not any(str(c).startswith("hp_") for c in frame):
        raise SpecError(f"{path} has no column task or problem, no column hp_*, or no list column")
    metric = columns.metric or next((c for c in lists if _is_higher_better(c)), lists[0])
    seconds = columns.seconds or next((c for c in lists if c.startswith("time")), None)
    for column in (metric, seconds):
        if column is not None and column not in lists:
            raise SpecError(f"{path}: {unknown('list column', column, lists)}")
    mode: Mode = columns.mode or ("max" if _is_higher_better(metric) else "min")
    wanted = columns.tasks or tuple(sorted(frame[task].unique()))
    for name in wanted:
        if name not in set(frame[task]):
            raise SpecError(f"{path}: {unknown('task', name, set(frame[task]))}")
    tables = {n: _table(frame[frame[task] == n], metric, mode, seconds, columns.log) for n in wanted}
    return {name: table for name, table in tables.items() if table.epochs}  # some have no such curves


def _is_higher_better(metric: str) -> bool:
    return any(word in metric.lower() for word in HIGHER_IS_BETTER)


def _table(
    frame: pd.DataFrame, metric: str, mode: Mode, seconds: str | None, log: Sequence[str] | None
) -> Table:
    hyper = [c for c in map(str, frame) if c.startswith("hp_") and frame[c].nunique(dropna=False) > 1]
    frame = frame.drop_duplicates(hyper)
    settings = frame[hyper].rename(columns=lambda c: c[3:])
    for name in settings:
        if pd.api.types.is_numeric_dtype(settings[name]):
            settings[name] = settings[name].fillna(settings[name].median())
    space = Space.from_dict({str(name): _domain(settings[name], log) for name in settings})
    values = _stacked(frame[metric])
    cost = _stacked(frame[seconds]) if seconds else None
    if cost is None:
        skip = int("epochs" in frame and values.shape[1] == int(frame["epochs"].iloc[0]) + 1)
        values = values[:, skip:]  # point 0 is before training
        cost = np.tile(np.arange(1.0, values.shape[1] + 1), (len(values), 1))
    records: list[Any] = settings.astype(object).to_dict("records")
    return Table(space, records, values, cost, metric, mode)


def _stacked(column: pd.Series[Any]) -> Floats:
    """Curves as rows; those that ended early are NaN from there on."""
    longest = max(len(curve) for curve in column)
    rows = np.full((len(column), longest), np.nan)
    for i, curve in enumerate(column):
        rows[i, : len(curve)] = curve
    return rows


def _domain(values: pd.Series[Any], log: Sequence[str] | None) -> dict[str, Any]:
    if not pd.api.types.is_numeric_dtype(values):
        return {"choice": sorted(values.unique().tolist())}
    low, high = values.min().item(), values.max().item()
    whole = pd.api.types.is_integer_dtype(values)
    is_log = values.name in log if log is not None else _looks_log(low, high, float(values.median()))
    kind = ("lograndint" if whole else "loguniform") if is_log else ("randint" if whole else "uniform")
    return {kind: [low, high]}


def _looks_log(low: float, high: float, median: float) -> bool:
    """Whether the median lies nearer to the geometric middle than to the arithmetic one."""
    if low <= 0 or high / low < LOG_FROM:
        return False
    return abs(math.log(median / math.sqrt(low * high))) < abs(math.log(median / (0.5 * (low + high))))
