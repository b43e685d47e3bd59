"""How far a run has come, for whoever reads its report: being run, complete, or unfinished and why."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysearch.engine.wind_down import Ended, Ending, ended_of

if TYPE_CHECKING:
    from raysearch.storage.journal.schema import JournalEvent


class Phase(enum.Enum):
    """How far a run has come."""

    UNKNOWN = "unknown"  # its journal notes no start, as one written by another tool
    RUNNING = "running"
    COMPLETE = "complete"
    ENDED = "ended"  # with something left to do, for a reason that the journal has
    ENLARGED = "enlarged"  # it was complete, and was made larger since
    KILLED = "killed"  # its last process noted no end


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run has come.

    Attributes:
        ended: why its last process ended it, where the journal has that.
        holder: `process 12 on host`, which runs it; empty if none does.
    """

    phase: Phase
    ended: Ended | None = None
    holder: str = ""

    @property
    def is_open(self) -> bool:
        """Whether a process runs it."""
        return self.phase is Phase.RUNNING

    @property
    def is_unfinished(self) -> bool:
        """Whether no process runs it, and something is left to do."""
        return self.phase in (Phase.ENDED, Phase.ENLARGED, Phase.KILLED)

    @property
    def has_failed(self) -> bool:
        """Whether the search itself failed: it gave up, or came upon an error."""
        return self.ended is not None and self.ended.kind is Ending.FAILED

    @property
    def words(self) -> str:
        """How it stands, in a few words: `stopped by SIGINT`."""
        if self.phase is Phase.RUNNING:
            return f"{self.holder} runs it"
        if self.phase is Phase.ENDED and self.ended is not None:
            return self.ended.words
        return {
            Phase.ENLARGED: "it was made larger since it ended",
            Phase.KILLED: "its process was ended from outside",
            Phase.COMPLETE: "complete",
        }.get(self.phase, "not known")


def last_standing(events: Iterable[JournalEvent]) -> Standing:
    """How the run was left by the last process that ran it, from the events of its journal in their order."""
    phase, ended = Phase.UNKNOWN, None
    for event in events:
        if event.kind == "start":
            phase, ended = Phase.KILLED, None
        elif event.kind == "end":
            ended = ended_of(event.detail)
            is_done = ended is not None and ended.is_done
            phase = Phase.COMPLETE if is_done else Phase.ENDED if ended is not None else Phase.KILLED
        elif event.kind == "edit" and phase is Phase.COMPLETE:
            phase, ended = Phase.ENLARGED, None
    return Standing(phase, ended)
