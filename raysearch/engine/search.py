"""The engine: Search, a strategy with its journal, its leases and its register of checkpoints.

A plain object. Every executor drives the same one: the Tune executor inside an actor, the inline
executor in a loop, the simulator under a virtual clock. Time is an argument.

A worker's turn is `exchange`: hand in outcomes, take leases. The outcomes are made durable first
(`accept`, then the journal), then the strategy learns them (`record`), and only then the worker gets its
leases (`lease`). The coordinator calls the steps itself so that one flush serves many workers.

    search = Search(strategy, metric="loss", mode="min")
    reply = search.exchange("worker-0", [], want=1, now=0.0)
    search.exchange("worker-0", [Outcome(reply.leases[0].segment, Status.COMPLETED, {"loss": [0.5]})], 1, 1.0)

Where each segment stands is decided in `segment_states`; which segments a worker gets in `handout`; what
faults cost in `faults`; when the search ends in `ending`; what workers do besides turns in `attendance`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from raysearch.core.segment import Mode, Outcome, Status, segment_name
from raysearch.engine.attendance import Attendance
from raysearch.engine.books import Books
from raysearch.engine.checkpoint_index import Register
from raysearch.engine.ending import Lifetime
from raysearch.engine.faults import FaultRules, Loss
from raysearch.engine.forecasts import Forecasts
from raysearch.engine.handout import Handout
from raysearch.engine.lacks import Lacks
from raysearch.engine.leaderboard import Standings
from raysearch.engine.limits import Limits
from raysearch.engine.memory_retry import Growth
from raysearch.engine.messages import Reply
from raysearch.engine.notices import Warnings
from raysearch.engine.segment_states import Instruction
from raysearch.engine.snapshot import BestSoFar, Live, Snapshot
from raysearch.engine.upkeep import CheckpointStore, Upkeep, wanted_segments
from raysearch.errors import SpecError
from raysearch.space.objectives import Objectives
from raysearch.strategies.base import Steerable, Strategy


class OutcomeLog(Protocol):
    """Where outcomes are made durable: a Journal, or nothing in a simulation."""

    def append(self, outcomes: Sequence[Outcome]) -> None: ...

    def outcomes(self) -> Iterable[Outcome]: ...


class Search:
    """One search, from its first ask to its end.

    Attributes:
        attendance: what workers do besides their turns: come, go and hang.
        forecasts: what going on would gain.
        lifetime: how long the search goes on: stop it, wind it down, ask whether it is over.
        handout: which segments a worker gets.
        leases: which worker holds what; states: where each segment stands; queue: what waits.
        workers: the workers that are there.
        standings: counts and the best; register: which checkpoint a segment starts from.
        warnings: for the user, with how often each came.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        metric: str,
        mode: Mode,
        objectives: Objectives | None = None,
        journal: OutcomeLog | None = None,
        checkpoints: CheckpointStore | None = None,
        limits: Limits | None = None,
        now: float = 0.0,
        prefers_home: bool = False,
        growth: Growth | None = None,
        restores: bool = True,
    ) -> None:
        """A search at its beginning.

        Args:
            objectives: what is compared, where that is more than the metric: an outcome that lacks one of
                them, or what a limit speaks of, has failed.
            prefers_home: workers train many models at once and keep them in memory: the worker that trained
                a parent gets its children first, and where there is little work, every worker gets a part.
            growth: of shares, where memory runs out.
            restores: trials go on from their checkpoints. Without, a trial that its worker no longer has is
                grown again from a fresh model.
        """
        self.strategy = strategy
        self.journal = journal
        self.limits = limits or Limits()
        self.growth = growth or Growth()
        self.warnings = Warnings()
        goals = objectives or Objectives({metric: mode})
        self.standings = Standings(metric, mode, goals)
        self._lacks = Lacks(goals)
        books = Books.empty(self.growth.level_of)
        self.leases, self.states = books.leases, books.states
        self.queue, self.workers = books.queue, books.workers
        is_there = checkpoints.exists if checkpoints is not None else _is_there
        self.register = Register(self._past, is_there, restores)
        self.lifetime = Lifetime(self.limits, strategy, self.standings, books, now)
        self.upkeep = Upkeep(self.register, checkpoints, self.limits.quota_bytes, self.warnings.add)
        self.handout = Handout(
            strategy, books, self.register, self.lifetime, self.growth, prefers_home, self.warnings.add
        )
        self._faults = FaultRules(self.limits.retries, self.growth, self.standings, self.lifetime.fail)
        self.forecasts = Forecasts(strategy, goals, self.limits, self.lifetime)
        self.attendance = Attendance(self.limits, books, self._faults, self.lifetime, self.warnings)
        self._started_at = now
        self._has_begun = False  # as many workers came as there must be

    # ---- a worker's turn

    def exchange(
        self,
        worker: str,
        outcomes: Sequence[Outcome],
        want: int,
        now: float,
        holding: Sequence[int] = (),
    ) -> Reply:
        """Takes outcomes, makes them durable, tells the strategy and answers with leases."""
        self.commit(self.accept(worker, outcomes, now))
        return self.lease(worker, want, now, holding)

    def commit(self, accepted: Sequence[Outcome]) -> None:
        """Makes accepted outcomes durable, then records them; on an error nothing is recorded."""
        if not accepted:
            return
        try:
            if self.journal is not None:
                self.journal.append(accepted)
        except BaseException:
            self.forget(accepted)
            raise
        self.record(accepted)

    def accept(
        self, worker: str, outcomes: Sequence[Outcome], now: float, is_over: bool = False
    ) -> list[Outcome]:
        """The outcomes that count: for the first time, and of the segment that was asked for.

        A failed one with retries left comes back as lost, so that it is asked for again. The checkpoints
        of those that do not count are deleted. From a process whose name another one has (`is_over`) only
        what it finished counts.
        """
        if not is_over:
            self.workers.see(worker, now)
        counting: list[Outcome] = []
        refused: list[Outcome] = []
        for outcome in outcomes:
            is_of_use = not is_over or outcome.status is not Status.LOST
            if is_of_use and self._counts(worker, outcome):
                whole = self._lacks.judged(outcome)
                counting.append(self._faults.judged(whole).stamped(worker, now))
            elif outcome.checkpoint is not None:
                refused.append(outcome)
        if refused:
            self.upkeep.discard_spare(refused, self.states)
        return counting

    def forget(self, accepted: Iterable[Outcome]) -> None:
        """Takes back `accept` for outcomes that could not be made durable."""
        for outcome in accepted:
            if self.states.not_written(outcome.segment.id) is Instruction.QUEUE:
                self.queue.put([outcome.segment])

    def record(self, accepted: Iterable[Outcome]) -> None:
        """Tells the strategy of outcomes that are durable, and frees their leases."""
        for outcome in accepted:
            self._fold(outcome)
            self._faults.fold(outcome)
            self.strategy.tell(outcome)
            self.forecasts.tell(outcome)
        if self.register.is_due:
            self.collect()
        self.handout.pass_on_notes()

    def lease(self, worker: str, want: int, now: float, holding: Sequence[int] = ()) -> Reply:
        """Up to `want` segments for this worker.

        `holding` are the ids it has in hand; leases it should hold and does not (an answer that was
        lost on the way) are given out again.
        """
        state = self.workers.see(worker, now)
        if back := self.states.take_back(worker, holding):
            self.queue.put(back)
        lifetime, keep = self.lifetime, self.upkeep.keep
        lifetime.check(now)
        has_gone = (
            not holding and (state.retiring or lifetime.winding is not None) and not self.leases.of(worker)
        )
        if has_gone:
            self.workers.forget(worker)
        if has_gone or lifetime.over:
            self.handout.pass_on_notes()  # of a strategy that has just found that it is finished
            return Reply(stop=True, keep=keep)
        self._has_begun = self._has_begun or len(self.workers) >= self.limits.least_workers
        if state.retiring or not self._has_begun:
            return Reply(keep=keep, bars=self.standings.bars)
        leases = []
        for segment in self.handout.next(want, worker, state):
            alone = self.states.lease(worker, segment) is Instruction.ANSWER_ALONE
            lease = self.register.route(segment)
            leases.append(dataclasses.replace(lease, alone=True) if alone else lease)
        self.workers.note_leases(state, self.leases.of(worker), now)
        return Reply(tuple(leases), keep=keep, bars=self.standings.bars)

    def beat(self, worker: str, current: int | None, iteration: int, now: float) -> bool:
        """Notes a sign of life and progress; True if the worker should stop."""
        if worker not in self.workers:  # it is leaving, or has not said hello in this life
            return self.lifetime.over
        state = self.workers.see(worker, now)
        if current is not None and (current, iteration) != (state.current, state.iteration):
            state.follow(current, iteration, now)
        self.lifetime.check(now)
        return self.lifetime.over

    def lose_forgotten(self, worker: str, current: int, now: float, loss: Loss) -> list[Outcome]:
        """As `Attendance.lose`, for a worker that died together with the last life of this search.

        The segment that it trained, as the driver remembers, is planned again, and lost. Else a segment that
        always takes the search's own process along would be handed out as new for ever.
        """
        if not self.states.is_free(current) or (segment := self.handout.pick(current)) is None:
            return []
        self.workers.see(worker, now)
        self.states.lease(worker, segment)
        lost = self.attendance.lose(worker, now, loss)
        self.workers.forget(worker)
        return lost

    # ---- the past

    def replay(self, outcomes: Iterable[Outcome]) -> None:
        """Folds a journal: the strategy, the register and the standings are as they were."""
        for outcome in outcomes:
            if self.states.has_ended(outcome.segment.id):
                continue
            self._fold(outcome)
            self._faults.fold_replayed(outcome)
            self.strategy.tell(outcome)
            self.forecasts.tell(outcome)
            if self.register.is_due:
                self.register.collect(self._wanted())
        self._faults.begin_life()
        self.lifetime.failed = ""  # a resume follows a mend

    def checkpoint_lost(self, name: str, segment: int, cause: str) -> None:
        """A checkpoint could not be read: the segment is grown again from an earlier ancestor."""
        if self.register.is_adopted(segment):
            self.lifetime.fail(
                f"the adopted model's checkpoint could not be loaded: {cause}. Mend the trainable's "
                "load_checkpoint and resume, or launch anew with another --from-checkpoint"
            )
        elif self.register.forget_checkpoint(name, segment):
            self.warnings.add(f"checkpoint {name} could not be read ({cause}); grown again from its parent")

    def plan_intervention(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """A person's order, checked by the strategy and stamped with where it applies.

        Raises:
            SpecError: the strategy takes no orders, or not this one.
        """
        if not isinstance(self.strategy, Steerable):
            raise SpecError(
                f"{type(self.strategy).__name__} takes no orders while it runs; panda and caviar do"
            )
        return dict(self.strategy.plan_intervention(order))

    def intervene(self, stamped: Mapping[str, Any]) -> None:
        """Applies an order that `plan_intervention` stamped, in this life or in an earlier one."""
        if isinstance(self.strategy, Steerable):
            self.strategy.intervene(stamped)

    def collect(self) -> None:
        """Deletes the checkpoints that nothing can need any more, and checks the quota."""
        self.upkeep.collect(self._wanted())

    # ---- state

    @property
    def best(self) -> BestSoFar | None:
        """The best of the outcomes that reached the furthest iteration; None before the first."""
        return self.standings.furthest

    def status(self, now: float) -> Snapshot:
        """How the search stands."""
        lifetime, life_s = self.lifetime, now - self._started_at
        live = Live(
            end=lifetime.ended,
            failed=lifetime.failed,
            winding=lifetime.winding.why.words if lifetime.winding is not None else "",
            spent=lifetime.spent_in_words(now),
            forecast=self.forecasts.words,
            seconds=lifetime.spent_before.seconds + life_s,
            life_s=life_s,
            running=self.leases.busy,
            queued=len(self.queue),
            leased=len(self.leases),
            workers=self.workers.snapshot(now),
            warnings=dict(self.warnings),
        )
        return self.standings.snapshot(live, self.standings.latest)

    # ---- inside

    def _counts(self, worker: str, outcome: Outcome) -> bool:
        instruction = self.states.receive(worker, outcome.segment, outcome.status)
        if instruction is Instruction.REFUSE:
            name = segment_name(outcome.segment.id)
            self.warnings.add(f"worker {worker} handed in another segment under the id {name}")
        return instruction is Instruction.JOURNAL

    def _fold(self, outcome: Outcome) -> None:
        """Takes in what is durable: frees the lease, counts, and remembers the checkpoint."""
        segment, status = outcome.segment.id, outcome.status
        holder = self.states.durable(segment, status)
        if holder is not None:
            self.workers.credit(holder, outcome.seconds)
        self.standings.fold(outcome)
        if status is Status.LOST:
            if outcome.checkpoint is not None:
                self.register.add_begun(outcome)
            return
        self.register.end(segment)
        if status is Status.COMPLETED:
            self.register.add(outcome)
            if outcome.error:
                self.warnings.add(outcome.error)

    def _wanted(self) -> set[int]:
        return wanted_segments(self.strategy, self.standings, self.leases, self.queue)

    def _past(self) -> Iterable[Outcome]:
        return self.journal.outcomes() if self.journal is not None else ()


def _is_there(checkpoint: str) -> bool:
    """Without a store every checkpoint counts as there."""
    return True
