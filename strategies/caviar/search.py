"""Caviar: many trials, little training; the best are trained on, and the winners proven on fresh seeds.

Asynchronous successive halving (ASHA, Li et al. 2020, arXiv:1810.05934) over a sampler that learns,
then the finish. In promotion (algorithm 2) a trial waits at each rung and is resumed as soon as it is
among the best 1/eta there; in stopping it is trained on at once or never.

    strategy = Caviar(samples=100, max_iterations=81).start(space, metric="loss", mode="min", seed=1)
    while not strategy.finished:
        for segment in strategy.ask(free=4):
            strategy.tell(train(segment))

The settings are in `settings`, the rungs of each bracket in `brackets`, where trials wait in `rungs`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from functools import partial
from typing import TYPE_CHECKING

from raysearch.core.segment import (
    Config,
    Event,
    Outcome,
    Segment,
    Status,
    ordinal_of,
    segment_id,
)
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.strategies.caviar.brackets import Ladder
from raysearch.strategies.caviar.closing import Closes
from raysearch.strategies.caviar.enqueued import TakesConfigs
from raysearch.strategies.caviar.first_rung import FirstRung
from raysearch.strategies.caviar.fronts import FrontPodium, FrontRung
from raysearch.strategies.caviar.in_hand import InHand
from raysearch.strategies.caviar.proposals import Proposal, Proposals
from raysearch.strategies.caviar.rungs import Rung
from raysearch.strategies.caviar.trial_ledger import Ledger
from raysearch.strategies.finish import FINALS, Finals, Podium
from raysearch.strategies.seeding import fresh_seed

if TYPE_CHECKING:
    from raysearch.strategies.caviar.settings import Caviar


class CaviarSearch(TakesConfigs, Closes):
    """A running caviar search: a fold over outcomes; see `raysearch.strategies.base` for its contract."""

    def __init__(
        self, recipe: Caviar, space: Space, objectives: Objectives, seed: int, baseline: Config | None
    ) -> None:
        self._recipe = recipe
        self._space = space
        self._objectives = objectives
        self._seed = seed
        self._baseline = baseline
        self._stopping = recipe.variant == "stopping"
        self._ladder = _ladder(recipe, objectives)
        self._first_rung = FirstRung(recipe.levels, recipe.min_iterations == "auto")
        self._proposals = Proposals(recipe, space, objectives, seed, baseline)
        self._ledger = Ledger()
        self._configs: dict[int, Config] = {}  # of trials that wait or are to go on
        self._going: dict[int, str] = {}  # trials to train on at once, and why
        self._in_hand = InHand()
        self._exhausted = False
        places = recipe.finish.top if recipe.finish else 3
        self._podium = Podium(places) if objectives.is_plain else FrontPodium(places)
        self._finals = _finals(recipe, seed, baseline)

    # ---- asking

    def ask(self, free: int) -> list[Segment]:
        """At most `free` segments: lost ones, then promotions from the top down, then new trials."""
        segments = self._in_hand.take_lost(free)
        if not self._closed:
            self._ask_going(free, segments)
            self._ask_promotions(free, segments)
            self._ask_new(free, segments)
        if len(segments) < free and not segments and self._search_is_over() and self._finals:
            segments = self._finals.ask(self._podium.best(), free)
        self._in_hand.ask(segments)
        return segments

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user: which trials are not what the sampler would have proposed."""
        return self._proposals.notes

    @property
    def leader(self) -> Config | None:
        """The configuration of the best trial so far; None while none ended well."""
        best = self._podium.best()
        return best[0][1] if best else None

    @property
    def finished(self) -> bool:
        """True when every trial has gone as far as it goes, and the finish is done."""
        if self._in_hand.is_out or not self._search_is_over():
            return False
        return self._finals is None or not self._finals.missing(self._podium.best())

    def _search_is_over(self) -> bool:
        if self._in_hand.is_searching:
            return False
        if self._closed:
            return True
        if any(trial in self._configs for trial in self._going):
            return False
        return self._all_began() and all(self._promotable(rung) is None for rung in self._ladder.waiting)

    def _promotable(self, rung: Rung) -> tuple[int, int] | None:
        """The next trial to promote from a rung: among the best 1/eta, and over the hurdle."""
        found = rung.promotable() if rung.level >= self._first_rung.level else None
        if found is None or self._proposals.clears_hurdle(rung.level, self._ledger.score(found[0])):
            return found
        return None

    def _all_began(self) -> bool:
        return self._exhausted or self._ledger.next_new >= self._recipe.samples

    def _ask_going(self, free: int, segments: list[Segment]) -> None:
        while self._going and len(segments) < free:
            trial = next(iter(self._going))
            reason = self._going.pop(trial)
            if trial in self._configs:
                segments.append(self._onward(trial, reason))

    def _ask_promotions(self, free: int, segments: list[Segment]) -> None:
        for rung in self._ladder.waiting:
            while len(segments) < free and (found := self._promotable(rung)):
                trial, rank = found
                rung.leave(self._ledger.score(trial), trial)
                reason = f"rung {rung.level}: rank {rank + 1} of {len(rung)}, promoted"
                segments.append(self._onward(trial, reason))
            rung.settle()

    def _ask_new(self, free: int, segments: list[Segment]) -> None:
        while len(segments) < free and not self._all_began():
            trial = self._ledger.next_new
            proposal = self._proposals.propose(trial)
            if proposal is None:
                self._exhausted = not segments and not self._in_hand.is_out
                if self._exhausted:
                    self._proposals.end(trial, self._recipe.samples)
                return
            segments.append(self._first(trial, proposal))

    def _first(self, trial: int, proposal: Proposal) -> Segment:
        self._ledger.begin(trial)
        return Segment(
            id=segment_id(trial, 0),
            trial=trial,
            parent=None,
            config=proposal.config,
            start=0,
            stop=max(self._ladder.of(trial)[0].level, self._first_rung.level),
            seed=fresh_seed(self._seed, trial),
            reason=proposal.reason,
            origin=proposal.origin,
        )

    def _onward(self, trial: int, reason: str) -> Segment:
        """The segment that trains a trial on to its next rung."""
        reached = self._ledger.reached(trial)
        segment = self._ledger.next_segment(trial)
        return Segment(
            id=segment,
            trial=trial,
            parent=self._ledger.last_segment(trial),
            config=self._configs.pop(trial),
            start=reached,
            stop=next(r.level for r in self._ladder.of(trial) if r.level > reached),
            seed=fresh_seed(self._seed, trial),
            reason=reason,
            event=Event.NONE if self._ladder.at(trial, reached) is None else Event.PROMOTION,
        )

    # ---- being told

    def tell(self, outcome: Outcome) -> None:
        """Folds an outcome in; one whose segment was told before changes nothing."""
        segment = outcome.segment
        asked = self._in_hand.end(segment)
        if Finals.owns(segment.trial):
            if self._finals and self._finals.tell(outcome) and outcome.status is Status.LOST:
                self._in_hand.lose(segment)
        elif not self._ledger.was_told(segment.trial, ordinal := ordinal_of(segment.id)):
            self._tell_trial(outcome, ordinal, asked)

    def _tell_trial(self, outcome: Outcome, ordinal: int, asked: bool) -> None:
        segment, reached = outcome.segment, outcome.reached
        trial = segment.trial
        self._ledger.begin(trial)
        furthest = segment.id >= self._ledger.next_segment(trial)
        waited = self._stop_waiting(trial) if furthest else None
        if outcome.status is Status.LOST:
            self._in_hand.lose(segment)
            return
        self._ledger.tell(trial, ordinal, reached)
        if not asked and waited != segment.config:  # of another life, in which the spec may have been another
            if trial == 0 and self._finals and segment.config != self._baseline:
                self._finals.baseline_source = None
            if segment.config != self._baseline and not self._space.allows(segment.config):
                return  # the space was edited since
        failed = outcome.status is not Status.COMPLETED or reached <= segment.start
        rank = self._enter(outcome, reached, failed, furthest)
        if furthest and not failed:
            self._place(outcome, reached, rank)

    def _stop_waiting(self, trial: int) -> Config | None:
        """The configuration of a trial that waited to go on, and waits no longer."""
        config = self._configs.pop(trial, None)
        self._going.pop(trial, None)  # told before it was asked for: in another life
        rung = self._ladder.at(trial, self._ledger.reached(trial)) if config is not None else None
        if rung is not None:
            rung.leave(self._ledger.score(trial), trial)
        return config

    def _enter(self, outcome: Outcome, reached: int, failed: bool, furthest: bool) -> int:
        """Records the scores at the rungs passed, and returns the rank at the last of them.

        A failure counts as worst at the rung where it happened, or else at the next. A trial that was
        done early is compared, with its last value, at the rung that it was bound for.
        """
        start, trial = outcome.segment.start, outcome.segment.trial
        rank = -1
        for rung in self._ladder.of(trial):
            level = rung.level
            if level <= start:
                continue
            is_end = level > reached or (failed and level == reached)
            if is_end and not failed and not (outcome.done and rank < 0):
                break
            value = math.inf if is_end and failed else self._objectives.standing(outcome.curve, level - start)
            rank = rung.record(value, trial)
            if furthest:
                self._ledger.set_score(trial, value)
            iteration = level if failed else min(level, reached)
            self._proposals.observe(trial, outcome.segment.config, iteration, value)
            if blind := self._first_rung.observe(trial, level, value):
                self._proposals.remark(blind)
                for given_up in self._ladder.close_below(self._first_rung.level):
                    self._configs.pop(given_up, None)
            if is_end:
                break
        return rank

    def _place(self, outcome: Outcome, reached: int, rank: int) -> None:
        """Decides whether the trial is complete, waits, goes on, or is given up."""
        segment = outcome.segment
        trial, rungs = segment.trial, self._ladder.of(segment.trial)
        rung = self._ladder.at(trial, reached)
        value = self._ledger.score(trial)
        if rung is None and not outcome.done:
            reason = f"from iteration {reached} to the first rung, {rungs[0].level}"
            self._configs[trial] = segment.config
            self._going[trial] = reason
        elif value < math.inf:
            value = self._ladder.standing(value, trial)
            is_complete = outcome.done or rung is rungs[-1]
            level = rungs[-1].level if is_complete or rung is None else rung.level
            self._podium.offer(level, value, trial, segment.id, segment.config)
            if not is_complete and rung is not None:
                self._compare(rung, value, segment, rank)

    def _compare(self, rung: Rung, value: float, segment: Segment, rank: int) -> None:
        trial = segment.trial
        if rank < 0:
            rank = rung.rank(value, trial)
        if reason := self._first_rung.sends_on(trial, rung.level):
            self._configs[trial] = segment.config
            self._going[trial] = reason
        elif not self._stopping:
            if rung.wait(value, trial, rank):
                self._configs[trial] = segment.config
            for given_up in rung.hopeless():
                self._configs.pop(given_up, None)
        elif rung.level <= segment.start or (
            rung.goes_on(rank) and self._proposals.clears_hurdle(rung.level, value)
        ):
            self._configs[trial] = segment.config
            self._going[trial] = f"rung {rung.level}: rank {rank + 1} of {len(rung)}, goes on"

    # ---- where things are

    def kept(self) -> Set[int]:
        """Segments whose checkpoints may still be needed: of trials that can go on, and of the best."""
        kept = {s.parent for s in self._in_hand if s.parent is not None}
        kept.update(self._podium.segments())
        kept.update(self._finals.kept() if self._finals else ())
        if self._closed:
            return kept
        flying = [s for s in self._in_hand if not Finals.owns(s.trial)]
        coming = max(0, self._recipe.samples - self._ledger.began) + len(self._going)
        trials = (*self._ladder.hopeful(flying, coming), *self._going)
        kept.update(s for s in map(self._ledger.last_segment, trials) if s is not None)
        return kept


def _ladder(recipe: Caviar, objectives: Objectives) -> Ladder:
    shape = recipe.levels, recipe.brackets, recipe.eta
    if objectives.is_plain:
        return Ladder(*shape)
    return Ladder(*shape, partial(FrontRung, objectives=len(objectives.modes)))


def _finals(recipe: Caviar, seed: int, baseline: Config | None) -> Finals | None:
    if recipe.finish is None:
        return None
    seeds = [fresh_seed(seed, FINALS, k) for k in range(recipe.finish.seeds)]
    return Finals(recipe.finish, recipe.max_iterations, seeds, baseline)
