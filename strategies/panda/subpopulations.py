"""Eight models and more: sub-populations that compare their members at frequencies of their own.

Multiple-frequencies PBT (MF-PBT, Doulazmi et al. 2025): groups of four compare their members every
round, every fourth or every tenth. Fast groups follow what pays now; slow ones keep what pays late, and
take the weights of a better model from elsewhere without its hyper-parameters. Nobody is replaced
unless another is better beyond noise, and where nothing has happened for long the rounds get longer
(IPBT: iterated PBT restarts where we lengthen).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config, Event, Mode, Segment, segment_name
from raysearch.space.space import Space
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.fork_test import breaks, gain, noise_of, standing
from raysearch.strategies.panda.gp_bandit import Suggestions
from raysearch.strategies.panda.interventions import NUDGE, ROLLBACK, RaisingSearch, ordered
from raysearch.strategies.panda.rollback import BACK_MOST
from raysearch.strategies.rounds import End, Story, Why
from raysearch.strategies.seeding import fresh_seed

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

GROUP = 4
FREQUENCIES = (1, 4, 10)  # rounds from one comparison of a group to the next
FACTOR = 1.25
REPORTS = 60  # of a member, from which noise is estimated
QUIET_ROUNDS = 6  # without a change, after which rounds get longer
LONGEST = 4  # times the interval


@dataclass
class Member:
    """One model of the population: where it stands, what it was taught, and why it does what it does next."""

    number: int
    trial: int
    learned: Config
    why: Why
    seed: int
    tip: End | None = None
    before: float = float("nan")
    reports: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The trial that it is now, and how far."""
        return "a fresh model" if self.tip is None else segment_name(self.tip.segment.id)


class PopulationSearch(RaisingSearch):
    """A running panda of many models; see `raysearch.strategies.base` for its contract."""

    def __init__(
        self, recipe: Panda, space: Space, metric: str, mode: Mode, seed: int, baseline: Config | None
    ) -> None:
        super().__init__(recipe, space, metric, mode, seed, baseline)
        self.members: list[Member] = []
        self._suggestions = Suggestions(space, tuple(a.name for a in self.axes.every), seed)
        self._now = 0
        self._rounds = 0
        self._quiet = 0
        self._stretched = 1
        self._failed_rounds = 0

    @property
    def at(self) -> int:
        """How far every member is."""
        return self._now

    def story(self) -> Story:
        """Rounds: every member trains, then groups compare; at the end all decay."""
        adopted = self.adopted()
        self._now = 0 if adopted is None else adopted.at
        self.members = [self._newborn(i, adopted) for i in range(self.recipe.population)]
        whole = self.recipe.max_iterations
        while self._now < whole and self.members and not self.ended:
            self.next_moment()
            in_decay = self._now >= self.decay_from
            stop = min(self._now + self._length(in_decay), whole if in_decay else self.decay_from)
            ends = yield [self._planned(member, stop) for member in self.members]
            if self._take(ends, stop) and self._now < whole and not in_decay:
                self._rounds += 1
                self.compare()
        sound = [m for m in self.members if m.tip is not None]
        if sound:
            self.tip = min(sound, key=_loss).tip

    def needed(self) -> Iterator[int]:
        """Where every member stands, and where people want to go back to."""
        yield from super().needed()
        yield from (m.tip.segment.id for m in self.members if m.tip is not None)

    def compare(self) -> None:
        """Groups whose turn it is replace members that others beat beyond noise."""
        changed = False
        for start in range(0, len(self.members), GROUP):
            frequency = FREQUENCIES[start // GROUP % len(FREQUENCIES)]
            if self._rounds % frequency:
                continue
            group = self.members[start : start + GROUP]
            ranked = sorted(group, key=_loss)
            if len(ranked) > 1:
                changed |= self._clone(ranked[-1], ranked[0])
            if frequency > 1:
                changed |= self._migrate(ranked[-1], min(self.members, key=_loss))
        self._lengthen(changed)

    # ---- rounds

    def _newborn(self, number: int, adopted: End | None) -> Member:
        learned, why = self.learned, self.why or Why(Event.START, "as it is")
        if adopted is not None:
            learned = adopted.segment.config
        if number:
            learned = self._spread(learned, number)
            why = Why(Event.START, f"member {number}: {perturb.in_words(self.space, self.learned, learned)}")
        seed = fresh_seed(self.seed, 0, number)
        trial = self.new_trial() if adopted is None or number else 0
        return Member(number, trial, learned, why, seed, adopted)

    def _spread(self, config: Config, number: int) -> Config:
        """`config` with its nudged values drawn from the space."""
        drawn = self.space.flatten(self.space.sample(self.seed, number))
        for axis in self.axes.every:
            if axis.name in drawn:
                changed = perturb.with_value(self.space, config, axis.name, drawn[axis.name])
                config = config if changed is None else changed
        return config

    def _length(self, in_decay: bool) -> int:
        if in_decay:
            return max(1, -(-(self.recipe.max_iterations - self.decay_from) // self.recipe.decay_steps))
        return self.recipe.interval_iterations * self._stretched

    def _planned(self, member: Member, stop: int) -> Segment:
        config = self.pacing.effective(member.learned, self._now, stop)
        why = member.why
        return self.plan(member.trial, member.tip, config, stop, member.seed, str(why), why.event)

    def _take(self, ends: list[End], stop: int) -> bool:
        """Moves the members to their ends; False if all failed, which are then calmed and tried again."""
        sound = [e for e in ends if e.is_sound]
        if not sound:
            self._calm_all(ends[0].why)
            return False
        self._failed_rounds = 0
        self._now = stop
        for member, end in zip(self.members, ends, strict=True):
            previous = member.tip
            member.tip, member.trial = end, end.segment.trial
            member.reports = (*member.reports, *end.losses)[-REPORTS:]
            rank = 1 + sum(standing(e) < standing(end) for e in ends)
            member.why = Why(Event.KEEP, f"goes on, rank {rank} of {len(ends)}")
            if previous is not None and previous.is_sound and end.is_sound:
                gained = (previous.loss - end.loss) / max(1, end.at - previous.at)
                self._suggestions.observe(member.learned, stop / self.recipe.max_iterations, gained)
        self._replace_failed(ends)
        finished = [m for m in self.members if m.tip is not None and m.tip.done]
        if finished:
            self.ended = len(finished) == len(self.members)
            if not self.ended:
                self.members = [m for m in self.members if m not in finished]
        return True

    def _replace_failed(self, ends: list[End]) -> None:
        best = min(self.members, key=_loss)
        for member, end in zip(self.members, ends, strict=True):
            if not end.is_sound:
                self._copy(member, best, f"of {best.name}, since {end.why}")

    def _calm_all(self, fault: str) -> None:
        self._failed_rounds += 1
        if self._failed_rounds > BACK_MOST or self.rate is None:
            self.ended = True
            self.notes.append(f"the population was given up: every member failed: {fault}")
            return
        for member in self.members:
            member.learned = perturb.scaled(self.space, member.learned, self.rate, 0.5)
            member.trial = self.new_trial()
            member.why = Why(Event.ROLLBACK, f"every member failed: {fault}; {self.rate} at half")

    # ---- who follows whom

    def _clone(self, loser: Member, donor: Member) -> bool:
        """The loser takes the donor's weights and nudged values, if the donor is better beyond noise."""
        words = self._better(donor, loser)
        if not words:
            return False
        self._copy(loser, donor, f"of {donor.name}: {words}")
        return True

    def _migrate(self, loser: Member, migrant: Member) -> bool:
        """The loser takes a better model's weights from another group, and keeps its own values."""
        words = self._better(migrant, loser)
        if not words:
            return False
        loser.trial, loser.tip = self.new_trial(), migrant.tip
        loser.why = Why(Event.CLONE, f"weights of {migrant.name}, own values kept: {words}")
        return True

    def _better(self, better: Member, worse: Member) -> str:
        if better is worse or better.tip is None or worse.tip is None or better.tip is worse.tip:
            return ""
        if breaks(worse.tip, better.tip):
            return ""
        found = gain(worse.tip, better.tip, max(noise_of(better.reports), noise_of(worse.reports)))
        return f"gain {found}" if found.mean > 2.0 * self.recipe.z * found.error else ""

    def _copy(self, member: Member, donor: Member, words: str) -> None:
        member.trial, member.tip, member.reports = self.new_trial(), donor.tip, donor.reports
        member.learned = self.explored(donor.learned, member.number)
        changes = perturb.in_words(self.space, donor.learned, member.learned)
        member.why = Why(Event.CLONE, f"{words}; {changes}")

    def explored(self, config: Config, number: int) -> Config:
        """The donor's values, each nudged up or down by the factor; or what the bandit suggests."""
        if self.recipe.suggest == "gp":
            found = self._suggestions.suggest(config, self._now / self.recipe.max_iterations)
            if found is not None:
                return found
        for k, axis in enumerate(self.axes.every):
            up = fresh_seed(self.seed, 5, self.moment, number, k) % 2
            changed = perturb.moved(self.space, config, axis.name, 1 if up else -1, FACTOR)
            config = config if changed is None else changed
        return config

    def _lengthen(self, changed: bool) -> None:
        self._quiet = 0 if changed else self._quiet + 1
        if self._quiet >= QUIET_ROUNDS and self._stretched < LONGEST:
            self._quiet, self._stretched = 0, self._stretched * 2

    # ---- people

    def obey(self, order: Mapping[str, Any]) -> None:
        """A nudge is every member's; after a rollback all go on from that segment."""
        if order["kind"] == ROLLBACK:
            self._now = self.ends[order["segment"]].at
        else:
            self.learned = ordered(self.space, self.learned, order["values"])
        for member in self.members:
            member.why = Why(Event.ORDER, order["words"])
            if order["kind"] == NUDGE:
                member.learned = ordered(self.space, member.learned, order["values"])
            else:
                member.tip, member.trial = self.ends[order["segment"]], self.new_trial()


def _loss(member: Member) -> tuple[float, float]:
    return standing(member.tip)
