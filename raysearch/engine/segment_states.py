"""The state of every segment of a search: events in, instructions out. Pure: no clock, no file, no strategy.

A segment is UNKNOWN until the strategy plans it, and again once it is lost: the strategy plans a lost segment
anew under the same id. SUSPECT is a waiting segment that may be what kills its workers: a worker gets it with
nothing beside it. What was suspected stays so until it ends. COMMITTING is a segment whose outcome is being
written to the journal; its worker still holds the lease. DONE (completed or diverged) and FAILED are final.

state                    event          next        instruction
UNKNOWN WAITING          PLANNED        WAITING     QUEUE
SUSPECT                  PLANNED        SUSPECT     QUEUE
UNKNOWN WAITING          LEASED         LEASED      ANSWER
SUSPECT                  LEASED         LEASED      ANSWER_ALONE
UNKNOWN WAITING SUSPECT  CLAIMED        LEASED      NOTHING
LEASED                   CLAIMED        LEASED      IGNORE
COMMITTING               CLAIMED        COMMITTING  IGNORE
DONE                     CLAIMED        DONE        IGNORE
FAILED                   CLAIMED        FAILED      IGNORE
UNKNOWN WAITING          RECEIVED       COMMITTING  JOURNAL
SUSPECT LEASED           RECEIVED       COMMITTING  JOURNAL
COMMITTING               RECEIVED       COMMITTING  IGNORE
DONE                     RECEIVED       DONE        IGNORE
FAILED                   RECEIVED       FAILED      IGNORE
LEASED                   DIED           COMMITTING  JOURNAL
COMMITTING               DIED           COMMITTING  NOTHING
LEASED                   RETURNED       WAITING     QUEUE
COMMITTING               RETURNED       COMMITTING  NOTHING
COMMITTING               NOT_WRITTEN    LEASED      NOTHING
COMMITTING               UNHELD         WAITING     QUEUE
COMMITTING UNKNOWN       ENDED          DONE        TELL
COMMITTING UNKNOWN       FAILED         FAILED      TELL
COMMITTING UNKNOWN       LOST           UNKNOWN     TELL
UNKNOWN                  BLAMED         UNKNOWN     NOTHING
WAITING SUSPECT          BLAMED         SUSPECT     NOTHING
LEASED                   BLAMED         LEASED      NOTHING
COMMITTING               BLAMED         COMMITTING  NOTHING

The events ENDED, FAILED and LOST come from the journal: an outcome of that status is durable, or a journal of
an earlier life is replayed (UNKNOWN). Any other pair of state and event is a defect of ours and raises.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from raysearch.core.segment import Segment, Status
from raysearch.engine.leases import Leases
from raysearch.engine.segment_set import IdSet


class SegmentState(enum.IntEnum):
    """Where a segment stands; the module's table says how it changes."""

    UNKNOWN = 0  # not planned yet, or lost and to be planned anew
    WAITING = 1  # planned, and held by no worker
    SUSPECT = 2  # the same, and to be leased with nothing beside it
    LEASED = 3  # a worker holds it
    COMMITTING = 4  # its outcome is on its way into the journal
    DONE = 5  # completed or diverged
    FAILED = 6


class SegmentEvent(enum.IntEnum):
    """What happens to a segment."""

    PLANNED = 0  # the strategy asked for it
    LEASED = 1  # it is handed to a worker
    CLAIMED = 2  # a worker that outlived the coordinator holds it
    RECEIVED = 3  # a worker handed its outcome in
    DIED = 4  # its worker was lost while it trained this one
    RETURNED = 5  # its worker was lost beside it, or never got the lease
    NOT_WRITTEN = 6  # the journal refused the outcome, and a worker still holds the lease
    UNHELD = 7  # the same, and no worker holds it any more
    ENDED = 8  # durable: completed or diverged
    FAILED = 9  # durable: failed
    LOST = 10  # durable: lost
    BLAMED = 11  # it may have killed its worker


class Instruction(enum.IntEnum):
    """What the caller has to do after an event."""

    NOTHING = 0
    IGNORE = 1  # this came too late, or twice: it does not count
    REFUSE = 2  # other work was handed in under this id: it does not count, and the user should know
    QUEUE = 3  # put it behind those that wait
    ANSWER = 4  # send the worker a lease of it
    ANSWER_ALONE = 5  # the same, and nothing else may be trained meanwhile
    JOURNAL = 6  # write its outcome
    TELL = 7  # tell the strategy its outcome


_S, _E, _I = SegmentState, SegmentEvent, Instruction
TABLE: Mapping[tuple[SegmentState, SegmentEvent], tuple[SegmentState, Instruction]] = MappingProxyType(
    {
        (_S.UNKNOWN, _E.PLANNED): (_S.WAITING, _I.QUEUE),
        (_S.WAITING, _E.PLANNED): (_S.WAITING, _I.QUEUE),
        (_S.SUSPECT, _E.PLANNED): (_S.SUSPECT, _I.QUEUE),
        (_S.UNKNOWN, _E.LEASED): (_S.LEASED, _I.ANSWER),
        (_S.WAITING, _E.LEASED): (_S.LEASED, _I.ANSWER),
        (_S.SUSPECT, _E.LEASED): (_S.LEASED, _I.ANSWER_ALONE),
        (_S.UNKNOWN, _E.CLAIMED): (_S.LEASED, _I.NOTHING),
        (_S.WAITING, _E.CLAIMED): (_S.LEASED, _I.NOTHING),
        (_S.SUSPECT, _E.CLAIMED): (_S.LEASED, _I.NOTHING),
        (_S.LEASED, _E.CLAIMED): (_S.LEASED, _I.IGNORE),
        (_S.COMMITTING, _E.CLAIMED): (_S.COMMITTING, _I.IGNORE),
        (_S.DONE, _E.CLAIMED): (_S.DONE, _I.IGNORE),
        (_S.FAILED, _E.CLAIMED): (_S.FAILED, _I.IGNORE),
        (_S.UNKNOWN, _E.RECEIVED): (_S.COMMITTING, _I.JOURNAL),
        (_S.WAITING, _E.RECEIVED): (_S.COMMITTING, _I.JOURNAL),
        (_S.SUSPECT, _E.RECEIVED): (_S.COMMITTING, _I.JOURNAL),
        (_S.LEASED, _E.RECEIVED): (_S.COMMITTING, _I.JOURNAL),
        (_S.COMMITTING, _E.RECEIVED): (_S.COMMITTING, _I.IGNORE),
        (_S.DONE, _E.RECEIVED): (_S.DONE, _I.IGNORE),
        (_S.FAILED, _E.RECEIVED): (_S.FAILED, _I.IGNORE),
        (_S.LEASED, _E.DIED): (_S.COMMITTING, _I.JOURNAL),
        (_S.COMMITTING, _E.DIED): (_S.COMMITTING, _I.NOTHING),
        (_S.LEASED, _E.RETURNED): (_S.WAITING, _I.QUEUE),
        (_S.COMMITTING, _E.RETURNED): (_S.COMMITTING, _I.NOTHING),
        (_S.COMMITTING, _E.NOT_WRITTEN): (_S.LEASED, _I.NOTHING),
        (_S.COMMITTING, _E.UNHELD): (_S.WAITING, _I.QUEUE),
        (_S.COMMITTING, _E.ENDED): (_S.DONE, _I.TELL),
        (_S.UNKNOWN, _E.ENDED): (_S.DONE, _I.TELL),
        (_S.COMMITTING, _E.FAILED): (_S.FAILED, _I.TELL),
        (_S.UNKNOWN, _E.FAILED): (_S.FAILED, _I.TELL),
        (_S.COMMITTING, _E.LOST): (_S.UNKNOWN, _I.TELL),
        (_S.UNKNOWN, _E.LOST): (_S.UNKNOWN, _I.TELL),
        (_S.UNKNOWN, _E.BLAMED): (_S.UNKNOWN, _I.NOTHING),
        (_S.WAITING, _E.BLAMED): (_S.SUSPECT, _I.NOTHING),
        (_S.SUSPECT, _E.BLAMED): (_S.SUSPECT, _I.NOTHING),
        (_S.LEASED, _E.BLAMED): (_S.LEASED, _I.NOTHING),
        (_S.COMMITTING, _E.BLAMED): (_S.COMMITTING, _I.NOTHING),
    }
)
_KEPT = frozenset({SegmentState.WAITING, SegmentState.SUSPECT, SegmentState.LEASED, SegmentState.COMMITTING})
_DURABLE = {
    Status.COMPLETED: SegmentEvent.ENDED,
    Status.DIVERGED: SegmentEvent.ENDED,
    Status.FAILED: SegmentEvent.FAILED,
    Status.LOST: SegmentEvent.LOST,
}


class SegmentStates:
    """The states of a search's segments, and which are suspected.

    Each method but the queries is an event: it moves segments as the table says and returns instructions.
    """

    def __init__(self, leases: Leases) -> None:
        """All segments are UNKNOWN; `leases` notes which worker holds what, for other modules to read."""
        self._open: dict[int, SegmentState] = {}
        self._ended = IdSet()
        self._failed = IdSet()  # those of the ended that failed
        self._suspects: set[int] = set()
        self._leases = leases
        self._committing = 0

    # ---- events

    def plan(self, segments: Iterable[Segment]) -> list[Segment]:
        """The strategy asked for these; returns those to QUEUE: it may ask again for what a worker holds."""
        planned = [segment for segment in segments if self.is_free(segment.id)]
        for segment in planned:
            self._wait(segment.id, SegmentEvent.PLANNED)
        return planned

    def lease(self, worker: str, segment: Segment) -> Instruction:
        """The segment is handed to a worker: ANSWER it, or ANSWER_ALONE."""
        instruction = self._move(segment.id, SegmentEvent.LEASED)
        self._leases.hand(worker, segment)
        return instruction

    def claim(self, worker: str, segment: Segment) -> Instruction:
        """A worker that outlived the coordinator holds it; IGNORE if another one does, or it ended."""
        instruction = self._move(segment.id, SegmentEvent.CLAIMED)
        if instruction is not Instruction.IGNORE:
            self._leases.hand(worker, segment)
        return instruction

    def receive(self, worker: str, segment: Segment, status: Status) -> Instruction:
        """A worker handed in an outcome: JOURNAL it, IGNORE it, or REFUSE other work under an id asked for.

        An outcome counts once, whichever worker brings it. LOST counts only from the worker that holds the
        segment: another one trains it by now.
        """
        holder = self._leases.holder(segment.id)
        if holder is not None:
            if status is Status.LOST and holder != worker:
                return Instruction.IGNORE
            if self._open[segment.id] is SegmentState.LEASED:
                asked = self._leases.of(holder)[segment.id]
                if asked is not segment and not _same_work(asked, segment):
                    return Instruction.REFUSE
        return self._move(segment.id, SegmentEvent.RECEIVED)

    def take_back(self, worker: str, holding: Collection[int] = ()) -> list[Segment]:
        """Segments to QUEUE that the worker should hold, and does not: the answer was lost on its way."""
        held = self._leases.of(worker)
        if not held:
            return []
        kept = set(holding)
        back = [s for s in held.values() if s.id not in kept and self._open[s.id] is SegmentState.LEASED]
        for segment in back:
            self._leases.release(segment.id)
            self._wait(segment.id, SegmentEvent.RETURNED)
        return back

    def lose(self, worker: str, training: int | None) -> tuple[list[Segment], Segment | None]:
        """Its worker is gone: (segments to QUEUE, the one it trained, whose loss is to JOURNAL).

        A segment whose outcome is on its way into the journal is neither.
        """
        back, died = [], None
        for segment in [*self._leases.of(worker).values()]:
            self._leases.release(segment.id)
            if segment.id == training:
                died = segment if self._move(training, SegmentEvent.DIED) is Instruction.JOURNAL else None
            elif self._wait(segment.id, SegmentEvent.RETURNED) is Instruction.QUEUE:
                back.append(segment)
        return back, died

    def blame(self, segments: Iterable[int]) -> None:
        """These may have killed their worker: from now on a worker trains each by itself."""
        for segment in segments:
            self._suspects.add(segment)
            self._move(segment, SegmentEvent.BLAMED)

    def not_written(self, segment: int) -> Instruction:
        """The journal refused its outcome; QUEUE it if no worker holds it any more."""
        if segment in self._leases:
            return self._move(segment, SegmentEvent.NOT_WRITTEN)
        return self._wait(segment, SegmentEvent.UNHELD)

    def durable(self, segment: int, status: Status) -> str | None:
        """Its outcome is in the journal: TELL the strategy. Returns the worker that held it, if one did."""
        holder = self._leases.release(segment)
        self._move(segment, _DURABLE[status])
        if self._suspects and status is not Status.LOST:
            self._suspects.discard(segment)
        return holder

    # ---- queries

    @property
    def is_idle(self) -> bool:
        """True if no worker holds anything and no outcome is on its way into the journal."""
        return not self._leases and not self._committing

    def state_of(self, segment: int) -> SegmentState:
        """Where the segment stands."""
        state = self._open.get(segment)
        if state is not None:
            return state
        if segment not in self._ended:
            return SegmentState.UNKNOWN
        return SegmentState.FAILED if segment in self._failed else SegmentState.DONE

    def is_free(self, segment: int) -> bool:
        """True if the segment may be leased: no worker holds it, and it has no outcome."""
        state = self._open.get(segment)
        return segment not in self._ended if state is None else state <= SegmentState.SUSPECT

    def has_ended(self, segment: int) -> bool:
        """True if the segment is DONE or FAILED."""
        return segment in self._ended

    def is_suspect(self, segment: int) -> bool:
        """True if the segment may be what kills its workers."""
        return segment in self._suspects

    # ---- inside

    def _move(self, segment: int, event: SegmentEvent) -> Instruction:
        before = self._open.get(segment)
        if before is None:
            before = self.state_of(segment)
        after, instruction = TABLE[before, event]
        if after is before:
            return instruction
        self._committing += (after is SegmentState.COMMITTING) - (before is SegmentState.COMMITTING)
        if after in _KEPT:
            self._open[segment] = after
            return instruction
        self._open.pop(segment, None)
        if after is not SegmentState.UNKNOWN:
            self._ended.add(segment)
        if after is SegmentState.FAILED:
            self._failed.add(segment)
        return instruction

    def _wait(self, segment: int, event: SegmentEvent) -> Instruction:
        """Moves a segment back among those that wait; what was suspected before is SUSPECT at once."""
        instruction = self._move(segment, event)
        if segment in self._suspects:
            self._move(segment, SegmentEvent.BLAMED)
        return instruction


def _same_work(asked: Segment, done: Segment) -> bool:
    """True if both train the same stretch of the same trial."""
    return (asked.trial, asked.parent, asked.start, asked.stop) == (
        done.trial,
        done.parent,
        done.start,
        done.stop,
    )
