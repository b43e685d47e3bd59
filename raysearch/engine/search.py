"""The engine: Search, a strategy with its journal, its leases and its register of checkpoints.

A plain object. Every executor drives the same one: the Tune executor inside an actor, the inline
executor in a loop, the simulator under a virtual clock. Time is an argument.

A worker's turn is `exchange`: hand in outcomes, take leases. What comes in is made durable first
(`accept`, then the journal), then told to the strategy (`record`), and only then answered (`lease`).
The coordinator calls the three steps itself so that one flush serves all workers who came meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from raysearch.core.budget import Budget, Spent
from raysearch.core.segment import Mode, Outcome, Segment, Status, segment_name
from raysearch.engine.checkpoint_index import Register
from raysearch.engine.leaderboard import FINALS, Best, Standings
from raysearch.engine.leases import Leases, Overdue
from raysearch.engine.memory_retry import MEMORY_KILL, Growth
from raysearch.engine.messages import NO_CHECKPOINT, Lease, Reply
from raysearch.engine.segment_set import IdSet
from raysearch.engine.wind_down import Winding
from raysearch.errors import SpecError
from raysearch.strategies.base import Strategy

LOSS_LIMIT = 3  # a segment that was in training when its worker died this often kills its workers
GIVE_UP_AFTER = 10  # failures with nothing else before them that end a search
SILENCE_S = 60.0  # a worker not heard of for so long is taken for dead
WARNINGS_KEPT = 100
FORGOTTEN = 64  # segments that are looked through for one that a worker had before a restart


class OutcomeLog(Protocol):
    """Where outcomes are made durable: a Journal, or nothing in a simulation."""

    def append(self, outcomes: Sequence[Outcome]) -> None: ...

    def outcomes(self) -> Iterable[Outcome]: ...


class CheckpointStore(Protocol):
    """Where checkpoints lie: Checkpoints, or nothing in a simulation."""

    def delete(self, names: Iterable[str]) -> object: ...

    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends before its strategy does, and how patient it is; None is no limit.

    Attributes:
        held: CPUs and GPUs that a worker of each level holds, for the account.
        retries: how often a segment that raised is tried again; one that stalled is not.
        least_workers: nothing is trained before so many have come.
        quota_bytes: what checkpoints may take.
    """

    budget: Budget = field(default_factory=Budget)
    held: Sequence[tuple[float, float]] = ((1.0, 0.0),)
    quota_bytes: int | None = None
    retries: int = 1
    stall_timeout_s: float | None = None
    silence_s: float = SILENCE_S
    least_workers: int = 1


class Search:
    """One search, from its first ask to its end."""

    def __init__(
        self,
        strategy: Strategy,
        *,
        metric: str,
        mode: Mode,
        journal: OutcomeLog | None = None,
        checkpoints: CheckpointStore | None = None,
        limits: Limits | None = None,
        now: float = 0.0,
        spent_before: Spent | None = None,
        prefers_home: bool = False,
        growth: Growth | None = None,
    ) -> None:
        """A search at its beginning.

        Args:
            spent_before: on it in earlier lives.
            prefers_home: workers train many models at once and keep them in memory: who trained a parent is
                asked first to go on, and where there is little work, everyone gets a share of it.
            growth: of shares, where memory runs out.
        """
        self.strategy = strategy
        self.journal = journal
        self.checkpoints = checkpoints
        self.limits = limits or Limits()
        self.started_at = now
        self.spent_before = spent_before or Spent()
        self.winding: Winding | None = None
        self.settled_from = now  # after a restart workers first say what they hold
        self.stopping = ""
        self.failed = ""
        self.warnings: dict[str, int] = {}
        self.standings = Standings(metric, mode)
        self.growth = growth or Growth()
        self.leases = Leases(self.growth.level_of)
        self.register = Register(
            lambda: self.journal.outcomes() if self.journal is not None else (), self._is_there
        )
        self._done = IdSet()
        self._committing: set[int] = set()
        self._losses: Counter[int] = Counter()
        self._survivors = 0  # segments that were lost with a worker, and then completed
        self._survivors_before: dict[int, int] = {}  # how many they were when a segment was lost first
        self._failures: Counter[int] = Counter()
        self._last_death = ""
        self._give_up_at = GIVE_UP_AFTER
        self.prefers_home = prefers_home
        self._keep = True
        self._noted: set[str] = set()
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
        """The outcomes that count: not told before, and of the segment that was asked for.

        A failed one with retries left comes back as lost, so that it is asked for again. The checkpoints
        of those that do not count are deleted. From a process whose name another one has (`is_over`) only
        what it finished counts.
        """
        if not is_over:
            self.leases.see(worker, now)
        counting: list[Outcome] = []
        refused: list[str | None] = []
        for outcome in outcomes:
            is_of_use = not is_over or outcome.status is not Status.LOST
            if is_of_use and self._counts(worker, outcome):
                self._committing.add(outcome.segment.id)
                counting.append(self._retried(outcome).stamped(worker, now))
            elif self._is_spare(outcome):
                refused.append(outcome.checkpoint)
        if refused and self.checkpoints is not None:
            self.checkpoints.delete([name for name in refused if name is not None])
        return counting

    def forget(self, accepted: Iterable[Outcome]) -> None:
        """Takes back `accept` for outcomes that could not be made durable."""
        for outcome in accepted:
            self._committing.discard(outcome.segment.id)
            if outcome.segment.id not in self.leases:
                self.leases.enqueue([outcome.segment])

    def record(self, accepted: Iterable[Outcome]) -> None:
        """Tells the strategy of outcomes that are durable, and frees their leases."""
        for outcome in accepted:
            self._committing.discard(outcome.segment.id)
            self.leases.release(outcome.segment.id, outcome.seconds)
            self._fold(outcome)
            self.strategy.tell(outcome)
        if self.register.is_due:
            self.collect()
        self._pass_on_notes()

    def lease(self, worker: str, want: int, now: float, holding: Sequence[int] = ()) -> Reply:
        """Up to `want` segments for this worker.

        `holding` are the ids it has in hand; leases it should hold and does not (an answer that was
        lost on the way) are given out again.
        """
        state = self.leases.see(worker, now)
        missing = state.leases.keys() - set(holding) - self._committing
        self.leases.take_back(worker, [segment for segment in state.leases if segment in missing])
        self.check(now)
        is_free = not holding and not state.leases
        has_gone = is_free and (state.retiring or self.winding is not None)
        if has_gone:
            self.leases.forget(worker)
        if self.over or has_gone:
            return Reply(stop=True, keep=self._keep)
        if state.retiring or not self._is_staffed():
            return Reply(keep=self._keep, bars=self.standings.bars)
        leases = []
        for segment in self._next(self._room(want), worker):
            self.leases.hand(worker, segment)
            lease = self.register.route(segment)
            suspect = self.leases.is_suspect(segment.id)
            leases.append(dataclasses.replace(lease, alone=True) if suspect else lease)
        if state.current not in state.leases:
            state.follow(next(iter(state.leases), None), 0, now)
        if not state.leases and state.idle_since is None:
            state.idle_since = now
        return Reply(tuple(leases), keep=self._keep, bars=self.standings.bars)

    # ---- workers that come, go and hang

    def hello(self, worker: str, now: float, node: str = "", level: int = 0) -> list[Outcome]:
        """A worker's process has started on a node. What an earlier one of that name held is lost.

        Returns outcomes to `commit`. Ends the search when workers start over and over and none ever
        finishes a segment.
        """
        workers = self.leases.workers
        lost = self.lose(worker, now, "its worker died") if worker in workers else []
        state = self.leases.see(worker, now)
        state.lives, state.node, state.level = state.lives + 1, node, level
        lives = sum(state.lives for state in workers.values())
        has_worked = self.leases.segments_of_gone or any(state.segments for state in workers.values())
        if lives >= GIVE_UP_AFTER + len(workers) and not has_worked:
            self.fail(
                f"workers were started {lives} times and none finished a segment: {self._why_dying(worker)}"
            )
        return lost

    def _why_dying(self, worker: str) -> str:
        known = "; ".join([*self.warnings, *filter(None, [self._last_death])])
        return (
            f"{known or 'none was given any'}. A process that ends by itself leaves no word; what it printed "
            f"last is at the end of logs/{worker}.log in the run's folder (raysearch logs)"
        )

    def leave(self, worker: str, now: float, how: str) -> list[Outcome]:
        """A worker has gone, with its node or because it was told to: that is nobody's fault.

        Returns outcomes to `commit`; `how` says it in words.
        """
        if worker not in self.leases.workers:
            return []
        lost = self.lose(worker, now, f"its worker {how}", blame=False)
        self.leases.forget(worker)
        if how:
            self.warn(f"{worker} {how}")
        return lost

    def retire(self, workers: Iterable[str]) -> None:
        """These get no more work, and are told to stop when they have handed in what they hold."""
        for worker in workers:
            if worker in self.leases.workers:
                self.leases.workers[worker].retiring = True

    def adopt(self, worker: str, leases: Iterable[Lease], now: float, node: str = "", level: int = 0) -> None:
        """A worker that outlived a coordinator says what it is training."""
        state = self.leases.see(worker, now)
        state.node, state.level = node, level
        for lease in leases:
            if self._is_open(lease.segment.id):
                self.leases.hand(worker, lease.segment)

    def beat(self, worker: str, current: int | None, iteration: int, now: float) -> bool:
        """Notes a sign of life and progress; True if the worker should stop."""
        if worker not in self.leases.workers:  # it is on its way out, or has not said hello in this life
            return self.over
        state = self.leases.see(worker, now)
        if current is not None and (current, iteration) != (state.current, state.iteration):
            state.follow(current, iteration, now)
        self.check(now)
        return self.over

    def overdue(self, now: float) -> list[Overdue]:
        """Workers that should be replaced."""
        return self.leases.overdue(now, self.limits.silence_s, self.limits.stall_timeout_s)

    def lose(
        self, worker: str, now: float, cause: str, stalled: bool = False, blame: bool = True
    ) -> list[Outcome]:
        """Gives back what `worker` holds, and returns outcomes to `commit` for what that cost.

        The segment it was training is lost, or failed if it stalled or was being trained at LOSS_LIMIT
        deaths, and one more for each segment that was lost meanwhile and then completed: where those die that
        do no harm, machines are going away. The others wait again. Suspects are leased by themselves from
        then on, so that the one that kills its worker is found (see `Leases.suspect`). Without `blame` a
        death counts for nothing.
        """
        since = self.leases.see(worker, now).progress_at
        held, current = self.leases.strip(worker, now)
        if blame:
            self.leases.suspect([segment.id for segment in held], current)
        outcomes = []
        for segment in held:
            if segment.id in self._committing:
                continue
            if segment.id != current:
                self.leases.enqueue([segment])
                continue
            name = segment_name(segment.id)
            self._last_death = f"the last, {worker}, ended while it trained segment {name} ({cause})"
            self._losses[segment.id] += blame
            self._survivors_before.setdefault(segment.id, self._survivors)
            self._committing.add(segment.id)
            outcomes.append(self._loss(segment, worker, now, cause, stalled, now - since if stalled else 0.0))
        return outcomes

    def lose_forgotten(self, worker: str, current: int, now: float, cause: str) -> list[Outcome]:
        """As `lose`, for a worker that died together with the last life of this search.

        What it had in training, as somebody else remembers, is asked for again, and lost. Else a segment that
        always takes the search's own process along would be handed out as new for ever.
        """
        for _ in range(FORGOTTEN):
            if not self._is_open(current):
                return []
            if (segment := self.leases.pick(current)) is not None:
                self.leases.see(worker, now)
                self.leases.hand(worker, segment)
                lost = self.lose(worker, now, cause)
                self.leases.forget(worker)
                return lost
            asked = self.strategy.ask(1)
            self.leases.enqueue([each for each in asked if self._is_open(each.id)])
            if not asked:
                break
        return []

    def blame(self, held: Iterable[int], current: int | None) -> None:
        """A death that was passed over turns out to be nobody else's fault: those it took count it."""
        still_open = [segment for segment in held if segment not in self._done]
        self.leases.suspect(still_open, current)
        if current in still_open:
            self._losses[current] += 1

    # ---- the past

    def replay(self, outcomes: Iterable[Outcome]) -> None:
        """Folds a journal: the strategy, the register and the standings are as they were."""
        for outcome in outcomes:
            if outcome.segment.id in self._done:
                continue
            self._fold(outcome)
            if outcome.status is Status.LOST and outcome.error == MEMORY_KILL:
                self._losses[outcome.segment.id] += 1  # which may have ended this search's process as well
            self.strategy.tell(outcome)
            if self.register.is_due:
                self.register.collect(self._wanted())
        self.failed = ""  # whoever resumes has mended it
        self.standings.first_error = ""
        self._give_up_at = self.standings.counts[Status.FAILED] + GIVE_UP_AFTER

    def checkpoint_lost(self, name: str, segment: int, cause: str) -> None:
        """A checkpoint could not be read: the segment is grown again from an earlier ancestor."""
        if self.register.is_adopted(segment):
            self.fail(
                f"the adopted model's checkpoint could not be loaded: {cause}. Mend the trainable's "
                "load_checkpoint and resume, or launch anew with another --from-checkpoint"
            )
        elif self.register.forget_checkpoint(name, segment):
            self.warn(f"checkpoint {name} could not be read ({cause}); grown again from its parent")

    def plan_intervention(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """A person's order, checked by the strategy and stamped with where it applies.

        Raises:
            SpecError: the strategy takes no orders, or not this one.
        """
        plan = getattr(self.strategy, "plan_intervention", None)
        if plan is None:
            raise SpecError(f"{type(self.strategy).__name__} takes no nudges and no rollbacks; panda does")
        return dict(plan(order))

    def intervene(self, stamped: Mapping[str, Any]) -> None:
        """Applies an order that `plan_intervention` stamped, in this life or in an earlier one."""
        intervene = getattr(self.strategy, "intervene", None)
        if intervene is not None:
            intervene(stamped)

    def collect(self) -> None:
        """Deletes the checkpoints that nothing can need any more, and checks the quota."""
        names = self.register.collect(self._wanted())
        if self.checkpoints is not None:
            self.checkpoints.delete(names)
            self._check_quota(self.checkpoints)

    # ---- state

    @property
    def over(self) -> bool:
        """True when workers have nothing left to do here."""
        return bool(self.stopping or self.failed) or self.strategy.finished

    @property
    def ending(self) -> str:
        """Why the search is over, in words; empty while it is not."""
        if self.failed or self.stopping:
            return self.failed or self.stopping
        return "complete" if self.strategy.finished else ""

    @property
    def best(self) -> Best | None:
        """The best of the outcomes that reached the furthest iteration; None before the first."""
        return self.standings.best

    def stop(self, why: str) -> None:
        """Ends the search: workers are told to stop at their next turn."""
        self.stopping = self.stopping or why

    def wind_down(self, winding: Winding) -> None:
        """Hands out nothing new; the search ends when what is in training has ended, or at the cut."""
        self.winding = winding.after(self.winding)

    def go_on(self) -> bool:
        """Takes a `wind_down` back that a person ordered; False if there is none."""
        if self.over or self.winding is None or not self.winding.ordered:
            return False
        self.winding = None
        return True

    def check(self, now: float) -> None:
        """Looks whether a budget is used up, or a search that winds down is at its end."""
        if self.winding is None and (why := self._used_up(now)):
            self.wind_down(Winding(why, now + self.limits.budget.grace))
        if self.winding is None or self.over:
            return
        busy = sum(1 for state in self.leases.workers.values() if state.leases)
        if not len(self.leases) and not self._committing and now >= self.settled_from:
            self.stop(self.winding.why)
        elif now >= self.winding.cut_at:
            who = "1 worker" if busy == 1 else f"{busy} workers"
            self.stop(f"{self.winding.why}; what {who} had in training was cut")

    def spent(self, now: float) -> Spent:
        """On the search so far, in all its lives."""
        return self.spent_before + self.spent_now(now)

    def spent_now(self, now: float) -> Spent:
        """In this life."""
        spent = Spent(seconds=now - self.started_at)
        for level, held_s in self.leases.held_s.items():
            cpus, gpus = self.limits.held[min(level, len(self.limits.held) - 1)]
            spent += Spent(0.0, held_s, held_s * cpus, held_s * gpus)
        return spent

    def fail(self, why: str) -> None:
        """Ends the search with an error."""
        self.failed = self.failed or why

    def warn(self, text: str) -> None:
        """Counts a warning; each text is shown once, with how often it came. The newest are kept."""
        self.warnings[text] = self.warnings.pop(text, 0) + 1
        if len(self.warnings) > WARNINGS_KEPT:
            self.warnings.pop(next(iter(self.warnings)))

    def status(self, now: float) -> dict[str, Any]:
        """A snapshot as plain values, as shown by the display and printed by `--json`."""
        return {
            "ending": self.ending,
            "failed": self.failed,
            "winding": self.winding.why if self.winding is not None else "",
            "spent": self.limits.budget.in_words(self.spent(now)) if self.limits.budget.is_set else "",
            "seconds": self.spent_before.seconds + now - self.started_at,
            "life_s": now - self.started_at,
            **self.standings.snapshot(),
            "running": sum(1 for state in self.leases.workers.values() if state.leases),
            "queued": self.leases.waiting,
            "leased": len(self.leases),
            "workers": self.leases.snapshot(now),
            "warnings": dict(self.warnings),
        }

    # ---- inside

    def _counts(self, worker: str, outcome: Outcome) -> bool:
        segment = outcome.segment
        if outcome.status is Status.LOST and self.leases.holder(segment.id) not in (None, worker):
            return False  # another one trains it by now
        if segment.id in self._done or segment.id in self._committing:
            return False
        asked = self.leases.held(segment.id)
        if asked is not None and not _same_work(asked, segment):
            self.warn(f"worker {worker} handed in another segment under the id {segment_name(segment.id)}")
            return False
        return True

    def _is_spare(self, refused: Outcome) -> bool:
        """True if a refused outcome's checkpoint is not the one that counts (the same may come twice)."""
        known = self.register.checkpoint_of(refused.segment.id)
        is_over = refused.segment.id in self._done or refused.status is Status.LOST
        return is_over and refused.checkpoint not in (None, known, *self.register.checkpoints_begun())

    def _is_there(self, checkpoint: str) -> bool:
        exists = getattr(self.checkpoints, "exists", None)
        return exists is None or bool(exists(checkpoint))

    def _retried(self, outcome: Outcome) -> Outcome:
        if outcome.status is not Status.FAILED:
            return outcome
        if NO_CHECKPOINT in outcome.error:  # and never will
            self.fail(f"{outcome.error}. The run can be resumed when that is mended")
        if (again := self.growth.tried_again(outcome)) is not None:
            return again
        self.standings.first_error = self.standings.first_error or outcome.error
        self._failures[outcome.segment.id] += 1
        attempt = self._failures[outcome.segment.id]
        if attempt > self.limits.retries:
            return outcome
        text = f"attempt {attempt} of {self.limits.retries + 1} failed: {outcome.error}"
        return dataclasses.replace(outcome, status=Status.LOST, curve={}, error=text)

    def _loss(
        self, segment: Segment, worker: str, now: float, cause: str, stalled: bool, seconds: float
    ) -> Outcome:
        if cause == MEMORY_KILL:
            killed = Outcome(segment, Status.FAILED, worker=worker, error=cause, finished_at=now)
            if (again := self.growth.tried_again(killed)) is not None:
                return again
        count = self._losses[segment.id]
        dead = stalled or count >= LOSS_LIMIT + self._survivors - self._survivors_before[segment.id]
        text = cause if stalled or not dead else f"{cause}, {count} times: this segment kills its worker"
        status = Status.FAILED if dead else Status.LOST
        return Outcome(segment, status, seconds=seconds, worker=worker, error=text, finished_at=now)

    def _fold(self, outcome: Outcome) -> None:
        self.standings.fold(outcome)
        if outcome.status is Status.LOST:
            self.growth.fold(outcome)
            if outcome.checkpoint is not None:
                self.register.add_begun(outcome)
            return
        segment = outcome.segment.id
        self.register.end(segment)
        self._done.add(segment)
        self.leases.clear(segment)
        if self._losses or self._failures:
            was_lost = self._losses.pop(segment, 0) > 0
            self._survivors_before.pop(segment, None)
            self._survivors += was_lost and outcome.status is Status.COMPLETED
            self._failures.pop(segment, None)
        if outcome.status is Status.COMPLETED:
            self.register.add(outcome)
            if outcome.error:
                self.warn(outcome.error)
        elif outcome.status is Status.FAILED:
            self._give_up_if_hopeless()

    def _give_up_if_hopeless(self) -> None:
        if self.standings.only_failures and self.standings.counts[Status.FAILED] >= self._give_up_at:
            self.fail(
                f"the first {GIVE_UP_AFTER} segments all failed, so the search was ended. "
                f"The first error was: {self.standings.first_error}"
            )

    def _pass_on_notes(self) -> None:
        """What the strategy has to say to the user, as warnings."""
        for note in getattr(self.strategy, "notes", ()):
            if note not in self._noted:
                self._noted.add(note)
                self.warn(note)

    def _next(self, want: int, worker: str) -> list[Segment]:
        if want <= 0:
            return []
        level = self.leases.workers[worker].level
        if level and (larger := self.leases.next_larger(want, self._is_open, level)):
            return larger
        away = self._is_away(worker) if self.prefers_home else None
        wanted = want + self._ahead()
        while (here := self.leases.waiting_here(away)) < wanted:
            asked = [segment for segment in self.strategy.ask(wanted - here) if self._is_open(segment.id)]
            self._pass_on_notes()
            self.leases.enqueue(asked)
            if away is None or not asked:
                break
        if away is not None and here < want:
            want = min(want, self.leases.share_of(worker))
        idle = not self.leases.waiting and not len(self.leases) and not self._committing
        if idle and not self.strategy.finished:
            self.fail(
                f"the strategy {type(self.strategy).__name__} is not finished, waits for nothing and asks "
                "for nothing: a defect of the strategy, see its contract in raysearch.strategies.base"
            )
        taken = self.leases.next(want, self._is_open, away)
        if not taken and away is not None and not self.leases.workers[worker].leases:
            taken = self.leases.next(want, self._is_open)  # rather than do nothing
        return taken

    def _ahead(self) -> int:
        """How many more to ask for than are wanted: shows whether there is work for more workers again."""
        return self._room(len(self.leases.workers)) if self.leases.is_scant else 0

    def _is_staffed(self) -> bool:
        """True once as many workers have come as there must be."""
        self._has_begun = self._has_begun or len(self.leases.workers) >= self.limits.least_workers
        return self._has_begun

    def _is_away(self, worker: str) -> Callable[[Segment], bool]:
        """Whether another worker that is alive trained a segment's parent, and so has its model in memory."""

        def is_away(segment: Segment) -> bool:
            home = self.register.home_of(segment.parent) if segment.parent is not None else None
            return home not in (None, worker) and home in self.leases.workers

        return is_away

    def _is_open(self, segment: int) -> bool:
        return segment not in self._done and segment not in self.leases and segment not in self._committing

    def _wanted(self) -> Set[int]:
        """Segments that may be grown on: kept by the strategy, leading, or parents of work in hand."""
        in_use = {s.parent for s in self.leases.in_use() if s.parent is not None}
        return in_use | self.strategy.kept() | self.standings.leaders

    def _check_quota(self, checkpoints: CheckpointStore) -> None:
        quota = self.limits.quota_bytes
        if quota is None:
            return
        size = checkpoints.size()
        self._keep = size < quota
        if not self._keep:
            self.warn(
                f"checkpoints reached the quota of {quota / 1e9:.2f} GB: no more are written, and segments "
                "are grown again from earlier ones where needed (raise `quota`)"
            )

    def _used_up(self, now: float) -> str:
        budget = self.limits.budget
        if budget.trials is not None and self._trials_left(budget.trials) <= 0:
            return f"the budget of {budget.trials:g} trials is used up"
        return budget.used_up(self.spent(now))

    def _trials_left(self, trials: int) -> int:
        """How many of so many may still begin."""
        held = (segment for state in self.leases.workers.values() for segment in state.leases.values())
        return trials - self.standings.trials - sum(s.start == 0 and s.role not in FINALS for s in held)

    def _room(self, want: int) -> int:
        """How many may be leased: none while it winds down, and no more trials than the budget allows."""
        if self.winding is not None:
            return 0
        trials = self.limits.budget.trials
        return want if trials is None else min(want, self._trials_left(trials))


def _same_work(asked: Segment, done: Segment) -> bool:
    """True if both train the same stretch of the same trial."""
    return (asked.trial, asked.parent, asked.start, asked.stop) == (
        done.trial,
        done.parent,
        done.start,
        done.stop,
    )
