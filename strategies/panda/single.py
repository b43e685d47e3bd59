"""One model raised with care: fork, probe, commit; a guard that goes back; a decay at the end.

At each fork two arms train a short probe from the same checkpoint, with the same examples in the same
order: one holds the values, one has a hyper-parameter nudged. The nudge is committed if it gains more
than it needs (see `arms`), and the line trains a longer stretch from the better arm. A stretch that
spikes, diverges or falls out of its own forecast is taken back, and with it what the last nudge changed.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config, Mode, Segment, segment_name
from raysearch.errors import SpecError, unknown
from raysearch.space.space import Space
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.axes import IGNORED_AFTER, Axes, Axis
from raysearch.strategies.panda.fork_test import Gain, gain, needed, noise_of
from raysearch.strategies.panda.loss_guard import Guard
from raysearch.strategies.panda.rollback_points import Ring
from raysearch.strategies.rounds import End, Story, StorySearch
from raysearch.strategies.seeding import fresh_seed

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

Steps = Generator[list[Segment], list[End], None]

COMMIT = 4  # probes that a stretch is long
SPIKE_RATE = 0.5  # of the learning rate while it is warmed up again after a spike
REPEAT_RATE = 0.7  # for good, when it spikes again
BACK_MOST = 6  # times in a row that the line goes back before it is given up
PATIENCE = 2  # times in a row that it goes back for a loss that is high but finite
GOOD_STRETCHES = 3  # in a row, after which a fault is the first again
CALMING_WITHIN = 10  # moments in which each calming nudge that was accepted makes the next one dearer
CALMING_COST = 1.0
YOUNG = 12  # a probe is at most this part of the line's age
UNDO_WITHIN = 2  # moments, or intervals, in which a fault is laid on the last nudge
RESERVE, RESERVE_MOST = 0.1, 0.4  # of max_iterations, but of what the budget allows beyond: not for probes
REPORTS = 60  # of the line, from which noise is estimated


@dataclass(frozen=True)
class Arm:
    """One of the trainings that start together: the trial it belongs to, from where, with what, and why."""

    trial: int
    parent: End | None
    config: Config
    why: str


@dataclass(frozen=True)
class Undo:
    """How to take the last accepted change back: when it was, from where, and what held before."""

    moment: int
    tip: End | None
    learned: Config
    axis: Axis | None


class LineSearch(StorySearch):
    """A running panda of one model; see `raysearch.strategies.base` for its contract."""

    def __init__(
        self,
        recipe: Panda,
        space: Space,
        metric: str,
        mode: Mode,
        seed: int,
        baseline: Config | None,
        numbers: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(metric, mode, numbers)
        self.recipe = recipe
        self.space = space
        self.seed = seed
        self.learned: Config = start_config(space, baseline)
        self.tip: End | None = None
        self.trial = 0
        self.moment = 0
        self.gate_loss: float | None = None  # where the line first came to the gate
        self._gate = 0
        self._furthest: End | None = None  # kept whatever happens: what the user is left with
        names = perturb.nudged_names(space, recipe.nudge)
        self.axes = Axes(space, names, recipe.factor, seed)
        self.rate = self.axes.rate
        self.why = "start: the baseline" if baseline is not None else "start: the middle of the space"
        self.line_seed = fresh_seed(seed, 0)
        self._ring = Ring()
        self._guard = Guard(recipe.interval_iterations)
        self.reports: list[float] = []
        self._learned_at: dict[int, Config] = {}
        self._orders: dict[int, list[Mapping[str, Any]]] = {}
        self._spent = 0
        self.undo: Undo | None = None
        self.plain = False  # the next stretch comes without a fork before it
        self._back = 0
        self._good = 0
        self._calm = 1.0
        self._calmings: list[int] = []  # moments at which a calming nudge was accepted
        self.ended = False

    # ---- the story

    def story(self) -> Story:
        """Cycles of fork and stretch, then the decay."""
        self.begin()
        while self.at < self.recipe.max_iterations and not self.ended:
            self.next_moment()
            yield from self.decay() if self.at >= self.decay_from else self.cycle()

    def cycle(self) -> Steps:
        """A fork, unless it cannot be afforded or the line was just put back, and a stretch."""
        axis = None if self.plain else self.axes.choose(self.learned, self.moment)
        nudged = None
        if axis is not None:
            self.axes.leap(axis, self.moment)
            nudged = self.axes.nudged(axis, self.learned)
        can_afford = self.can_afford(self.probe_length)
        if axis is not None and nudged is not None and can_afford:
            yield from self._fork(axis, nudged)
        self.why = self.why or ("keep: nothing to nudge" if can_afford else "keep: no probe is left to spend")
        self.plain = False
        if not self.ended and self.at < self.decay_from:
            yield from self.stretch(min(self.at + self.stretch_length, self.decay_from))

    def decay(self) -> Steps:
        """A piece of the last stretch, in which the learning rate falls to zero (or its lower bound)."""
        left = self.recipe.max_iterations - self.at
        piece = max(1, math.ceil((self.recipe.max_iterations - self.decay_from) / self.recipe.decay_steps))
        if self.rate and (not self.why or self.why.startswith(("accept", "reject", "start"))):
            self.why = f"decay: {self.rate} falls to zero over the last {left} iterations"
        yield from self.stretch(self.at + min(left, piece))

    # ---- lengths

    @property
    def at(self) -> int:
        """Where the line stands."""
        return 0 if self.tip is None else self.tip.at

    @property
    def decay_from(self) -> int:
        """The iteration from which the learning rate falls."""
        if self.rate is None:
            return self.recipe.max_iterations
        return max(1, round(self.recipe.max_iterations * (1.0 - self.recipe.decay)))

    @property
    def probe_length(self) -> int:
        """Iterations of a probe: shorter while the line is young."""
        length = min(self.recipe.probe_iterations, max(1, self.at // YOUNG))
        return min(length, max(1, self.decay_from - self.at - 1))

    @property
    def stretch_length(self) -> int:
        """Iterations of a stretch: with the probe before it an interval, less while the line is young."""
        probe = self.probe_length
        if probe < self.recipe.probe_iterations:
            return probe * COMMIT
        return max(1, self.recipe.interval_iterations - probe)

    def effective(self, learned: Config, start: int, stop: int) -> Config:
        """What is trained with from `start` to `stop`: what was learnt, times base schedule and decay."""
        if self.rate is None:
            return learned
        whole, decay_from = self.recipe.max_iterations, self.decay_from
        share = self.recipe.shape.over(start, stop, whole) * self._calm
        if start >= decay_from:
            share *= (whole - (start + stop) / 2) / (whole - decay_from)
        return perturb.scaled(self.space, learned, self.rate, share)

    def can_afford(self, extra: int) -> bool:
        """Whether so many iterations more leave the rest of the training, and a reserve for spikes."""
        recipe = self.recipe
        left = recipe.population * (recipe.max_iterations - self.at)
        spare = min(
            RESERVE * recipe.max_iterations, RESERVE_MOST * (recipe.iterations - recipe.max_iterations)
        )
        return self._spent + left + extra + spare <= recipe.iterations

    # ---- forks

    def _fork(self, axis: Axis, nudged: Config) -> Steps:
        stop = self.at + self.probe_length
        held = self.effective(self.learned, self.at, stop)
        tried = self.effective(nudged, self.at, stop)
        words = perturb.in_words(self.space, held, tried)
        why = self.why if self.tip is None else f"hold: the arm without {words}"
        arms = [
            Arm(self.trial, self.tip, held, why),
            Arm(self.new_trial(), self.tip, tried, f"nudge: {words}"),
        ]
        hold, nudge = yield from self.grow(arms, stop)
        if not hold.is_sound and not nudge.is_sound:
            self.go_back(f"both arms of {words} failed: {hold.why}", is_forced=True)
            return
        found = gain(hold, nudge, noise_of(self.reports))
        progress = self.progress(hold)
        need = self.need(axis.name, axis.direction, found, progress)
        if found.mean > need:
            self._accept(axis, nudged, nudge, f"{words}: gain {found} > {need:.2g}")
        else:
            self._reject(axis, hold, f"{words}: gain {found}, needed more than {need:.2g}")
        self.check_ignored(axis, hold, nudge)

    def progress(self, hold: End) -> float:
        """What an arm gained since the fork, or would have at the pace of the last two cycles: the greater.

        The gain of one probe is noisy, and where it happens to be small nothing could be raised.
        """
        if self.tip is None or not self.tip.is_sound:
            first = next((loss for loss in hold.losses if math.isfinite(loss)), hold.loss)
            return first - hold.loss if hold.is_sound else 0.0
        past = self._ring.back(1)
        mean = 0.0
        if past is not None and past.is_sound:
            mean = (past.loss - hold.loss) / (hold.at - past.at) * (hold.at - self.tip.at)
        return max(self.tip.loss - hold.loss, mean)

    def need(self, name: str, direction: int, found: Gain, progress: float) -> float:
        """What the gain of such a nudge must exceed; progress is the other arm's since the fork.

        Raising the learning rate may even cost a part of the progress: it pays later.
        """
        if name == self.rate and direction > 0:
            return -self.recipe.lenience * max(0.0, progress)
        is_calming = perturb.lowers_noise(name, direction)
        dearer = 1.0 + CALMING_COST * sum(m > self.moment - CALMING_WITHIN for m in self._calmings)
        return needed(found, progress, is_calming, dearer * self.recipe.z, dearer * self.recipe.rho)

    def _accept(self, axis: Axis, nudged: Config, end: End, words: str) -> None:
        self.undo = Undo(self.moment, self.tip, self.learned, axis)
        if perturb.lowers_noise(axis.name, axis.direction):
            self._calmings = [m for m in self._calmings if m > self.moment - CALMING_WITHIN] + [self.moment]
        self.learned, self.why = nudged, f"accept: {words}"
        axis.rejections = 0
        self.come(end)

    def _reject(self, axis: Axis, end: End, words: str) -> None:
        self.why = f"reject: {words}"
        axis.rejections += 1
        axis.turn()
        self.come(end)

    def check_ignored(self, axis: Axis, hold: End, nudge: End) -> None:
        """Says so, once, of a hyper-parameter whose values the trainable does not take."""
        if axis.compare(hold, nudge):
            self.notes.append(
                f"{axis.name} is ignored: {IGNORED_AFTER} probes with another value of it ended with the "
                f"same {self.metric} to the last digit, so it is no longer nudged. The trainable must take "
                "it from its config after a restore: raysearch.torch.apply(optimizer, config) at the end of "
                "load_checkpoint, or a method apply_config(config)"
            )

    # ---- stretches

    def grow(self, arms: Sequence[Arm], stop: int) -> Generator[list[Segment], list[End], list[End]]:
        """Trains arms to `stop` on the same examples in the same order; returns their ends."""
        segments = [self.plan(a.trial, a.parent, a.config, stop, self.line_seed, a.why) for a in arms]
        self._spent += sum(s.stop - s.start for s in segments)
        return (yield segments)

    def stretch(self, stop: int) -> Steps:
        """Trains the line on, and takes it back if that went wrong."""
        config = self.effective(self.learned, self.at, stop)
        why, self.why = self.why or f"keep: {self.rate or 'all'} as it is", ""
        (end,) = yield from self.grow([Arm(self.trial, self.tip, config, why)], stop)
        self.judge(end)

    def judge(self, end: End) -> None:
        """Puts the line at this end, or back if what led there went wrong."""
        spike = end.why if not end.is_sound else self._guard.spike(end.losses)
        is_last = self.at >= self.decay_from
        fault = spike or ("" if is_last else self._guard.bad_day(end.at, end.loss))
        if fault and end.is_sound and self._back >= PATIENCE:
            self.notes.append(f"went back {self._back} times and found the same: {fault}; taken as it is")
            self._guard.forget()
        elif spike or (fault and self.can_afford(end.at - self.at)):
            self.go_back(fault, is_forced=bool(spike))
            return
        self._calm = 1.0
        self._good += 1
        if self._good >= GOOD_STRETCHES:
            self._back = 0
        self.come(end)
        self._ring.add(end)
        self._learned_at[end.segment.id] = self.learned
        self._guard.note(end.at, end.loss, end.losses)

    def come(self, end: End) -> None:
        """The line stands here now, and its trial goes on."""
        self.tip, self.trial = end, end.segment.trial
        if self._furthest is None or end.at >= self._furthest.at:
            self._furthest = end
        if self._gate and end.at >= self._gate and self.gate_loss is None:
            self.gate_loss = end.loss
        self.reports = [*self.reports, *end.losses][-REPORTS:]
        self.ended = self.ended or end.done

    def go_back(self, fault: str, is_forced: bool) -> None:
        """Puts the line back at an earlier end, and undoes the last nudge or calms the learning rate."""
        self._back += 1
        self._good = 0
        if self._back > BACK_MOST:
            self.ended = True
            self.notes.append(f"the line was given up after it went back {BACK_MOST} times in a row: {fault}")
            return
        undo, self.undo = self.undo, None
        if undo is not None and self._is_recent(undo):
            target, remedy = undo.tip, self._undone(undo, is_forced)
        else:
            target, remedy = self._ring.back(2 ** (self._back - 1)), self._calmed(is_forced)
        self.return_to(target)
        place = (
            "a fresh model" if target is None else f"{segment_name(target.segment.id)}, iteration {target.at}"
        )
        self.why = f"rollback: to {place}: {fault}; {remedy}"

    def _is_recent(self, undo: Undo) -> bool:
        """Whether undoing it costs no more than two intervals, what was trained just now included."""
        since = self.at + self.stretch_length - (undo.tip.at if undo.tip is not None else 0)
        return (
            self.moment - undo.moment < UNDO_WITHIN or since <= UNDO_WITHIN * self.recipe.interval_iterations
        )

    def return_to(self, target: End | None) -> None:
        """The line goes on from an earlier end, as a new trial with another order of the examples."""
        self.tip = target
        self._ring.cut(target)
        self._guard.cut(self.at)
        self.trial = self.new_trial()
        self.line_seed = fresh_seed(self.seed, 3, self.moment)
        self.plain = True

    def _undone(self, undo: Undo, is_forced: bool) -> str:
        words = perturb.in_words(self.space, self.learned, undo.learned)
        if is_forced and self.rate is not None:
            before, now = self.axes.rate_of(undo.learned), self.axes.rate_of(self.learned)
            if now > before:
                self.axes.ceiling = min(self.axes.ceiling, math.sqrt(before * now))
        self.learned = undo.learned
        if undo.axis is not None:
            undo.axis.turn()
        return f"undone: {words}"

    def _calmed(self, is_forced: bool) -> str:
        if self.rate is None:
            return "the examples come in another order"
        spiked_before = is_forced and self.axes.rate_of(self.learned) >= self.axes.ceiling
        if is_forced:
            self.axes.ceiling = min(self.axes.ceiling, self.axes.rate_of(self.learned))
        if self._back > 1 or spiked_before:
            calmer = perturb.scaled(self.space, self.learned, self.rate, REPEAT_RATE)
            words = perturb.in_words(self.space, self.learned, calmer)
            self.learned = calmer
            return f"for good: {words}"
        if is_forced:
            self._calm = SPIKE_RATE
            return f"{self.rate} at {SPIKE_RATE:g} of its value for a stretch"
        return "the examples come in another order"

    # ---- beginnings, and people

    def watch(self, gate: int) -> None:
        """Notes the loss where the line first comes to this iteration; 0 is none."""
        self._gate = gate

    def begin(self) -> None:
        """A fresh model, or one that was trained before this search."""
        self.tip = self.adopted()
        if self.tip is None or self.offset:
            self.trial = self.new_trial()
        if self.tip is None:
            return
        self.learned = self.tip.segment.config
        self._ring.add(self.tip)
        self._spent = self.tip.at

    def next_moment(self) -> None:
        """Time for a decision: first what people ordered for now."""
        self.moment += 1
        orders = self._orders.pop(self.moment, ())
        for order in orders:
            self.obey(order)
        if orders:
            self.plain = True
            self.why = f"order: {'; then '.join(order['words'] for order in orders)}"

    def obey(self, order: Mapping[str, Any]) -> None:
        """Does what a person ordered."""
        if order["kind"] == "nudge":
            self.undo = Undo(self.moment, self.tip, self.learned, None)
            self.learned = self.ordered(self.learned, order["values"])
            return
        end = self.ends[order["segment"]]
        self.learned = self._learned_at.get(end.segment.id, end.segment.config)
        self._spent = min(self._spent, round(self.recipe.budget * end.at))  # what came after it is free
        self.undo = None
        self.return_to(end)

    def plan_intervention(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The order, checked and stamped with the moment after which it holds.

        Args:
            order: {"kind": "nudge", "values": {name: value}} or {"kind": "rollback", "segment": id}.

        Raises:
            SpecError: a value is not in the space, the segment cannot be grown on, or training has ended.
        """
        if self.finished:
            raise SpecError("the training has ended: there is no line left to change")
        stamped = {**order, "after": self.moment}
        if order.get("kind") == "nudge":
            new = self.ordered(self.learned, order["values"])
            return {**stamped, "words": f"nudge {perturb.in_words(self.space, self.learned, new)}"}
        if order.get("kind") == "rollback":
            segment = int(order["segment"])
            if segment not in self.ends:
                raise SpecError(f"segment {segment_name(segment)} did not end well, or is not of this run")
            at = self.ends[segment].at
            return {**stamped, "words": f"rollback to {segment_name(segment)}, iteration {at}"}
        raise SpecError(unknown("order", str(order.get("kind")), ("nudge", "rollback")))

    def intervene(self, stamped: Mapping[str, Any]) -> None:
        """Takes in an order that `plan_intervention` stamped, in this life or an earlier one."""
        self._orders.setdefault(int(stamped["after"]) + 1, []).append(stamped)

    def needed(self) -> Iterator[int]:
        """The ring, the tip, where the last nudge began, and where people want to go back to."""
        yield from (end.segment.id for end in self._ring)
        yield from (end.segment.id for end in (self.tip, self._furthest) if end is not None)
        if self.undo is not None and self.undo.tip is not None:
            yield self.undo.tip.segment.id
        for orders in self._orders.values():
            yield from (int(order["segment"]) for order in orders if order["kind"] == "rollback")

    def ordered(self, config: Config, values: Mapping[str, Any]) -> Config:
        """`config` with the values that a person ordered; raises SpecError if it is not in the space."""
        flat = self.space.flatten(config)
        for name in values:
            if name not in self.space.free:
                raise SpecError(unknown("hyper-parameter", name, self.space.free))
        changed = self.space.nest({**flat, **values})
        if why := self.space.why_not(changed):
            raise SpecError(f"{', '.join(f'{k}={v!r}' for k, v in values.items())}: {why}")
        return changed


def start_config(space: Space, baseline: Config | None) -> Config:
    """The baseline; without one the middle of the space, or its first sample that meets the constraints."""
    if baseline is not None:
        return baseline
    middle = space.decode([0.5] * space.dimension)
    return middle if space.allows(middle) else space.sample(0, 0)
