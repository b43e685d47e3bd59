"""Tables of trials, CSV or Parquet: a row a trial, or with --trial and --iteration a row a report."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.errors import SpecError, unknown
from raysearch.interop.history.past import NAN, Asked, Past, PastTrial, number_of, rising

Row = Mapping[str, Any]
EMPTY = ("", None)


def read_csv(source: Path, asked: Asked) -> Past:
    """The history in a CSV file with a line of names at its top. Raises SpecError."""
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = [row for row in reader if any(value not in EMPTY for value in row.values())]
            names = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{source.name} cannot be read as CSV: {error}") from None
    for number, row in enumerate(rows, 2):
        if None in row:
            raise SpecError(f"{source.name}, row {number}: more cells than the {len(names)} columns")
    return read_rows(source, asked, names, rows)


def read_rows(source: Path, asked: Asked, names: Sequence[str], rows: Sequence[Row]) -> Past:
    """The history in rows that have these columns.

    Raises:
        SpecError: a column that is asked for is not there, or the table has several rows a trial unasked.
    """
    metric = asked.needed_metric(source, dict.fromkeys(names, 1))
    for option, column in (("--trial", asked.trial), ("--iteration", asked.iteration)):
        if column is not None and column not in names:
            raise SpecError(f"{source.name}: {option}: {unknown('column', column, names)}")
    if asked.trial is None:
        trials = [_alone(row, metric, asked.iteration) for row in rows]
        return Past(source.stem, tuple(trials), metric, counts=asked.iteration or "")
    if asked.iteration is None:
        raise SpecError(
            f"{source.name}: --trial {asked.trial} gathers the rows of a trial; say too which column counts "
            "how far it was trained: --iteration COLUMN"
        )
    of_trial: dict[Any, list[Row]] = {}
    for row in rows:
        of_trial.setdefault(row[asked.trial], []).append(row)
    gathered = [_gathered(each, metric, asked.iteration, asked.trial) for each in of_trial.values()]
    return Past(source.stem, tuple(gathered), metric, counts=asked.iteration)


def _config(row: Row, *others: str | None) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in others and value not in EMPTY}


def _alone(row: Row, metric: str, iteration: str | None) -> PastTrial:
    """A trial in one row; where it says how far it was trained, a curve of one point."""
    value = number_of(row[metric])
    at = number_of(row[iteration]) if iteration is not None else NAN
    return PastTrial(_config(row, metric, iteration), value, rising({at: value}))


def _gathered(rows: Sequence[Row], metric: str, iteration: str, trial: str) -> PastTrial:
    points = {number_of(row[iteration]): number_of(row[metric]) for row in rows if row[metric] not in EMPTY}
    curve = rising(points)
    return PastTrial(_config(rows[-1], metric, iteration, trial), curve[-1][1] if curve else NAN, curve)
