"""The rows of a run's journal: those of the search, those of its finish, and the way to a trial."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from raysearch.core.segment import FINALS, trial_name
from raysearch.errors import RunError
from raysearch.results.columns import Integers, Segments, Trials
from raysearch.results.lines import line_ends
from raysearch.storage.mirror import shown


@dataclass(frozen=True)
class RunRows:
    """The segments of a run, of the search and of the finish.

    Attributes:
        path: the run's folder as the caller wrote it, for messages.
        segments: every segment of the run.
        raises: whether models are raised, whose lines are what counts (see `results.lines`).
        horizon: iterations of a whole training, if the strategy says.
    """

    path: Path
    segments: Segments
    raises: bool = False
    horizon: int | None = None

    @cached_property
    def every(self) -> Integers:
        """The rows of all segments."""
        return np.arange(len(self.segments))

    @cached_property
    def searched(self) -> Integers:
        """The rows of the search's segments."""
        return np.flatnonzero(~self.segments.having("role", *FINALS))

    @cached_property
    def finals(self) -> Integers:
        """The rows of the finish's segments."""
        return np.flatnonzero(self.segments.having("role", *FINALS))

    @cached_property
    def trials(self) -> Trials:
        """The trials of the search."""
        return Trials.group(self.segments, self.searched)

    @cached_property
    def lines(self) -> Integers:
        """Rows of the segments at which the lines of raised models end, and trials beside them; else none."""
        if not self.raises:
            return np.zeros(0, np.int64)
        return line_ends(self.segments, self.trials, self.searched, self.horizon)

    @cached_property
    def line_ranking(self) -> Integers:
        """Of `lines` those that can be best: the longest first, then by value."""
        segments, rows = self.segments, self.lines
        values = segments.last[rows] * (1 if segments.mode == "min" else -1)
        able = np.isfinite(values) & segments.having("status", "completed")[rows]
        order = np.lexsort((segments.integers("id")[rows], values, -segments.integers("stop")[rows]))
        return rows[order[able[order]]]

    def leaf_of(self, trial: int) -> int:
        """The row of the last segment of a trial, or of a training of the finish; of a line, of its end.

        Raises:
            RunError: there is no such trial.
        """
        ends = self.lines[self.segments.integers("trial")[self.lines] == trial]
        if len(ends):
            return int(ends[-1])
        every = Trials.group(self.segments, self.every)
        at = np.flatnonzero(every.numbers == trial)
        if not len(at):
            where = shown(self.path)
            raise RunError(
                f"{where}: there is no trial {trial_name(trial)}; raysearch trials {where} lists them"
            )
        return int(every.leaves[at[0]])

    def path_to(self, trial: int) -> list[int]:
        """Rows of the segments from the root to the trial's last.

        Raises:
            RunError: there is no such trial.
        """
        return self.way_to(self.leaf_of(trial))

    def way_to(self, row: int) -> list[int]:
        """Rows of the segments from the root to this one."""
        ids = self.segments.integers("id")
        order = np.argsort(ids, kind="stable")
        parents = self.segments.table["parent"]
        at: int | None = row
        path: list[int] = []
        while at is not None and at not in path:
            path.insert(0, at)
            at = _find(ids, order, parents[at].as_py())
        return path


def _find(ids: Integers, order: Integers, wanted: int | None) -> int | None:
    """The row with this id; None if there is none."""
    if wanted is None:
        return None
    at = int(np.searchsorted(ids, wanted, sorter=order))
    return int(order[at]) if at < len(ids) and ids[order[at]] == wanted else None
