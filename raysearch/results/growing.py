"""A journal that grows, look by look: a look decodes what is new, not what is there.

    journal = GrowingJournal(RunPaths(run).journal)
    results = Results(run, look=journal.look())        # as `raysearch.load` has them now
    journal.look() is journal.look()                   # True while nothing was written

What follows from the rows is computed on whole columns, as for a journal that is read once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from raysearch.core.segment import Mode
from raysearch.results.columns import Segments
from raysearch.results.front import violations_of
from raysearch.results.plots.importance import Importance, importance
from raysearch.storage.journal.parts import START, Position
from raysearch.storage.journal.reading import table_since
from raysearch.storage.journal.schema import JournalEvent

if TYPE_CHECKING:
    from raysearch.results.columns import Floats, Integers
    from raysearch.results.plots.digest import Digest
    from raysearch.space.objectives import Objectives

GROWN = 0.05  # share of segments that come before the importances of a run that goes on are computed anew


@dataclass(frozen=True, eq=False)
class JournalLook:
    """What was in a journal at a look.

    Attributes:
        table: the rows of its outcomes, as `journal.read_table` gives them.
        is_repeated: whether several of them are of one segment.
        events: those among the outcomes.
        importances, known_violations: the last that were computed of its run.
    """

    table: pa.Table
    is_repeated: bool
    events: tuple[JournalEvent, ...]
    importances: KnownImportances
    known_violations: KnownViolations

    def segments(self, metric: str, mode: Mode) -> Segments:
        """One row a segment, as `Segments.read` has them."""
        make = Segments.of if self.is_repeated else Segments
        return make(self.table, metric, mode)

    def importance(self, digest: Digest) -> Importance | None:
        """The importances; of a run that goes on maybe those of when it was a little shorter."""
        has_ended = bool(self.events) and self.events[-1].kind == "end"
        return self.importances.of(digest, 0.0 if has_ended else GROWN)

    def violations(self, numbers: Integers, columns: Mapping[str, Floats], goals: Objectives) -> Floats:
        """How far these trials are beyond the limits, as `front.violations_of` has it."""
        return self.known_violations.of(numbers, columns, goals)


class KnownViolations:
    """How far the trials of the last look were beyond the limits; computed anew where a value is another."""

    def __init__(self) -> None:
        self._goals: Objectives | None = None
        self._numbers: Integers = np.zeros(0, np.int64)
        self._values: Floats = np.zeros((0, 0))
        self._found: Floats = np.zeros(0)

    def of(self, numbers: Integers, columns: Mapping[str, Floats], goals: Objectives) -> Floats:
        """The violations of trials whose numbers are in order."""
        values = np.column_stack([*columns.values()])
        found, is_new = np.zeros(len(numbers)), np.ones(len(numbers), np.bool_)
        if goals == self._goals and len(self._numbers):
            at = np.minimum(np.searchsorted(self._numbers, numbers), len(self._numbers) - 1)
            is_same = (values == self._values[at]) | (np.isnan(values) & np.isnan(self._values[at]))
            is_new = ~is_same.all(axis=1) | (self._numbers[at] != numbers)
            found = self._found[at]
        found[is_new] = violations_of(numbers[is_new], {n: c[is_new] for n, c in columns.items()}, goals)
        self._goals, self._numbers, self._values, self._found = goals, numbers, values, found
        return found


class KnownImportances:
    """The last importances that were computed, which hold until the run has grown by a share."""

    def __init__(self) -> None:
        self._found: Importance | None = None
        self._segments = 0

    def of(self, digest: Digest, share: float) -> Importance | None:
        """The importances of the run, or of when it had fewer segments by at most this share."""
        if self._found is None or not self._segments <= len(digest.segments) <= (1 + share) * self._segments:
            self._found, self._segments = importance(digest), len(digest.segments)
        return self._found


class GrowingJournal:
    """The journal of a run that goes on."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._position: Position = START
        self._ids: Integers = np.zeros(0, np.int64)  # of all rows, in order
        self._latest: JournalLook | None = None
        self._known = KnownImportances(), KnownViolations()

    def look(self) -> JournalLook:
        """What is in it now; the same as last time where nothing was written since.

        Raises:
            JournalError: it cannot be read.
        """
        table, events, position = table_since(self._journal, self._position)
        old = self._latest
        if old is None or position.row != self._position.row:
            is_repeated = self._note(table) or (old is not None and old.is_repeated)
            if old is not None and len(old.table):
                table = pa.concat_tables([old.table, table]).unify_dictionaries() if len(table) else old.table
            table = table.combine_chunks()  # or each look at a column would join its parts
            known = () if old is None else old.events
            old = JournalLook(table, is_repeated, (*known, *events), *self._known)
            self._latest, self._position = old, position
        return old

    def _note(self, table: pa.Table) -> bool:
        """Takes in the segments of new rows; whether one of them had a row already, or has two."""
        ids = np.sort(np.asarray(table["id"].to_numpy(), np.int64))
        at = np.searchsorted(self._ids, ids)
        is_known = at < len(self._ids)
        is_known[is_known] = self._ids[at[is_known]] == ids[is_known]
        self._ids = np.insert(self._ids, at, ids)
        return bool(is_known.any() or (np.diff(ids) == 0).any())
