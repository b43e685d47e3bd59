"""The tree of segments: the value types that everything else speaks in.

A segment trains one configuration from its parent's checkpoint for some iterations. It is a pure
function of (parent's checkpoint, config, seed, iterations), so a lost one is simply run again.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Config = Mapping[str, Any]
Mode = Literal["min", "max"]

ORDINAL_BITS = 20
REUSED = 1 << 32  # added to a trial's number where an earlier life of the search used it for other work
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Status(str, enum.Enum):
    """How a segment ended."""

    COMPLETED = "completed"
    DIVERGED = "diverged"  # the metric became NaN or infinite: worst of all, never promoted
    FAILED = "failed"  # an exception, a stall, a missing metric, or it killed its worker too often
    LOST = "lost"  # its worker went away: to be asked for again, under the same id

    __hash__ = str.__hash__  # Enum's own is a call of Python, and outcomes are counted by the million


class Cause(enum.Enum):
    """Why a segment failed or was lost. That a metric was NaN or infinite is `Status.DIVERGED`."""

    OTHER = "other"  # the trainable raised, or broke its contract
    OUT_OF_MEMORY = "out of memory"  # the training's own allocation failed
    MEMORY_KILL = "memory kill"  # Ray's memory monitor ended the worker
    SHARE_TOO_SMALL = "share too small"  # memory ran out, and what becomes of the trial is decided
    NO_CHECKPOINT = "no checkpoint"  # the trainable writes none, and the segment needs one
    CHECKPOINT = "checkpoint"  # one could not be read or written
    PROCESS_DIED = "process died"  # of the worker, or of the trial where each has its own
    NODE_LOST = "node lost"  # the worker went with its node
    UNREACHABLE = "unreachable"  # the worker was silent, or cannot be reached
    STALLED = "stalled"  # its training made no progress
    LEFT = "left"  # the worker had to go, and said so

    @classmethod
    def _missing_(cls, value: object) -> Cause:
        """A cause that this version does not know, as a newer one may write."""
        return cls.OTHER


class Role(str, enum.Enum):
    """The part that a segment plays in a search."""

    SEARCH = "search"
    FINALIST = "finalist"  # a configuration trained again from scratch, to say what it is worth
    BASELINE = "baseline"  # the user's own configuration, trained beside the finalists
    ADOPTED = "adopted"  # stands for a model trained before this search; nobody can train it again

    __hash__ = str.__hash__
    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]

    @classmethod
    def _missing_(cls, value: object) -> Role:
        """A role that this version does not know counts as search, as it always has."""
        return cls.SEARCH


FROM_PERSON = "enqueued"  # origin of a trial whose configuration a person gave while the search ran
FROM_BASELINE = "baseline"  # origin of the trial that has the user's own configuration
FINALS = frozenset({Role.FINALIST, Role.BASELINE})  # not part of the search's own standings


class Event(str, enum.Enum):
    """What a strategy decided when it planned a segment; `Segment.reason` has the words."""

    NONE = ""  # nothing beyond what the reason says, such as the first segment of a sampled trial
    PROMOTION = "promotion"  # the trial is trained on from a rung
    START = "start"  # the first segment of a raised model
    ADOPT = "adopt"  # the model was trained before this search
    HOLD = "hold"  # the arm of a fork that keeps its values
    NUDGE = "nudge"  # the arm of a fork, or a challenger, that tries another value
    ACCEPT = "accept"  # the line goes on from a nudge that gained enough
    REJECT = "reject"  # the line goes on from the arm that kept its values
    KEEP = "keep"  # the line or member goes on as it is
    ROLLBACK = "rollback"  # the line goes back to an earlier segment
    DECAY = "decay"  # the last stretch, in which the learning rate falls
    STEADY = "steady"  # the member that keeps its values
    CLONE = "clone"  # a member takes over another one's weights
    ORDER = "order"  # a person asked for it
    PAIR = "pair"  # one of the paired trainings of a retest
    CONTROL = "control"  # the incumbent of a retest, trained to the end again
    CONFIRMATION = "confirmation"  # a challenger that was found better, on seeds of its own

    __hash__ = str.__hash__
    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]

    @classmethod
    def _missing_(cls, value: object) -> Event:
        """An event that this version does not know, as a newer one may write."""
        return cls.NONE


@dataclass(frozen=True, slots=True)
class Segment:
    """One unit of work, planned by a strategy.

    Attributes:
        id: names what is trained; `segment_id(trial, ordinal)`. The same decision gives the same id
            in every life of a search, so that an outcome counts once however often it arrives.
        trial: the identity a user sees; a fork begins a new trial.
        parent: id of the segment whose checkpoint it starts from; None is a fresh model.
        config: values of the hyper-parameters, as the trainable receives them.
        start, stop: training iterations (calls of `Trainable.train`), `start < stop`.
        seed: seeds the random generators of a worker before the segment.
        reason: why the strategy asked for it, in words; nothing is decided by them.
        role: the part it plays.
        source: the trial whose configuration this trial repeats, where there is one.
        event: what the strategy decided.
        origin: where a trial's configuration is from if no sampler proposed it: FROM_BASELINE, or what
            memory, known_good and priors say of it. Only first segments have one.
    """

    id: int
    trial: int
    parent: int | None
    config: Config
    start: int
    stop: int
    seed: int
    reason: str
    role: Role = Role.SEARCH
    source: int | None = None
    event: Event = field(default=Event.NONE, compare=False)  # the reason says the same
    origin: str = field(default="", compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by position: five times faster than the way of slotted dataclasses. Enums as their text."""
        return _segment, (
            self.id,
            self.trial,
            self.parent,
            self.config,
            self.start,
            self.stop,
            self.seed,
            self.reason,
            _TEXTS.get(self.role, self.role),
            self.source,
            _TEXTS.get(self.event, self.event),
            self.origin,
        )

    @property
    def is_final(self) -> bool:
        """Whether it belongs to a finish, whose trainings are no part of the search's own standings."""
        return self.role in FINALS


_ROLES = {str(role): role for role in Role}
_EVENTS = {str(event): event for event in Event}
_TEXTS = {text: text for text in (*_ROLES, *_EVENTS)}  # one object each, which a pickle writes once


def _segment(
    id: int,
    trial: int,
    parent: int | None,
    config: Config,
    start: int,
    stop: int,
    seed: int,
    reason: str,
    role: str,
    source: int | None,
    event: str,
    origin: str,
) -> Segment:
    """The segment that was pickled so."""
    kind, decided = _ROLES.get(role, Role.SEARCH), _EVENTS.get(event, Event.NONE)
    return Segment(id, trial, parent, config, start, stop, seed, reason, kind, source, decided, origin)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a segment.

    Attributes:
        curve: each metric's values at iterations start+1, start+2, ...; all of one length. NaN where
            a metric was not reported. Shorter than stop-start when the segment ended early.
        checkpoint: name of the checkpoint at the end, in the run's register; None if none was kept.
        seconds: wall time on the worker, restore and save included.
        worker: which worker trained it.
        error: what went wrong, for failed and lost; `cause` is what decisions read of it.
        done: the trainable said that the trial is over; there is nothing to train on.
        finished_at: Unix time on the coordinator's clock.
        used: what torch optimizers held while it was trained: columns of `core.used_values`, as long as the
            curve. Empty where none took a step.
    """

    segment: Segment
    status: Status
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    checkpoint: str | None = None
    seconds: float = 0.0
    worker: str = ""
    error: str = ""
    done: bool = False
    finished_at: float = 0.0
    cause: Cause = Cause.OTHER
    used: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by position, as Segment is."""
        parts = (
            self.segment,
            self.status,
            self.curve,
            self.checkpoint,
            self.seconds,
            self.worker,
            self.error,
            self.done,
            self.finished_at,
            self.cause,
        )
        return Outcome, (*parts, self.used) if self.used else parts

    def stamped(self, worker: str, at: float) -> Outcome:
        """The same with its worker and time, where it has none yet."""
        if self.worker and self.finished_at:
            return self
        return Outcome(
            self.segment,
            self.status,
            self.curve,
            self.checkpoint,
            self.seconds,
            self.worker or worker,
            self.error,
            self.done,
            self.finished_at or at,
            self.cause,
            self.used,
        )

    @property
    def reached(self) -> int:
        """The last iteration reported; `segment.start` if none was."""
        points = 0
        for values in self.curve.values():
            if len(values) > points:
                points = len(values)
        return self.segment.start + points


def ordinal_of(segment: int) -> int:
    """Which of its trial's segments this id names, from 0."""
    return segment & ((1 << ORDINAL_BITS) - 1)


def segment_id(trial: int, ordinal: int) -> int:
    """The id of a trial's `ordinal`-th segment: unique, and the same in every life of a search."""
    if trial < 0 or not 0 <= ordinal < 1 << ORDINAL_BITS:
        raise ValueError(f"no segment id for trial {trial}, ordinal {ordinal}")
    return trial << ORDINAL_BITS | ordinal


def segment_name(segment: int) -> str:
    """`12.3`: trial 12's segment number 3, as users see and type it."""
    return f"{segment >> ORDINAL_BITS}.{segment & ((1 << ORDINAL_BITS) - 1)}"


def trial_name(trial: int, form: str = "") -> str:
    """`17` as people read it: `17b` is the second trial of that number, `17c` the third (see REUSED).

    `form` formats the number, as in `f"{trial:,}"`.
    """
    again, number = divmod(trial, REUSED)
    if not 0 < again < len(_LETTERS):
        return f"{trial:{form}}"
    return f"{number:{form}}{_LETTERS[again]}"


def trial_number(text: str) -> int:
    """The trial that `trial_name` calls so. Raises ValueError for text that is no such name."""
    letter = text[-1:] if text[:-1].isdigit() and text[-1:] in _LETTERS else ""
    return int(text.removesuffix(letter)) + REUSED * max(0, _LETTERS.find(letter or "a"))


def segment_label(segment: int) -> str:
    """`17b.3`: the segment as people read it; `segment_name` is what its files are called."""
    return f"{trial_name(segment >> ORDINAL_BITS)}.{ordinal_of(segment)}"


def score(value: float, mode: Mode) -> float:
    """`value` turned so that lower is better; NaN and infinities become +inf, worse than all."""
    if not math.isfinite(value):
        return math.inf
    return value if mode == "min" else -value


def value_at(values: Sequence[float], count: int | None = None) -> float:
    """The last finite one of the first `count` values, of all if None; NaN if there is none.

    A metric that is reported every few iterations only is NaN between.

    >>> value_at([3.0, math.nan, 2.0], 2)
    3.0
    """
    for value in reversed(values if count is None else values[:count]):
        if math.isfinite(value):
            return value
    return math.nan
