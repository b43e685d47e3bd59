"""Strategies written as a story: a generator that plans a round of segments and reads how they ended.

    def story(self):
        hold, nudge = yield [self.plan(...), self.plan(...)]      # a round; its ends come back in order
        ...

The outcomes of a round may arrive in any order, before or after the strategy asks for their segments, and
from an earlier life of the search. `tell` carries the story on as soon as all of a round are there, so
what it decides is a function of the seed, the outcomes and people's orders, and of nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from raysearch.core.segment import (
    REUSED,
    Config,
    Event,
    Mode,
    Outcome,
    Role,
    Segment,
    Status,
    score,
    segment_id,
    value_at,
)
from raysearch.space.limits import violation_of

if TYPE_CHECKING:
    from raysearch.space.objectives import Objectives

PARTS = "_parts/"  # `val_loss_parts/3`: the metric's mean over one fixed part of the validation examples

Story = Generator[list[Segment], list["End"], None]


@dataclass(frozen=True, slots=True)
class End:
    """Where a segment ended.

    Attributes:
        at: the iteration reached.
        loss: the metric's last value, turned so that lower is better; +inf if it did not end well.
        parts: the same over fixed parts of the validation examples, if the trainable reports them.
        losses: the metric after each iteration of the segment, turned likewise; NaN where not reported.
        done: there is nothing to train on.
        violation: how far it is beyond the limits of the search (`space.limits`); 0 within, or without any.
        beyond: the limits that it exceeds and its values, in words.
        used: what optimizers held, as `Outcome.used`.
    """

    segment: Segment
    at: int
    loss: float
    parts: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    done: bool = False
    why: str = ""
    used: Mapping[str, Sequence[float]] = field(default_factory=dict)
    violation: float = 0.0
    beyond: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether the model can be trained on from here."""
        return math.isfinite(self.loss)


@dataclass(frozen=True, slots=True)
class Why:
    """What was decided, and in words why; written into a segment as `event: words`."""

    event: Event
    words: str

    def __str__(self) -> str:
        return f"{self.event}: {self.words}"


class StorySearch:
    """A running search that a story drives; subclasses write `story`. Keeps the contract of `base`."""

    def __init__(self, metric: str, mode: Mode, numbers: tuple[int, int] = (0, 1)) -> None:
        """`numbers` are (first, step) of its trials' numbers, where several stories share a search."""
        self.offset, self._step = numbers
        self.metric = metric
        self.mode = mode
        self.goals: Objectives | None = None  # where there are limits
        self.notes: list[str] = []
        self.ends: dict[int, End] = {}  # of segments that ended well, without their losses
        self._told: dict[int, Outcome] = {}
        self._out: dict[int, Segment] = {}
        self._lost: dict[int, Segment] = {}
        self._queue: deque[Segment] = deque()
        self._round: list[Segment] = []
        self._ordinals: dict[int, int] = {}
        self._trials = 0
        self._story: Story | None = None
        self._is_over = False

    def story(self) -> Story:
        """Yields rounds of planned segments; each `yield` returns their ends."""
        raise NotImplementedError

    def needed(self) -> Iterator[int]:
        """Segments that the story may still grow on, those of the round in hand apart."""
        raise NotImplementedError

    def guard(self, goals: Objectives) -> None:
        """Has the story know how far ends are beyond the limits of these; before it begins."""
        self.goals = goals

    # ---- the contract

    def ask(self, free: int) -> list[Segment]:
        """At most `free` segments of the round in hand, lost ones first."""
        self._go_on()
        segments: list[Segment] = []
        while self._lost and len(segments) < free:
            segments.append(self._lost.pop(next(iter(self._lost))))
        while self._queue and len(segments) < free:
            segment = self._queue.popleft()
            if segment.id not in self._told and segment.id not in self._out:
                segments.append(segment)
        self._out.update((s.id, s) for s in segments)
        return segments

    def tell(self, outcome: Outcome) -> None:
        """Notes an outcome and carries the story on; one whose segment was told before changes nothing."""
        segment = outcome.segment
        asked = self._out.pop(segment.id, None)
        if segment.id in self._told:
            return
        if outcome.status is Status.LOST:
            self._lost[segment.id] = segment
            return
        self._lost.pop(segment.id, None)
        self._told[segment.id] = outcome
        if asked is None:
            self._make_way(segment)
        self._go_on()

    @property
    def finished(self) -> bool:
        """True when the story has ended and nothing asked for is outstanding."""
        return self._is_over and not self._out and not self._lost

    @property
    def has_lost(self) -> bool:
        """Whether a segment has to be asked for again."""
        return bool(self._lost)

    def kept(self) -> Set[int]:
        """What the story may grow on, and the parents and ends of the round in hand."""
        held = (*self._round, *self._out.values(), *self._lost.values())
        kept = {s.parent for s in held if s.parent is not None}
        kept.update(s.id for s in self._round)
        kept.update(self.needed())
        return kept

    # ---- for stories

    def new_trial(self) -> int:
        """The next trial number."""
        self._trials += 1
        return self.offset + (self._trials - 1) * self._step

    def plan(
        self, trial: int, parent: End | None, config: Config, stop: int, seed: int, reason: str, event: Event
    ) -> Segment:
        """The next segment of a trial; another trial's if an earlier life used that number for other work."""
        return self._numbered(
            Segment(
                id=segment_id(trial, 0),
                trial=trial,
                parent=None if parent is None else parent.segment.id,
                config=config,
                start=0 if parent is None else parent.at,
                stop=stop,
                seed=seed,
                reason=reason,
                event=event,
            )
        )

    def adopted(self) -> End | None:
        """Where a model ended that was trained before this search; None if there is none."""
        outcome = self._told.get(segment_id(0, 0))
        if outcome is None or outcome.segment.role != Role.ADOPTED:
            return None
        if not self.offset:  # trial 0 is its own
            self._trials, self._ordinals[0] = max(1, self._trials), 1
        return End(outcome.segment, outcome.segment.stop, math.inf)

    # ---- inside

    def _go_on(self) -> None:
        """Begins the story if need be, lets it read every round that is complete, and queues the next."""
        if self._story is None:
            self._story = self.story()
            self._read(None)
        while not self._is_over and all(s.id in self._told for s in self._round):
            self._read([self._end_of(s) for s in self._round])

    def _read(self, ends: list[End] | None) -> None:
        assert self._story is not None
        try:
            self._round = self._story.send(ends) if ends is not None else next(self._story)
        except StopIteration:
            self._is_over, self._round = True, []
        self._round = list(self._round)
        self._queue = deque(s for s in self._round if s.id not in self._told)

    def _numbered(self, planned: Segment) -> Segment:
        """The segment under the next free number of its trial, or of a trial in its place."""
        trial = planned.trial
        while True:
            ordinal = self._ordinals.get(trial, 0)
            segment = replace(planned, id=segment_id(trial, ordinal), trial=trial)
            known = self._told.get(segment.id)
            if known is None or _same_work(known.segment, segment):
                self._ordinals[trial] = ordinal + 1
                return segment
            trial += REUSED * self._step

    def _make_way(self, known: Segment) -> None:
        """Gives a planned segment another number if an earlier life used its own for other work.

        An outcome of that life may arrive when the story has planned the round already.
        """
        for place, planned in enumerate(self._round):
            if planned.id == known.id and not _same_work(known, planned):
                self._ordinals[planned.trial] -= 1
                self._round[place] = self._numbered(planned)
                self._queue = deque(s for s in self._round if s.id not in self._told)

    def _end_of(self, planned: Segment) -> End:
        outcome = self._told[planned.id]
        self._told[planned.id] = Outcome(outcome.segment, outcome.status, done=outcome.done)  # without curves
        end = end_of(outcome, self.metric, self.mode)
        if self.goals is not None and end.is_sound:
            values = self.goals.values_at(outcome.curve)
            end = replace(
                end, violation=violation_of(self.goals.excesses(values)), beyond=self.goals.beyond(values)
            )
        if end.is_sound and not end.done:
            self.ends[planned.id] = replace(end, losses=(), parts=(), used={})
        return end


def end_of(outcome: Outcome, metric: str, mode: Mode) -> End:
    """An outcome as a story reads it; failed, diverged, or nothing finite reported is an infinite loss."""
    values = outcome.curve.get(metric, ())
    value = value_at(values)
    loss = score(value, mode)
    why = outcome.error or ("" if math.isfinite(loss) else f"{metric} was never finite")
    losses = tuple(score(v, mode) if v == v else math.nan for v in values)
    if outcome.status is not Status.COMPLETED or not math.isfinite(loss):
        how = why or outcome.status.value
        return End(outcome.segment, outcome.reached, math.inf, (), losses, outcome.done, how)
    return End(
        outcome.segment,
        outcome.reached,
        loss,
        _parts(outcome.curve, metric, mode),
        losses,
        outcome.done,
        used=outcome.used,
    )


def _parts(curve: Mapping[str, Sequence[float]], metric: str, mode: Mode) -> tuple[float, ...]:
    """The last value of each part, in the order of their numbers; none if one of them is not finite."""
    prefix = metric + PARTS
    names = sorted((n for n in curve if n.startswith(prefix)), key=lambda n: (len(n), n))
    parts = tuple(score(curve[name][-1], mode) for name in names if len(curve[name]))
    return parts if all(map(math.isfinite, parts)) else ()


def _same_work(known: Segment, planned: Segment) -> bool:
    return (known.parent, known.start, known.stop, known.seed) == (
        planned.parent,
        planned.start,
        planned.stop,
        planned.seed,
    ) and known.config == planned.config
