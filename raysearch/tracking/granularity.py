"""How many trials of a search become runs of their own at W&B, by the size of the search.

Parallel coordinates, importance and scatter panels read runs, never rows of a table, and a project takes
fewer than 100,000 runs (10,000 on dedicated servers). So small searches send every trial, large ones
their best, and the rest is in a table and in Parquet artifacts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysearch.core.segment import FINALS

if TYPE_CHECKING:
    from raysearch.results.results import Results

EVERY_UP_TO = 200
TABLE_UP_TO = 50_000
FINALISTS = 50
BEST_ROWS, RANDOM_ROWS = 5_000, 5_000  # of a table that cannot hold every trial


@dataclass(frozen=True, slots=True)
class Granularity:
    """How finely a search is sent.

    Attributes:
        live: every trial is a run from its first segment on.
        finalists: so many of the best trials become runs at the end; 0 where all are runs already.
        rows: at most so many rows of the table of trials.
    """

    live: bool
    finalists: int
    rows: int


def level_of(trials: int) -> Granularity:
    """The level for a search of so many trials, planned or counted."""
    if trials <= EVERY_UP_TO:
        return Granularity(True, 0, TABLE_UP_TO)
    if trials <= TABLE_UP_TO:
        return Granularity(False, FINALISTS, TABLE_UP_TO)
    return Granularity(False, FINALISTS, BEST_ROWS + RANDOM_ROWS)


def finalists(results: Results, count: int) -> list[int]:
    """Numbers of the best trials of the search and of all trainings of the finish."""
    digest = results.digest
    best = digest.trials.numbers[digest.ranking[:count]].tolist()
    finals = digest.segments.integers("trial")[digest.segments.having("role", *FINALS)]
    return sorted({*best, *finals.tolist()})
