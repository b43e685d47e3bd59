"""How long a search goes on: its budget, orders to wind down, and errors that end it."""

from __future__ import annotations

from raysearch.core.budget import Amount, Spent
from raysearch.engine.books import Books
from raysearch.engine.leaderboard import Standings
from raysearch.engine.limits import Limits
from raysearch.engine.wind_down import COMPLETE, Ended, Ending, WindDown
from raysearch.errors import without_keys
from raysearch.strategies.base import Strategy


class Lifetime:
    """One life of a search, from its opening to its end.

    Attributes:
        winding: why the search winds down; None while it does not.
        settled_from: before this time workers may still claim what they hold, after a restart.
        spent_before: in earlier lives.
        failed: the error that ended the search, in words; empty while there is none.
        closed: the end that the search comes to after its finish, where it was closed before every sample was
            tried; None where it was not.
    """

    def __init__(
        self,
        limits: Limits,
        strategy: Strategy,
        standings: Standings,
        books: Books,
        now: float,
    ) -> None:
        self.winding: WindDown | None = None
        self.settled_from = now
        self.spent_before = Spent()
        self.failed = ""
        self.closed: Ended | None = None
        self._limits = limits
        self._strategy = strategy
        self._standings = standings
        self._states, self._leases, self._workers = books.states, books.leases, books.workers
        self._started_at = now
        self._stopped: Ended | None = None
        self._has_limit = limits.budget.has_limit

    @property
    def over(self) -> bool:
        """True when workers have nothing left to do here."""
        return self._stopped is not None or bool(self.failed) or self._strategy.finished

    @property
    def ended(self) -> Ended | None:
        """Why the search is over; None while it is not."""
        if self.failed:
            return Ended(Ending.FAILED, self.failed)
        if self._stopped is not None:
            return self._stopped
        return (self.closed or COMPLETE) if self._strategy.finished else None

    @property
    def ending(self) -> str:
        """The same in words; empty while the search goes on."""
        ended = self.ended
        return ended.words if ended is not None else ""

    def fail(self, why: str) -> None:
        """Ends the search with an error."""
        self.failed = self.failed or without_keys(why)

    def stop(self, why: Ended) -> None:
        """Ends the search: workers learn it at their next turn."""
        self._stopped = self._stopped or why

    def wind_down(self, winding: WindDown) -> None:
        """Workers get nothing new; the search ends with the last segment in training, or at the cut."""
        self.winding = winding.after(self.winding)

    def go_on(self) -> bool:
        """Takes a `wind_down` back that a person ordered; False if there is none."""
        if self.over or self.winding is None or not self.winding.ordered:
            return False
        self.winding = None
        return True

    def check(self, now: float) -> None:
        """Winds down where a budget is used up, and ends a search that has wound down."""
        if self.winding is None:
            used_up = self._used_up(now)
            if used_up is None:
                return
            budget = self._limits.budget
            why = Ended(Ending.BUDGET, budget.used_up(used_up), used_up)
            self.wind_down(WindDown(why, now + budget.grace))
        if self.winding is None or self.over:
            return
        why = self.winding.why
        if self._states.is_idle and now >= self.settled_from:
            self.stop(why)
        elif now >= self.winding.cut_at:
            busy = self._leases.busy
            count = "1 worker" if busy == 1 else f"{busy} workers"
            self.stop(why.with_words(f"{why.words}; what {count} had in training was cut"))

    def room(self, want: int) -> int:
        """How many may be leased: none while it winds down, and no more trials than the budget allows."""
        if self.winding is not None:
            return 0
        trials = self._limits.budget.trials
        return want if trials is None else min(want, self._trials_left(trials))

    def spent(self, now: float) -> Spent:
        """On the search so far, in all its lives."""
        return self.spent_before + self.spent_now(now)

    def spent_now(self, now: float) -> Spent:
        """In this life."""
        spent = Spent(seconds=now - self._started_at)
        held = self._limits.held
        for level, held_s in self._workers.held_s.items():
            cpus, gpus = held[min(level, len(held) - 1)]
            spent += Spent(0.0, held_s, held_s * cpus, held_s * gpus)
        return spent

    def spent_in_words(self, now: float) -> str:
        """Of the budget; empty where the spec has none."""
        budget = self._limits.budget
        return budget.in_words(self.spent(now)) if budget.is_set else ""

    def _used_up(self, now: float) -> Amount | None:
        budget = self._limits.budget
        if budget.trials is not None and self._trials_left(budget.trials) <= 0:
            return Amount.TRIALS
        return budget.exhausted(self.spent(now)) if self._has_limit else None

    def _trials_left(self, trials: int) -> int:
        """How many of so many may still begin."""
        begun = sum(segment.start == 0 and not segment.is_final for segment in self._leases)
        return trials - self._standings.trials - begun
