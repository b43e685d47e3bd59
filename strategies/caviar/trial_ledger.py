"""What a strategy remembers of every trial number, in a few bytes each."""

from __future__ import annotations

import math
from array import array

from raysearch.core.segment import segment_id


class Ledger:
    """Which trials began, how far each was trained, and which of its segments were told.

    Seventeen bytes a trial, so that a million trials are nothing. Trials may be told in any order;
    numbers far ahead of the others cost memory for those between.

    Attributes:
        began: how many trials began; next_new: the lowest number that none has.
    """

    __slots__ = ("_began", "_gaps", "_ordinal", "_reached", "_score", "began", "next_new")

    def __init__(self) -> None:
        self.began = 0
        self.next_new = 0
        self._began = array("b")
        self._ordinal = array("i")
        self._reached = array("i")
        self._score = array("d")
        self._gaps: set[int] = set()

    def has_begun(self, trial: int) -> bool:
        """Whether the strategy asked for the trial, or was told an outcome of it."""
        return trial < len(self._began) and self._began[trial] == 1

    def begin(self, trial: int) -> None:
        """Takes the trial's number."""
        missing = trial + 1 - len(self._began)
        if missing <= 0 and self._began[trial]:
            return
        if missing > 0:
            self._began.extend([0] * missing)
            self._ordinal.extend([-1] * missing)
            self._reached.extend([0] * missing)
            self._score.extend([math.inf] * missing)
        self._began[trial] = 1
        self.began += 1
        while self.has_begun(self.next_new):
            self.next_new += 1

    def was_told(self, trial: int, ordinal: int) -> bool:
        """Whether the outcome of this segment was told."""
        if trial >= len(self._ordinal) or ordinal > self._ordinal[trial]:
            return False
        return not self._gaps or segment_id(trial, ordinal) not in self._gaps

    def tell(self, trial: int, ordinal: int, reached: int) -> None:
        """Notes the outcome of a segment."""
        self.begin(trial)
        last = self._ordinal[trial]
        if ordinal > last:
            self._gaps.update(segment_id(trial, o) for o in range(last + 1, ordinal))
            self._ordinal[trial] = ordinal
            self._reached[trial] = max(reached, self._reached[trial])
        else:
            self._gaps.discard(segment_id(trial, ordinal))

    def set_score(self, trial: int, score: float) -> None:
        """Notes the score at the highest rung that the trial reached."""
        self._score[trial] = score

    def score(self, trial: int) -> float:
        """The score at the trial's highest rung; +inf before there is one."""
        return self._score[trial]

    def reached(self, trial: int) -> int:
        """How many iterations the trial was trained."""
        return self._reached[trial]

    def last_segment(self, trial: int) -> int | None:
        """Id of the segment where the trial stands; None before the first was told."""
        ordinal = self._ordinal[trial]
        return segment_id(trial, ordinal) if ordinal >= 0 else None

    def next_segment(self, trial: int) -> int:
        """Id of the segment that trains it on."""
        return segment_id(trial, self._ordinal[trial] + 1)
