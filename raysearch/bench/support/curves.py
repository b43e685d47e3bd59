"""Recorded learning curves, read from Parquet into tables for the simulator.

One row is one training: columns `hp_*` are its hyper-parameters, list columns its curves, and `task`
(or `problem`) says what was trained. A point that was taken before training is no epoch: it is dropped
where the file tells of it (a column `epochs` one less than the points, a first time of 0) or the user does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from raysearch.core.segment import Mode
from raysearch.errors import SpecError, unknown
from raysearch.executors.simulated import Floats, Table
from raysearch.space.space import Space

HIGHER_IS_BETTER = ("acc", "auc", "f1", "reward", "r2")
LOG_FROM = 8.0  # greatest over least, from which on a log scale is considered
FIRST_POINTS = ("auto", "trained", "untrained")


@dataclass(frozen=True)
class Columns:
    """Which columns are what; None lets the file decide.

    Attributes:
        metric: list column that is compared; the first whose name tells of accuracy, else the first.
        mode: max for accuracies and the like.
        seconds: list column of cumulative cost; epochs if there is none.
        log: hyper-parameters on a log scale; decided by their range and median if None.
        tasks: which tasks; all if None.
        first: whether the first point of the curves is of a trained model; auto lets the file tell.
    """

    metric: str | None = None
    mode: Mode | None = None
    seconds: str | None = None
    log: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    first: Literal["auto", "trained", "untrained"] = "auto"


def read_tables(path: str | Path, columns: Columns) -> dict[str, Table]:
    """A table for each task of the file, without points that were taken before training.

    Raises:
        SpecError: for columns or tasks that are not there.
    """
    return tables_of(pd.read_parquet(path), columns, str(path))


def tables_of(frame: pd.DataFrame, columns: Columns, source: str) -> dict[str, Table]:
    """As `read_tables`, of a frame; `source` is what errors call it."""
    lists = [str(c) for c in frame if len(frame) and isinstance(frame[c].iloc[0], (np.ndarray, list))]
    task = next((c for c in ("task", "problem") if c in frame), None)
    if task is None or not lists or not any(str(c).startswith("hp_") for c in frame):
        raise SpecError(f"{source} has no column task or problem, no column hp_*, or no list column")
    metric = columns.metric or next((c for c in lists if is_higher_better(c)), lists[0])
    seconds = columns.seconds or next((c for c in lists if c.startswith("time")), None)
    for column in (metric, seconds):
        if column is not None and column not in lists:
            raise SpecError(f"{source}: {unknown('list column', column, lists)}")
    mode: Mode = columns.mode or ("max" if is_higher_better(metric) else "min")
    wanted = columns.tasks or tuple(sorted(frame[task].unique()))
    for name in wanted:
        if name not in set(frame[task]):
            raise SpecError(f"{source}: {unknown('task', name, set(frame[task]))}")
    tables = {n: _table(frame[frame[task] == n], metric, mode, seconds, columns) for n in wanted}
    return {name: table for name, table in tables.items() if table.epochs}  # some have no such curves


def is_higher_better(metric: str) -> bool:
    """Whether the name of a metric tells of accuracy and the like."""
    return any(word in metric.lower() for word in HIGHER_IS_BETTER)


def _table(frame: pd.DataFrame, metric: str, mode: Mode, seconds: str | None, columns: Columns) -> Table:
    hyper = [c for c in map(str, frame) if c.startswith("hp_") and frame[c].nunique(dropna=False) > 1]
    frame = frame.drop_duplicates(hyper)
    settings = frame[hyper].rename(columns=lambda c: c[3:])
    for name in settings:
        if pd.api.types.is_numeric_dtype(settings[name]):
            settings[name] = settings[name].fillna(settings[name].median())
    space = Space.from_dict({str(name): _domain(settings[name], columns.log) for name in settings})
    values = stacked(frame[metric])
    cost = _cost(frame[seconds], values.shape[1]) if seconds else None
    skip = _untrained(frame, values, cost, columns.first)
    values = values[:, skip:]
    cost = np.tile(np.arange(1.0, values.shape[1] + 1), (len(values), 1)) if cost is None else cost[:, skip:]
    records: list[Any] = settings.astype(object).to_dict("records")
    return Table(space, records, values, cost, metric, mode, untrained=skip)


def _untrained(frame: pd.DataFrame, values: Floats, cost: Floats | None, first: str) -> int:
    """How many points of the curves were taken before training: 0 or 1."""
    if first != "auto":
        return int(first == "untrained")
    if cost is not None and cost.size and not cost[:, 0].any():
        return 1
    return int("epochs" in frame and values.shape[1] == int(frame["epochs"].iloc[0]) + 1)


def stacked(column: pd.Series[Any]) -> Floats:
    """Curves as rows; those that ended early are NaN from there on."""
    longest = max(len(curve) for curve in column)
    rows = np.full((len(column), longest), np.nan)
    for i, curve in enumerate(column):
        rows[i, : len(curve)] = curve
    return rows


def _cost(column: pd.Series[Any], points: int) -> Floats:
    """Cumulative cost as rows; a curve that ended early goes on at its mean cost a point."""
    rows = stacked(column)
    if rows.shape[1] != points:
        raise SpecError(f"curves of {points} points have {rows.shape[1]} times in {column.name}")
    for row in rows:
        last = int(np.isfinite(row).sum()) - 1
        if last < points - 1:
            epochs = last + int(row[0] > 0.0)  # a time of 0 is before training
            each = row[last] / epochs if epochs > 0 else 1.0
            row[last + 1 :] = row[max(last, 0)] + each * np.arange(1.0, points - last)
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


def looks_untrained(table: Table) -> bool:
    """Whether the first point says next to nothing of the second, and the second a lot of the third.

    So it is where the first was taken before training; a warm-up looks alike.
    """
    from scipy.stats import spearmanr

    finite = table.values[np.isfinite(table.values[:, :3]).all(axis=1), :3]
    if table.epochs < 4 or len(finite) < 10:
        return False
    if np.ptp(finite[:, 0]) == 0.0:
        return True
    early, later = (float(spearmanr(finite[:, k], finite[:, k + 1])[0]) for k in (0, 1))
    return early < 0.3 and later > 0.6


def blinded(table: Table, seed: int = 0) -> Table:
    """The same task with a first epoch that says nothing of the later ones.

    Its values are those of the first epoch, dealt out to the configurations at random: as in a warm-up,
    in reinforcement learning, or where the metric is taken before training.
    """
    values = table.values.copy()
    finite = np.flatnonzero(np.isfinite(values[:, 0]))
    values[finite, 0] = values[np.random.default_rng(seed).permutation(finite), 0]
    return Table(table.space, table.configs, values, table.seconds, table.metric, table.mode, table.untrained)
