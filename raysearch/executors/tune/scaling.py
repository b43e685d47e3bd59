"""Which workers there should be: more when nodes join, fewer when they leave, bigger where memory ran out.

Pure: nodes, workers and open work in, orders out. Whoever carries them out is in `roster`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raysearch.cluster.capacity import Amounts, Resources, fit, room, take

SHORT_S = 2.0  # how long nodes may be missing before the user is warned
BUSY_S = 60.0  # how long workers for which there is room may take to come before the user is warned
AHEAD = 32  # workers that wait beyond those for which there is room
LINGER_S = 30.0  # how long bigger workers stay after the last segment that needed one


@dataclass(frozen=True, slots=True)
class StaffMember:
    """A worker that was asked for.

    Attributes:
        level: which of the shares it has; 0 is the ordinary one.
        node: where it runs; empty while it waits for its share.
        retiring: it goes when it has handed in what it holds.
    """

    name: str
    level: int = 0
    node: str = ""
    leases: int = 0
    retiring: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many workers there may be.

    Attributes:
        most: None is as many as the nodes have room for; else so many are asked for, since what waits is
            what an autoscaler looks at.
        can_grow: an autoscaler is known to bring nodes.
    """

    least: int = 1
    most: int | None = None
    can_grow: bool = False


@dataclass(frozen=True, slots=True)
class StaffOrders:
    """Levels of workers to start, names of waiting ones to cancel and of running ones to retire."""

    start: tuple[int, ...] = ()
    cancel: tuple[str, ...] = ()
    retire: tuple[str, ...] = ()


@dataclass(slots=True)
class Fleet:
    """The workers as they should be.

    Attributes:
        shares: what a worker of each level takes.
    """

    shares: Sequence[Resources]
    bounds: Bounds
    _needed_at: dict[int, float] = field(default_factory=dict)
    _short_since: float | None = None
    _has_said: bool = False

    def orders(
        self,
        members: Sequence[StaffMember],
        nodes: Mapping[str, Amounts],
        work: Mapping[int, int],
        now: float,
    ) -> StaffOrders:
        """What brings the workers to what they should be.

        Args:
            nodes: those that take work, with all their resources. Who runs on another one is on its way out,
                or cannot be reached for now: it takes nothing of these, and counts only towards the most.
            work: open segments by level.
        """
        self._needed_at.update({level: now for level, count in work.items() if count})
        staying = [m for m in members if not m.retiring and (not m.node or m.node in nodes)]
        away = sum(not m.retiring for m in members) - len(staying)
        left = {name: dict(amounts) for name, amounts in nodes.items()}
        for member in staying:
            if member.node in left:
                take(left[member.node], self.shares[member.level].bundle())
        start, retire = self._bigger(staying, left, nodes, work, now)
        gone = {m.name for m in members if m.name in retire}
        small = [m for m in staying if m.level == 0 and m.name not in gone]
        for member in small:  # their share is room for workers of their kind
            if member.node in left:
                give(left[member.node], self.shares[0].bundle())
        big = len(start) + sum(m.level > 0 and m.name not in gone for m in staying)
        more = self._target(left, big, away) - len(small)
        waiting = [m.name for m in reversed(small) if not m.node]
        unneeded = [m.name for m in staying if m.level and not m.node and not work.get(m.level)]
        cancel = (*waiting[: max(0, -more)], *unneeded)
        return StaffOrders((*start, *(0,) * max(0, more)), cancel, tuple(sorted(retire)))

    def missing(self, members: Sequence[StaffMember], nodes: Mapping[str, Amounts], now: float) -> str:
        """What the search waits for, in words, once; empty while enough run or there is still time."""
        running = sum(bool(m.node) for m in members)
        if running >= self.bounds.least:
            self._short_since, self._has_said = None, False
            return ""
        since = self._short_since = now if self._short_since is None else self._short_since
        fitting = room(list(nodes.values()), self.shares[0])
        patience = BUSY_S if fitting >= self.bounds.least else SHORT_S
        if self._has_said or now - since < patience:
            return ""
        self._has_said = True
        least, takes = self.bounds.least, self.shares[0].words()
        text = f"waits for {least} workers" if least > 1 else "waits for a worker"
        by = "; the autoscaler is asked for more" if self.bounds.can_grow else ""
        busy = ", but something else may take it" if fitting >= least else ""
        return f"{text}: {running} run. One takes {takes}; the nodes have room for {fitting}{busy}{by}"

    def _target(self, left: Mapping[str, Amounts], big: int, away: int) -> int:
        """How many ordinary workers there should be, beside so many bigger ones and those that are away."""
        bounds = self.bounds
        wanted = max(room(list(left.values()), self.shares[0]), bounds.least - big)
        if bounds.most is None:
            return wanted
        if bounds.can_grow or len(self.shares) == 1:  # else those that wait would take what bigger ones need
            wanted += AHEAD
        return max(0, min(wanted, bounds.most - big - away))

    def _is_needed(self, level: int, now: float) -> bool:
        return now - self._needed_at.get(level, float("-inf")) < LINGER_S

    def _bigger(
        self,
        staying: Sequence[StaffMember],
        left: dict[str, dict[str, float]],
        nodes: Mapping[str, Amounts],
        work: Mapping[int, int],
        now: float,
    ) -> tuple[list[int], set[str]]:
        """(levels to start, names to retire) for bigger shares; takes those from what is left."""
        start: list[int] = []
        retire: set[str] = set()
        for level in range(len(self.shares) - 1, 0, -1):
            have = [m for m in staying if m.level == level]
            if not self._is_needed(level, now):
                retire.update(m.name for m in have if m.node)
                continue
            missing = max(0, self._wanted(level, nodes, work) - len(have))
            start += [level] * missing
            for _ in range(missing + sum(not m.node for m in have)):
                smaller = [m for m in staying if m.level < level and m.node and m.name not in retire]
                retire |= self._make_room(level, left, smaller)
        return start, retire

    def _wanted(self, level: int, nodes: Mapping[str, Amounts], work: Mapping[int, int]) -> int:
        """The level's part of the cluster, by open segments; at least one."""
        if not work.get(level):
            return 0
        whole = room(list(nodes.values()), self.shares[level])
        return min(work[level], max(1, whole * work[level] // max(1, sum(work.values()))))

    def _make_room(
        self, level: int, left: dict[str, dict[str, float]], smaller: Sequence[StaffMember]
    ) -> set[str]:
        """Takes a share of this level from the node where the fewest need to go for it; returns those."""
        bundle = self.shares[level].bundle()
        best: tuple[str, list[StaffMember]] | None = None
        for node, amounts in left.items():
            trial, going = dict(amounts), []
            for member in sorted((m for m in smaller if m.node == node), key=lambda m: m.leases):
                if fit(trial, bundle):
                    break
                give(trial, self.shares[member.level].bundle())
                going.append(member)
            if fit(trial, bundle) and (best is None or len(going) < len(best[1])):
                best = (node, going)
        if best is None:
            return set()
        for member in best[1]:
            give(left[best[0]], self.shares[member.level].bundle())
        take(left[best[0]], bundle)
        return {member.name for member in best[1]}


def give(node: dict[str, float], bundle: Amounts) -> None:
    """Gives back what `take` took."""
    take(node, {name: -amount for name, amount in bundle.items()})
