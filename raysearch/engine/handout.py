"""Which segments a worker gets at its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from raysearch.strategies.base import Noting, Strategy

if TYPE_CHECKING:
    from raysearch.core.segment import Segment
    from raysearch.engine.books import Books
    from raysearch.engine.checkpoint_index import Register
    from raysearch.engine.ending import Lifetime
    from raysearch.engine.memory_retry import Growth
    from raysearch.engine.workers import WorkerState

LOOKED_THROUGH = 64  # planned segments among which one that a worker had before a restart is looked for


class Handout:
    """Asks the strategy for segments and deals them to workers.

    Attributes:
        prefers_home: workers keep models in memory: the one that trained a parent gets its child first, and
            where there is little work, every worker gets a part of it.
    """

    def __init__(
        self,
        strategy: Strategy,
        books: Books,
        register: Register,
        lifetime: Lifetime,
        growth: Growth,
        prefers_home: bool,
        warn: Callable[[str], None],
    ) -> None:
        self.prefers_home = prefers_home
        self._strategy = strategy
        self._noting = strategy if isinstance(strategy, Noting) else None  # a slow check, made once
        self._states, self._leases = books.states, books.leases
        self._queue, self._workers = books.queue, books.workers
        self._register = register
        self._lifetime = lifetime
        self._growth = growth
        self._warn = warn
        self._noted: set[str] = set()

    def next(self, want: int, worker: str, state: WorkerState) -> list[Segment]:
        """At most `want` segments for this worker; fails the search where its strategy has a defect."""
        want = self._lifetime.room(want)
        if want <= 0:
            return []
        if state.level and (larger := self._queue.next_larger(want, state.level)):
            return larger
        away = self._is_away(worker) if self.prefers_home else None
        here = self._ask_for(want + self._ahead(), away)
        if away is not None and here < want:
            want = min(want, self._part_of(worker))
        if not self._queue and self._states.is_idle and not self._strategy.finished:
            self._lifetime.fail(
                f"the strategy {type(self._strategy).__name__} is not finished, waits for nothing and asks "
                "for nothing: a defect of the strategy, see its contract in raysearch.strategies.base"
            )
        taken = self._queue.next(want, away)
        if not taken and away is not None and not self._leases.of(worker):
            taken = self._queue.next(want)  # rather than do nothing
        return taken

    def pick(self, segment: int) -> Segment | None:
        """Takes a certain segment out of the queue, once the strategy plans it; None if it does not soon."""
        for _ in range(LOOKED_THROUGH):
            if (found := self._queue.pick(segment)) is not None:
                return found
            asked = self._strategy.ask(1)
            self._queue.put(self._states.plan(asked))
            if not asked:
                break
        return None

    def pass_on_notes(self) -> None:
        """Shows the user what the strategy notes, as warnings."""
        for note in self._noting.notes if self._noting is not None else ():
            if note not in self._noted:
                self._noted.add(note)
                self._warn(note)

    def work(self) -> dict[int, int]:
        """How many segments are held or wait, by the share they need; empty where all need the same."""
        if not self._growth.levels:
            return {}
        level_of = self._growth.level_of
        return dict(Counter(level_of(segment) for part in (self._queue, self._leases) for segment in part))

    def _plan(self, count: int) -> bool:
        """Asks the strategy for so many segments and queues them; False if it asked for none that is free."""
        planned = self._states.plan(self._strategy.ask(count))
        self.pass_on_notes()
        self._queue.put(planned)
        return bool(planned)

    def _ask_for(self, wanted: int, away: Callable[[Segment], bool] | None) -> int:
        """Plans until so many segments wait that this worker may have; returns how many do."""
        while (here := self._queue.waiting_here(away)) < wanted:
            if not self._plan(wanted - here) or away is None:
                break
        return here

    def _ahead(self) -> int:
        """How many more to plan than are wanted: shows whether there is work for more workers again."""
        return self._lifetime.room(len(self._workers)) if self._workers.is_scant else 0

    def _part_of(self, worker: str) -> int:
        """How many more a worker may take so that each could have as many: at least one if it has none."""
        fair = -(-(self._queue.ordinary + len(self._leases)) // max(1, len(self._workers)))
        return max(0, fair - len(self._leases.of(worker)))

    def _is_away(self, worker: str) -> Callable[[Segment], bool]:
        """Whether another worker that is alive trained a segment's parent, and so has its model in memory."""

        def is_away(segment: Segment) -> bool:
            home = self._register.home_of(segment.parent) if segment.parent is not None else None
            return home is not None and home != worker and home in self._workers

        return is_away
