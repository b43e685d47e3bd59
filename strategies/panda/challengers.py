"""A few models, from two to seven: an incumbent and its challengers, all from one checkpoint.

Every cycle each member trains a stretch from where the line stands: one holds the values, the others
each have something nudged. The best beyond what it needs is the next incumbent; nobody is replaced
merely for being last. From three members on one is steady: it keeps its values, and if after some
cycles it has beaten the line beyond noise, the line goes on from there. In the last stretch the members
try different depths of the decay, which are compared only at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from raysearch.core.segment import Config, Event
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.axes import Axis
from raysearch.strategies.panda.fork_test import breaks, gain, needed, noise_of, progress_of, standing
from raysearch.strategies.panda.rollback import Undo
from raysearch.strategies.panda.single import Arm, LineSearch, Steps
from raysearch.strategies.rounds import End, Why

DECAY_FACTOR = 3.0  # between the learning rates that the last stretch decays from
YOUNG = 3  # a stretch is at most this part of the line's age


@dataclass(frozen=True)
class Challenge:
    """A nudge that a member tries."""

    axis: Axis
    direction: int
    learned: Config


@dataclass
class Steady:
    """The member that keeps its values: where it stands, and since which cycle it went its own way."""

    tip: End | None
    trial: int
    learned: Config
    cycles: int = 0


class ChallengeSearch(LineSearch):
    """A running panda of a few models; see `raysearch.strategies.base` for its contract."""

    _steady: Steady | None = None
    _is_decaying = False

    @property
    def stretch_length(self) -> int:
        """Iterations of a stretch: shorter while the line is young, unless the recipe says a length."""
        if self.recipe.interval is not None:
            return self.recipe.interval
        return min(self.recipe.interval_iterations, max(1, self.at // YOUNG))

    @property
    def _has_steady(self) -> bool:
        cycles = self.decay_from / self.recipe.interval_iterations
        return self.recipe.population >= 3 and cycles >= 2 * self.recipe.steady

    def needed(self) -> Iterator[int]:
        """As of one model, and where the steady member stands."""
        yield from super().needed()
        if self._steady is not None and self._steady.tip is not None:
            yield self._steady.tip.segment.id

    # ---- a cycle

    def cycle(self) -> Steps:
        """A stretch of every member, and the choice of the next incumbent."""
        stop = min(self.evaluations.next(self.at + self.stretch_length), self.decay_from)
        if self._has_steady and (self._steady is None or self._steady.cycles == 0):
            self._steady = Steady(self.tip, self.new_trial(), self.learned)
        count = self.recipe.population - 1 - (self._steady is not None)
        challenges = [] if self.plain else self._challenges(count)
        self.plain = False
        held = self.effective(self.learned, self.at, stop)
        why = self.why or Why(Event.KEEP, "as it is")
        arms = [Arm(self.trial, self.tip, held, why), *(self._arm(c, held, stop) for c in challenges)]
        if self._steady is not None:
            own = self.effective(self._steady.learned, self.at, stop)
            words = f"keeps its values, cycle {self._steady.cycles + 1} of {self.recipe.steady}"
            arms.append(Arm(self._steady.trial, self._steady.tip, own, Why(Event.STEADY, words)))
        ends = yield from self.grow(arms, stop)
        self._choose_incumbent(challenges, held, ends)
        if self._steady is not None:
            self._compare_steady(self._steady, ends[-1])

    def _arm(self, challenge: Challenge, held: Config, stop: int) -> Arm:
        config = self.effective(challenge.learned, self.at, stop)
        why = Why(Event.NUDGE, perturb.in_words(self.space, held, config))
        return Arm(self.new_trial(), self.tip, config, why)

    def _challenges(self, count: int) -> list[Challenge]:
        """What the challengers try: the way that helped, the opposite, the others, the same way further."""
        axes = sorted(self.axes.active(self.learned), key=lambda a: a.rejections)
        plans = [(a, d, 1) for d in (1, -1) for a in axes[:1]]
        plans += [(a, 1, 1) for a in axes[1:]] + [(a, -1, 1) for a in axes[1:]]
        plans += [(a, 1, power) for power in (2, 3) for a in axes[:1]]
        found: list[Challenge] = []
        for axis, sign, power in plans:
            direction = sign * axis.direction
            learned = perturb.moved(self.space, self.learned, axis.name, direction, axis.factor**power)
            if learned is not None and len(found) < count and all(c.learned != learned for c in found):
                found.append(Challenge(axis, direction, learned))
        return found

    def _choose_incumbent(self, challenges: list[Challenge], held: Config, ends: list[End]) -> None:
        hold, start = ends[0], self.tip
        noise = noise_of(self.reports)
        progress = progress_of(self.tip, hold, self.rollback.previous())
        best: tuple[float, Challenge, End, str] | None = None
        words = []
        for challenge, end in zip(challenges, ends[1:], strict=False):
            found = gain(hold, end, noise)
            axis, direction = challenge.axis, challenge.direction
            need = self.threshold.need(axis.name, direction, found, progress, self.moment)
            change = perturb.in_words(self.space, self.learned, challenge.learned)
            broken = breaks(hold, end)
            words.append(f"{change}: {broken or f'gain {found}, needs {need:.2g}'}")
            self.check_effect(axis, hold, end)
            if not broken and found.mean > need and (best is None or found.mean - need > best[0]):
                best = (found.mean - need, challenge, end, words[-1])
        if best is None:
            self._all_rejected(challenges, hold, words)
            return
        _, challenge, end, change = best
        self.rollback.undo = Undo(self.moment, start, self.learned, challenge.axis)
        self.learned, self.why = challenge.learned, Why(Event.ACCEPT, change)
        challenge.axis.direction, challenge.axis.rejections = challenge.direction, 0
        self.judge(end)

    def _all_rejected(self, challenges: list[Challenge], hold: End, words: list[str]) -> None:
        for axis in {c.axis.name: c.axis for c in challenges}.values():
            axis.rejections += 1
            axis.shrink()
        if words:
            self.why = Why(Event.REJECT, "; ".join(words))
        self.judge(hold)

    # ---- the steady member

    def _compare_steady(self, steady: Steady, end: End) -> None:
        steady.tip, steady.cycles = end, steady.cycles + 1
        if self.at != end.at or not end.is_sound:  # the line was put back, or the member failed: start anew
            steady.cycles, self._steady = 0, None
            return
        if steady.cycles < self.recipe.steady:
            return
        assert self.tip is not None
        found = gain(self.tip, end, noise_of(self.reports))
        need = needed(found, 0.0, False, self.recipe.z, self.recipe.rho)
        if found.mean > need and not breaks(self.tip, end):
            words = perturb.in_words(self.space, self.learned, steady.learned)
            self.why = Why(
                Event.STEADY,
                f"its line is restored: gain {found} > {need:.2g} in {steady.cycles} cycles; {words}",
            )
            self.rollback.undo, self.learned = None, steady.learned
            self.come(end)
        self._steady = None

    # ---- the end

    def decay(self) -> Steps:
        """The rest of the training: members with more and less of a learning rate, all falling to zero."""
        if self.plain or self._is_decaying:
            self.plain = False
            yield from super().decay()
            return
        self._is_decaying = True
        yield from self._decays()

    def _decays(self) -> Steps:
        held, whole = self.learned, self.recipe.max_iterations
        piece = max(1, -(-(whole - self.at) // self.recipe.decay_steps))
        challenges = self._depths(self.recipe.population - 1, piece)
        strands = [Steady(self.tip, self.trial, held)]
        strands += [Steady(self.tip, self.new_trial(), c) for c in challenges]
        start = self.tip
        at = self.at
        while at < whole and strands:
            stop = min(whole, at + piece)
            arms = [self._decay_arm(s, at, stop, s.tip is start) for s in strands]
            ends = yield from self.grow(arms, stop)
            for strand, end in zip(strands, ends, strict=True):
                strand.tip = end
            strands = [s for s in strands if s.tip is not None and s.tip.is_sound and not s.tip.done]
            at = stop
        done = [s for s in strands if s.tip is not None]
        if not done:
            self.go_back("every member failed in the decay", True, at)
            return
        best = min(done, key=lambda s: standing(s.tip))
        assert best.tip is not None
        self.learned = best.learned
        self.come(best.tip)

    def _depths(self, count: int, piece: int) -> list[Config]:
        """What was learnt with a higher or lower learning rate, or another axis nudged: to decay from."""
        axes = sorted(self.axes.every, key=lambda a: a.name != self.rate)
        factor = DECAY_FACTOR
        plans = [(axes[0], d, factor) for d in (-1, 1)] + [
            (a, d, a.factor) for a in axes[1:] for d in (1, -1)
        ]
        plans += [(axes[0], d, factor**2) for d in (-1, 1)]
        found: list[Config] = []
        seen = [self.effective(self.learned, self.at, self.at + piece)]
        for axis, direction, by in plans:
            learned = perturb.moved(self.space, self.learned, axis.name, direction, by)
            if learned is None or len(found) == count:
                continue
            config = self.effective(learned, self.at, self.at + piece)
            if config not in seen:
                seen.append(config)
                found.append(learned)
        return found

    def _decay_arm(self, strand: Steady, start: int, stop: int, is_first: bool) -> Arm:
        config = self.effective(strand.learned, start, stop)
        words = perturb.in_words(self.space, self.learned, strand.learned)
        origin = words if strand.learned != self.learned else "what was learnt"
        why = Why(Event.DECAY, f"{self.rate} falls to zero from {origin}")
        is_told = self.why is None or self.why.event is Event.DECAY
        if is_first and strand.learned == self.learned and not is_told:
            why = Why(Event.DECAY, f"after {self.why}")
        return Arm(strand.trial, strand.tip, config, why)
