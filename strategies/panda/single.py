"""One model raised with care: fork, probe, commit; a guard that goes back; a decay at the end.

At each fork two arms train a short probe from the same checkpoint, with the same examples in the same
order: one holds the values, one has a hyper-parameter nudged. The nudge is committed if it gains more
than it needs (`fork_test`), and the line trains a longer stretch from the better arm. A stretch that
spikes, diverges or falls out of its own forecast is taken back, and with it what the last nudge changed
(`rollback`). What people order is in `interventions`, lengths and learning rates in `pacing`.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config, Event, Mode, Segment
from raysearch.space.space import Space
from raysearch.strategies.hand_over import Way
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.axes import Axis, ignored_note, ineffective_note
from raysearch.strategies.panda.evaluations import Evaluations
from raysearch.strategies.panda.fork_test import Threshold, breaks, gain, noise_of, progress_of
from raysearch.strategies.panda.interventions import NUDGE, RaisingSearch, ordered
from raysearch.strategies.panda.pacing import COMMIT
from raysearch.strategies.panda.rollback import BACK_MOST, Rollback, Undo
from raysearch.strategies.rounds import End, Story, Why
from raysearch.strategies.seeding import fresh_seed

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

Steps = Generator[list[Segment], list[End], None]

REPORTS = 60  # of the line, from which noise is estimated
SETTLED = (Event.ACCEPT, Event.REJECT, Event.START)  # what gives way to the words about the decay


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the trainings that start together: the trial it belongs to, from where, with what, and why."""

    trial: int
    parent: End | None
    config: Config
    why: Why


class LineSearch(RaisingSearch):
    """A running panda of one model; see `raysearch.strategies.base` for its contract.

    Attributes:
        gate_loss: the loss where the line first came to its gate; None before, and without a gate.
        gate_violation: how far it was beyond limits there.
        plain: whether the next stretch comes without a fork before it.
    """

    def __init__(
        self,
        recipe: Panda,
        space: Space,
        metric: str,
        mode: Mode,
        seed: int,
        baseline: Config | None,
        *,
        numbers: tuple[int, int] = (0, 1),
        why: str = "",
        gate: int = 0,
    ) -> None:
        """`gate` is an iteration at which the loss is noted; 0 is none. The others as for RaisingSearch."""
        super().__init__(recipe, space, metric, mode, seed, baseline, numbers=numbers, why=why)
        self.trial = 0
        self.gate_loss: float | None = None
        self.gate_violation = 0.0
        self.line_seed = fresh_seed(seed, 0)
        self.reports: list[float] = []
        self.evaluations = Evaluations()
        self._way = Way()
        self.plain = False
        self.rollback = Rollback(recipe, space, self.axes)
        self.threshold = Threshold(recipe, self.rate)
        self._gate = gate
        self._furthest: End | None = None  # kept whatever happens: what the user is left with
        self._spent = 0
        self._calm = 1.0

    # ---- the story

    def story(self) -> Story:
        """Cycles of fork and stretch, then the decay."""
        self.begin()
        while self.at < self.recipe.max_iterations and not self.ended:
            self.plain = self.next_moment() or self.plain
            yield from self.decay() if self.at >= self.decay_from else self.cycle()
        is_whole = self.at >= self.recipe.max_iterations and self.goals is None
        if is_whole and (words := self._way.words(self.metric)):
            self.notes.append(words)

    def begin(self) -> None:
        """A fresh model, or one that was trained before this search."""
        self.tip = self.adopted()
        if self.tip is None or self.offset:
            self.trial = self.new_trial()
        if self.tip is None:
            return
        self.learned = self.tip.segment.config
        self.rollback.begin(self.tip)
        self._spent = self.tip.at

    def cycle(self) -> Steps:
        """A fork, unless it cannot be afforded or the line was just put back, and a stretch."""
        axis = None if self.plain else self.axes.choose(self.learned, self.moment)
        nudged = None
        if axis is not None:
            self.axes.leap(axis, self.moment)
            nudged = self.axes.nudged(axis, self.learned)
        stop = self.evaluations.next(self.at + self.pacing.probe(self.at))
        can_afford = self.can_afford(stop - self.at)
        if axis is not None and nudged is not None and can_afford and stop <= self.decay_from:
            yield from self._fork(axis, nudged, stop)
        words = "nothing to nudge" if can_afford else "no probe is left to spend"
        self.why = self.why or Why(Event.KEEP, words)
        self.plain = False
        if not self.ended and self.at < self.decay_from:
            yield from self.stretch(
                min(self.evaluations.next(self.at + self.stretch_length), self.decay_from)
            )

    def decay(self) -> Steps:
        """A piece of the last stretch, in which the learning rate falls to zero (or its lower bound)."""
        left = self.recipe.max_iterations - self.at
        piece = max(1, math.ceil((self.recipe.max_iterations - self.decay_from) / self.recipe.decay_steps))
        if self.rate and (self.why is None or self.why.event in SETTLED):
            self.why = Why(Event.DECAY, f"{self.rate} falls to zero over the last {left} iterations")
        yield from self.stretch(self.at + min(left, piece))

    @property
    def at(self) -> int:
        """Where the line stands."""
        return 0 if self.tip is None else self.tip.at

    @property
    def stretch_length(self) -> int:
        """Iterations of the next stretch."""
        every = self.evaluations.every  # a probe has to wait for the next
        return max(self.pacing.stretch(self.at), COMMIT * every if every > 1 else 0)

    def effective(self, learned: Config, start: int, stop: int) -> Config:
        """What is trained with from `start` to `stop`."""
        return self.pacing.effective(learned, start, stop, self._calm)

    def can_afford(self, extra: int) -> bool:
        """Whether so many iterations more leave the rest of the training, and a reserve for spikes."""
        return self.pacing.affords(self._spent, self.at, extra)

    # ---- forks

    def _fork(self, axis: Axis, nudged: Config, stop: int) -> Steps:
        held = self.effective(self.learned, self.at, stop)
        tried = self.effective(nudged, self.at, stop)
        words = perturb.in_words(self.space, held, tried)
        why = self.why if self.tip is None else Why(Event.HOLD, f"the arm without {words}")
        arms = [
            Arm(self.trial, self.tip, held, why or Why(Event.KEEP, "as it is")),
            Arm(self.new_trial(), self.tip, tried, Why(Event.NUDGE, words)),
        ]
        hold, nudge = yield from self.grow(arms, stop)
        if not hold.is_sound and not nudge.is_sound:
            came_to = max(hold.at, nudge.at)
            self.go_back(f"both arms of {words} failed: {hold.why}", True, came_to)
            return
        self.check_effect(axis, hold, nudge)
        if self.evaluations.are_silent(hold, nudge):
            self.why = Why(Event.REJECT, f"{words}: no evaluation came in the probe")
            self.come(hold)
        else:
            self._choose(axis, nudged, hold, nudge, words)

    def check_effect(self, axis: Axis, hold: End, nudge: End) -> None:
        """Notes, once, that the trainable does not take a hyper-parameter's values.

        The line ends where the values that its optimizer held prove it.
        """
        if not axis.reaches_optimizer(hold, nudge):
            self.ended = True
            self.notes.append(ineffective_note(axis.name, self.space.flatten(nudge.segment.config)))
        elif not self.evaluations.are_silent(hold, nudge) and axis.compare(hold, nudge):
            self.notes.append(ignored_note(axis.name, self.metric))

    def _choose(self, axis: Axis, nudged: Config, hold: End, nudge: End, words: str) -> None:
        """Goes on from the nudge if it gained more than it needs, else from the other arm."""
        found = gain(hold, nudge, noise_of(self.reports))
        progress = progress_of(self.tip, hold, self.rollback.previous())
        need = self.threshold.need(axis.name, axis.direction, found, progress, self.moment)
        broken = breaks(hold, nudge)
        if found.mean > need and not broken:
            self.rollback.undo = Undo(self.moment, self.tip, self.learned, axis)
            self.threshold.accepted(axis.name, axis.direction, self.moment)
            self.learned = nudged
            self.why = Why(Event.ACCEPT, f"{words}: gain {found} > {need:.2g}")
            axis.rejections = 0
            self.come(nudge)
        else:
            why = broken or f"gain {found}, needed more than {need:.2g}"
            self.why = Why(Event.REJECT, f"{words}: {why}")
            axis.rejections += 1
            axis.turn()
            self.come(hold)

    # ---- stretches

    def grow(self, arms: Sequence[Arm], stop: int) -> Generator[list[Segment], list[End], list[End]]:
        """Trains arms to `stop` on the same examples in the same order; returns their ends."""
        segments = [
            self.plan(a.trial, a.parent, a.config, stop, self.line_seed, str(a.why), a.why.event)
            for a in arms
        ]
        self._spent += sum(s.stop - s.start for s in segments)
        ends = yield segments
        return [replace(end, losses=self.evaluations.fresh(end.losses)) for end in ends]

    def stretch(self, stop: int) -> Steps:
        """Trains the line on, and takes it back if that went wrong."""
        config = self.effective(self.learned, self.at, stop)
        why, self.why = self.why or Why(Event.KEEP, f"{self.rate or 'all'} as it is"), None
        (end,) = yield from self.grow([Arm(self.trial, self.tip, config, why)], stop)
        self.judge(end)

    def judge(self, end: End) -> None:
        """Puts the line at this end, or back if what led there went wrong."""
        is_last = self.at >= self.decay_from
        fault = self.rollback.fault(end, is_last, self.evaluations.every)
        if fault is not None and end.is_sound and not self.rollback.is_patient():
            self.notes.append(
                f"went back {self.rollback.count} times and found the same: {fault.words}; taken as it is"
            )
            self.rollback.forget()
        elif fault is not None and (fault.is_spike or self.can_afford(end.at - self.at)):
            self.go_back(fault.words, fault.is_spike, end.at)
            return
        self._calm = 1.0
        self.rollback.passed()
        self.come(end)
        self.rollback.note(end, self.learned)

    def come(self, end: End) -> None:
        """The line stands here now, and its trial goes on."""
        self.tip, self.trial = end, end.segment.trial
        self._way.come(end)
        if self._furthest is None or end.at >= self._furthest.at:
            self._furthest = end
        if self._gate and end.at >= self._gate and self.gate_loss is None:
            self.gate_loss, self.gate_violation = end.loss, end.violation
        self.reports = [*self.reports, *end.losses][-REPORTS:]
        self.evaluations.heard(end.at - len(end.losses), end.losses)
        self.ended = self.ended or end.done

    def go_back(self, fault: str, is_forced: bool, came_to: int) -> None:
        """Puts the line back at an earlier end, and undoes the last nudge or calms the learning rate.

        Args:
            is_forced: it cannot go on from where it is: a spike, not a bad day.
            came_to: the iteration that was reached just now; what is lost of it is said.
        """
        reached = self.at + self.stretch_length
        found = self.rollback.retreat(self.learned, self.moment, reached, self.rate, is_forced)
        if found is None:
            self.ended = True
            self.notes.append(f"the line was given up after it went back {BACK_MOST} times in a row: {fault}")
            return
        self.learned = found.learned
        self._calm = self._calm if found.calm is None else found.calm
        self._return_to(found.target)
        lost = came_to - self.at
        self.why = Why(Event.ROLLBACK, f"{found}, {lost} lost: {fault}; {found.remedy}")

    def _return_to(self, target: End | None) -> None:
        """The line goes on from an earlier end, as a new trial with another order of the examples."""
        self.tip = target
        self._way.cut(self.at)
        self.evaluations.cut(self.at, math.nan if target is None else target.loss)
        self.rollback.cut(target)
        self.trial = self.new_trial()
        self.line_seed = fresh_seed(self.seed, 3, self.moment)
        self.plain = True

    # ---- people, and checkpoints

    def obey(self, order: Mapping[str, Any]) -> None:
        """A nudge changes what was learnt; after a rollback the line goes on from that segment."""
        if order["kind"] == NUDGE:
            self.rollback.undo = Undo(self.moment, self.tip, self.learned, None)
            self.learned = ordered(self.space, self.learned, order["values"])
            return
        end = self.ends[order["segment"]]
        self.learned = self.rollback.learned_at(end)
        self._spent = min(self._spent, round(self.recipe.budget * end.at))  # what came after it is free
        self.rollback.undo = None
        self._return_to(end)

    def needed(self) -> Iterator[int]:
        """Where the line stands, may go back to, got furthest, was best; where people want to go back."""
        yield from super().needed()
        yield from self.rollback.needed()
        if self._furthest is not None:
            yield self._furthest.segment.id
        if (best := self._way.best()) is not None:
            yield best
