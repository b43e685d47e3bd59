"""The lines of raised models: which segments came to stay, and which were probes or were taken back.

A journal holds both arms of each fork and what a line went back from. A line is the way from a fresh model
to an end that was not left: no arm that lost its fork, nothing from which the line went back, no member that
gave way to a copy of another. While a fork is undecided, the line stands at the end of the arm that holds
its values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from raysearch.core.segment import Event

if TYPE_CHECKING:
    from raysearch.results.columns import Integers, Segments, Trials

WENT_BACK = (Event.ROLLBACK, Event.ORDER)
SAMPLED = (Event.NONE, Event.PROMOTION)  # of trials that keep their configuration


def line_ends(segments: Segments, trials: Trials, rows: Integers, horizon: int | None) -> Integers:
    """Rows of the segments at which lines end, in the order of the journal.

    A trial that keeps its configuration is a line of its own. Where no line ended well, the ends are those of
    the trials that began from a fresh model.

    Args:
        rows: of the search.
        horizon: iterations of a whole training, if the strategy says.
    """
    events = dict(zip(rows.tolist(), (one.event for one in segments.decisions(rows)), strict=True))
    sampled = [int(leaf) for leaf in trials.leaves if events[int(leaf)] in SAMPLED]
    raised = [row for row in rows.tolist() if events[row] not in SAMPLED]
    tree = _Tree(segments, raised, events)
    ends = tree.ends(horizon)
    if raised and not ends:
        leaves = (int(leaf) for leaf in trials.leaves)
        ends = [leaf for leaf in leaves if leaf in tree.parent and tree.parent[leaf] is None]
    return np.array(sorted({*sampled, *ends}), np.int64)


class _Tree:
    """The segments of raised models: rows with the row of their parents, and their children's."""

    def __init__(self, segments: Segments, rows: Sequence[int], events: dict[int, Event]) -> None:
        ids, self._events, self._rows = segments.integers("id"), events, rows
        at = {int(ids[row]): row for row in rows}
        parents = segments.table["parent"].take(np.array(rows, np.int64)).to_pylist()
        self.parent = {row: at.get(parent) for row, parent in zip(rows, parents, strict=True)}
        self._children: dict[int | None, list[int]] = defaultdict(list)
        for row, parent in self.parent.items():
            self._children[parent].append(row)
        self._is_sound = segments.having("status", "completed") & np.isfinite(segments.last)
        self._is_lost = segments.having("status", "lost")
        self._is_adopted = segments.having("role", "adopted")
        starts, self._reached = segments.integers("start"), segments.reached
        self._copied_at = {int(starts[row]) for row in rows if events[row] is Event.CLONE}
        self._stops, self._seeds = segments.integers("stop"), segments.integers("seed")

    def ends(self, horizon: int | None) -> list[int]:
        """Rows that ended well, were not left, and from which nothing went on that ended well."""
        sound = {row for row in self._rows if self._is_sound[row] or self._is_adopted[row]}
        lost, undecided = self._forks(horizon)
        went_on = {self.parent[row] for row in sound - undecided}
        left = lost | undecided | self._taken_back()
        return sorted(row for row in sound - went_on - left if not self._gave_way(row))

    def _forks(self, horizon: int | None) -> tuple[set[int], set[int]]:
        """(arms that the line did not go on from, nudges of which nothing is decided).

        What is compared only at the end of the training is neither: the best of it counts.
        """
        forks: dict[tuple[int | None, int, int], list[int]] = defaultdict(list)
        for row, parent in self.parent.items():
            forks[parent, int(self._stops[row]), int(self._seeds[row])].append(row)
        lost: set[int] = set()
        undecided: set[int] = set()
        for (_, stop, _), arms in forks.items():
            nudges = [row for row in arms if self._events[row] is Event.NUDGE]
            if nudges and any(self._goes_on(row) for row in arms):
                lost.update(row for row in arms if not self._goes_on(row))
            elif horizon is None or stop < horizon:
                undecided.update(nudges)
        return lost, undecided

    def _goes_on(self, row: int) -> bool:
        return any(not self._is_lost[child] for child in self._children.get(row, ()))

    def _taken_back(self) -> set[int]:
        """What came after the segment to which a line went back, and before it did."""
        gone: set[int] = set()
        for row in self._rows:
            back_to = self.parent[row]
            if self._events[row] not in WENT_BACK or not self._is_sound[row]:
                continue
            if back_to is None or self._is_adopted[back_to]:  # maybe the begin of other lines too
                continue
            gone.update(later for later in self._below(back_to) if later < row)
        return gone

    def _gave_way(self, end: int) -> bool:
        """Whether a copy of another member went on in its place, or it was there to be compared with only."""
        failed_at = {int(self._stops[child]) for child in self._children.get(end, ())}
        return self._events[end] is Event.STEADY or not self._copied_at.isdisjoint(
            {int(self._reached[end]), *failed_at}
        )

    def _below(self, row: int) -> Iterable[int]:
        waiting = list(self._children.get(row, ()))
        while waiting:
            child = waiting.pop()
            yield child
            waiting += self._children.get(child, ())
