"""The rows of a run's journal: those of the search, those of its finish, and the way to a trial."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from raysearch.core.segment import FINALS, trial_name
from raysearch.errors import RunError
from raysearch.results.columns import Integers, Segments, Trials
from raysearch.storage.mirror import shown


@dataclass(frozen=True)
class RunRows:
    """The segments of a run, of the search and of the finish.

    Attributes:
        path: the run's folder as the caller wrote it, for messages.
        segments: every segment of the run.
    """

    path: Path
    segments: Segments

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

    def leaf_of(self, trial: int) -> int:
        """The row of the last segment of a trial, or of a training of the finish.

        Raises:
            RunError: there is no such trial.
        """
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
        ids = self.segments.integers("id")
        order = np.argsort(ids, kind="stable")
        parents = self.segments.table["parent"]
        row: int | None = self.leaf_of(trial)
        path: list[int] = []
        while row is not None and row not in path:
            path.insert(0, row)
            row = _find(ids, order, parents[row].as_py())
        return path


def _find(ids: Integers, order: Integers, wanted: int | None) -> int | None:
    """The row with this id; None if there is none."""
    if wanted is None:
        return None
    at = int(np.searchsorted(ids, wanted, sorter=order))
    return int(order[at]) if at < len(ids) and ids[order[at]] == wanted else None
