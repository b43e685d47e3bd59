"""How fast a search goes, and how long it will take."""

from __future__ import annotations

from collections import deque

from raysearch.engine.snapshot import Snapshot
from raysearch.strategies.cost import PopulationCost, RungCost

WINDOW_S = 20.0  # over which the current rate is taken
SETTLED_S = 5.0  # before a time left is given
COURSE_SETTLED = 20  # part of a model's training after which a time left is given


class Pace:
    """How fast a search goes of late, and seconds left by the iterations of the plan.

    Attributes:
        unit: what is counted: trials, or iterations where models are raised.
    """

    def __init__(self, plan: RungCost | PopulationCost | None) -> None:
        self.unit = "iterations" if isinstance(plan, PopulationCost) else "trials"
        self._plan = plan
        self._first: tuple[float, int] | None = None  # seconds and iterations at the first snapshot
        self._recent: deque[tuple[float, int]] = deque()
        self._left: float | None = None
        self._begun: dict[
            str, tuple[int | None, int, float]
        ] = {}  # worker: segment, where and when first seen
        self._longest = 0.0  # seconds

    def note(self, status: Snapshot) -> None:
        """Adds a snapshot."""
        now = status.live.seconds
        self._recent.append((now, self._count(status)))
        while len(self._recent) > 2 and now - self._recent[1][0] >= WINDOW_S:
            self._recent.popleft()
        self._follow(status, now)
        self._left = self._estimate(status, now)

    @property
    def per_s(self) -> float | None:
        """Trials or segments a second, lately; None while there are too few snapshots."""
        if len(self._recent) < 2:
            return None
        (then, before), (now, count) = self._recent[0], self._recent[-1]
        return (count - before) / (now - then) if count > before and now > then else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the remaining iterations take at the speed so far; None if either is unknown."""
        return self._left

    def _count(self, status: Snapshot) -> int:
        if isinstance(self._plan, PopulationCost):
            return self._plan.done(status)
        return status.trials + status.finals

    def _estimate(self, status: Snapshot, now: float) -> float | None:
        training = [worker.iteration for worker in status.live.workers.values() if worker.leases]
        left = self._plan.left(status, training) if self._plan else None
        if self._plan is None or left is None:
            return None
        done = self._plan.done(status)
        if self._first is None:
            self._first = (now, done)
        least = self._plan.horizon // (COURSE_SETTLED if self.unit == "iterations" else 1)
        since, before = now - self._first[0], done - self._first[1]
        if since < SETTLED_S or before < max(1, least) or not left:
            return None
        return max(left * since / before, self._longest)

    def _follow(self, status: Snapshot, now: float) -> None:
        """Takes the time that the slowest of the trainings under way has to go, at its own pace."""
        workers = {name: w for name, w in status.live.workers.items() if w.leases and w.segment is not None}
        begun, self._begun, self._longest = self._begun, {}, 0.0
        for name, worker in workers.items():
            seen = begun.get(name)
            if seen is None or seen[0] != worker.segment:
                seen = (worker.segment, worker.iteration, now)
            self._begun[name] = seen
            _, first, since = seen
            if self._plan is not None and worker.iteration > first:
                seconds = (now - since) / (worker.iteration - first)
                self._longest = max(self._longest, self._plan.ahead(worker.iteration) * seconds)
