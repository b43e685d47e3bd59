"""Which checkpoints stay: what nothing can need any more is deleted, and a quota holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Protocol

from raysearch.core.segment import Outcome, Status
from raysearch.engine.checkpoint_index import Register
from raysearch.engine.leaderboard import Standings
from raysearch.engine.leases import Leases
from raysearch.engine.queue import WaitingQueue
from raysearch.engine.segment_states import SegmentStates
from raysearch.strategies.base import Strategy


class CheckpointStore(Protocol):
    """Where checkpoints lie: Checkpoints, or nothing in a simulation."""

    def delete(self, names: Iterable[str]) -> object: ...

    def exists(self, name: str) -> bool: ...

    def size(self) -> int: ...


class Upkeep:
    """Deletes checkpoints of a search.

    Attributes:
        keep: False while the quota is reached: workers write no more.
    """

    def __init__(
        self,
        register: Register,
        checkpoints: CheckpointStore | None,
        quota_bytes: int | None,
        warn: Callable[[str], None],
    ) -> None:
        self.keep = True
        self._register = register
        self._checkpoints = checkpoints
        self._quota_bytes = quota_bytes
        self._warn = warn

    def collect(self, wanted: Set[int]) -> None:
        """Deletes the checkpoints that no wanted segment can need, and checks the quota."""
        names = self._register.collect(wanted)
        if self._checkpoints is not None:
            self._checkpoints.delete(names)
            self._check_quota(self._checkpoints)

    def discard_spare(self, refused: Iterable[Outcome], states: SegmentStates) -> None:
        """Deletes the checkpoints of refused outcomes, but never the one that counts: it may come twice."""
        spare = [o.checkpoint for o in refused if o.checkpoint is not None and self._is_spare(o, states)]
        if spare and self._checkpoints is not None:
            self._checkpoints.delete(spare)

    def _is_spare(self, refused: Outcome, states: SegmentStates) -> bool:
        segment = refused.segment.id
        known = self._register.checkpoint_of(segment)
        is_over = states.has_ended(segment) or refused.status is Status.LOST
        return is_over and refused.checkpoint not in (known, *self._register.checkpoints_begun())

    def _check_quota(self, checkpoints: CheckpointStore) -> None:
        quota = self._quota_bytes
        if quota is None:
            return
        self.keep = checkpoints.size() < quota
        if not self.keep:
            self._warn(
                f"checkpoints reached the quota of {quota / 1e9:.2f} GB: no more are written, and segments "
                "are grown again from earlier ones where needed (raise `quota`)"
            )


def wanted_segments(
    strategy: Strategy, standings: Standings, leases: Leases, queue: WaitingQueue
) -> set[int]:
    """Segments that may be grown on: kept by the strategy, leading, or parents of work in hand."""
    in_use = {s.parent for part in (queue, leases) for s in part if s.parent is not None}
    return in_use | strategy.kept() | standings.leaders
