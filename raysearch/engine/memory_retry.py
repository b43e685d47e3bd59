"""A larger share of a node for trials whose memory ran out (`on_oom`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from raysearch.core.segment import ORDINAL_BITS, Cause, Outcome, Segment, Status

RAN_OUT = "out of memory with"  # begins the error of a trial whose share proved too small
_MEMORY = frozenset({Cause.OUT_OF_MEMORY, Cause.MEMORY_KILL})


@dataclass(slots=True)
class Growth:
    """Which share each trial needs.

    Attributes:
        words: the shares, from the ordinary one on; a single one cannot grow.
        beyond: why there is none after the last; empty where shares are not to grow.
        levels: trials that need more than the first.
    """

    words: tuple[str, ...] = ()
    beyond: str = ""
    levels: dict[int, int] = field(default_factory=dict)

    def level_of(self, segment: Segment) -> int:
        """Which share the segment needs: its trial's, or that of the trial it was forked from."""
        if not self.levels:
            return 0
        parent = segment.parent >> ORDINAL_BITS if segment.parent is not None else segment.trial
        level = max(self.levels.get(segment.trial, 0), self.levels.get(parent, 0))
        return min(level, max(0, len(self.words) - 1))

    def fold(self, outcome: Outcome) -> None:
        """Notes that the outcome's trial needs more than it had."""
        if outcome.status is Status.LOST and outcome.cause is Cause.SHARE_TOO_SMALL:
            self.levels[outcome.segment.trial] = self.level_of(outcome.segment) + 1

    def tried_again(self, outcome: Outcome) -> Outcome | None:
        """What becomes of an outcome whose memory ran out; None for any other.

        Lost, to be tried again with the next share; or failed, where no node has more.
        """
        if not self.beyond or outcome.cause not in _MEMORY:
            return None
        level = self.level_of(outcome.segment)
        had = self.words[level]
        if level + 1 < len(self.words):
            text = f"{RAN_OUT} {had}, tried again with {self.words[level + 1]}: {outcome.error}"
            return dataclasses.replace(
                outcome, status=Status.LOST, curve={}, error=text, cause=Cause.SHARE_TOO_SMALL
            )
        text = f"{RAN_OUT} {had}, and {self.beyond}: {outcome.error}"
        return dataclasses.replace(outcome, status=Status.FAILED, error=text, cause=Cause.SHARE_TOO_SMALL)
