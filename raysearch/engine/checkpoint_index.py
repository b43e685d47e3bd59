"""The index of checkpoints: which finished segments may be grown on, and from which checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace

from raysearch.core.segment import ORDINAL_BITS, Outcome, Role, Segment, Status, segment_name
from raysearch.engine.messages import Lease
from raysearch.errors import RunError

COLLECT_FROM = 1024  # remembered segments from which on those that are not needed are dropped
HOLDERS_FROM = 32  # the same of segments that have a checkpoint, which takes room on disk
ADOPTED_LOST = (
    "the checkpoint of the adopted model is gone or cannot be loaded, and nothing can grow it again: "
    "launch anew with --from-checkpoint"
)


@dataclass(frozen=True, slots=True)
class Node:
    """A completed segment that may still be grown on, its checkpoint, and the worker that trained it."""

    segment: Segment
    checkpoint: str | None
    worker: str = ""


class Register:
    """Completed segments by id. `recall` gives the outcomes of the past, for what was forgotten.

    Unless it `restores`, checkpoints are kept, and none is ever gone on from.
    """

    def __init__(
        self,
        recall: Callable[[], Iterable[Outcome]],
        exists: Callable[[str], bool] = lambda name: True,
        restores: bool = True,
    ) -> None:
        self._nodes: dict[int, Node] = {}
        self._begun: dict[int, Outcome] = {}
        self._spent: list[str] = []
        self._recall = recall
        self._exists = exists
        self._restores = restores
        self._collect_at = COLLECT_FROM
        self._holders = 0
        self._holders_at = HOLDERS_FROM

    @property
    def is_due(self) -> bool:
        """True when so many were added that it pays to look for those that can go."""
        held = self._holders + len(self._spent)
        return len(self._nodes) >= self._collect_at or held >= self._holders_at

    def add_begun(self, outcome: Outcome) -> None:
        """Remembers the checkpoint in the midst of a segment whose worker had to go."""
        self.end(outcome.segment.id)
        self._begun[outcome.segment.id] = outcome

    def end(self, segment: int) -> None:
        """The segment has ended: a checkpoint in its midst can go."""
        outcome = self._begun.pop(segment, None)
        if outcome is not None and outcome.checkpoint is not None:
            self._spent.append(outcome.checkpoint)

    def add(self, outcome: Outcome) -> None:
        """Remembers a completed segment."""
        self._nodes[outcome.segment.id] = Node(outcome.segment, outcome.checkpoint, outcome.worker)
        self._holders += outcome.checkpoint is not None

    def checkpoints_begun(self) -> set[str]:
        """Names of checkpoints in the midst of segments."""
        return {outcome.checkpoint for outcome in self._begun.values() if outcome.checkpoint}

    def checkpoints(self) -> set[str]:
        """Names of all checkpoints remembered."""
        return self.checkpoints_begun() | {
            node.checkpoint for node in self._nodes.values() if node.checkpoint
        }

    def checkpoint_of(self, segment: int) -> str | None:
        """The segment's own checkpoint; None if it has none or is forgotten."""
        node = self._nodes.get(segment)
        return node.checkpoint if node is not None else None

    def home_of(self, segment: int) -> str | None:
        """The worker that trained the segment; None if that is not remembered."""
        node = self._nodes.get(segment)
        return node.worker or None if node is not None else None

    def forget_checkpoint(self, name: str, segment: int) -> bool:
        """Takes out a checkpoint that cannot be read; False if the segment has another one by now."""
        if segment in self._begun and self._begun[segment].checkpoint == name:
            self.end(segment)
            return True
        node = self._nodes.get(segment)
        if node is None or node.checkpoint != name:
            return False
        self._nodes[segment] = replace(node, checkpoint=None)
        return True

    def is_adopted(self, segment: int) -> bool:
        """True for the segment that stands for a model trained before the search."""
        node = self._nodes.get(segment)
        return node is not None and node.segment.role == Role.ADOPTED

    def keep_existing(self, names: Set[str]) -> None:
        """Takes out all checkpoints but these."""
        self._begun = {segment: o for segment, o in self._begun.items() if o.checkpoint in names}
        for segment, node in self._nodes.items():
            if node.checkpoint is not None and node.checkpoint not in names:
                self._nodes[segment] = replace(node, checkpoint=None)

    def route(self, segment: Segment) -> Lease:
        """The lease of a segment: its nearest ancestor with a checkpoint, and what to grow again.

        Raises:
            RunError: its parent never completed.
        """
        begun = self._begun.get(segment.id)
        if self._restores and begun is not None and _goes_on(begun, segment):
            return Lease(segment, begun.checkpoint, segment.id, begun=begun.curve)
        chain: list[Segment] = []
        parent = segment.parent
        while parent is not None:
            node = self._nodes.get(parent) or self._recalled(parent)
            if node is None:
                raise RunError(
                    f"segment {segment_name(segment.id)} starts from {segment_name(parent)}, which never "
                    "completed: a defect of the strategy"
                )
            if node.checkpoint is not None and self._restores:
                return Lease(segment, node.checkpoint, parent, tuple(reversed(chain)))
            if node.segment.role == Role.ADOPTED:
                raise RunError(ADOPTED_LOST)
            chain.append(node.segment)
            parent = node.segment.parent
        return Lease(segment, None, None, tuple(reversed(chain)))

    def collect(self, wanted: Set[int]) -> list[str]:
        """Forgets what growing on from `wanted` cannot need; returns names of checkpoints to delete.

        Remembered are the wanted and all their ancestors, since a checkpoint that proves bad is grown
        again from them. Kept is the nearest checkpoint at or above each wanted one.
        """
        lineage, holders = self._needed(wanted)
        adopted = {i for i, node in self._nodes.items() if node.segment.role == Role.ADOPTED}
        lineage, holders = lineage | adopted, holders | adopted
        spent, self._spent = self._spent, []
        gone = [i for i in self._nodes if i not in lineage]
        names = [*spent, *(self._nodes.pop(i).checkpoint for i in gone)]
        for segment, node in self._nodes.items():
            if node.checkpoint is not None and segment not in holders:
                names.append(node.checkpoint)
                self._nodes[segment] = replace(node, checkpoint=None)
        self._collect_at = max(COLLECT_FROM, len(self._nodes) * 3 // 2)
        self._holders = sum(node.checkpoint is not None for node in self._nodes.values())
        self._holders_at = max(HOLDERS_FROM, self._holders * 3 // 2)
        return [name for name in names if name is not None]

    def _needed(self, wanted: Set[int]) -> tuple[set[int], set[int]]:
        """(segments to remember, segments whose checkpoints to keep)."""
        lineage: set[int] = set()
        holders: set[int] = set()
        for segment in wanted:
            found = False
            step: int | None = segment
            while step is not None and not (found and step in lineage):
                node = self._nodes.get(step)
                if node is None:
                    break
                lineage.add(step)
                if node.checkpoint is not None and not found:
                    holders.add(step)
                    found = True
                step = node.segment.parent
        return lineage, holders

    def _recalled(self, segment: int) -> Node | None:
        """A node that was forgotten, out of the past, with its trial's others; None if it never was.

        A worker that outlived a coordinator may hold a promotion that the replayed strategy would not make.
        """
        for outcome in self._recall():
            done = outcome.segment
            if done.trial == segment >> ORDINAL_BITS and outcome.status is Status.COMPLETED:
                name = outcome.checkpoint
                there = name is not None and self._exists(name)
                self._nodes.setdefault(done.id, Node(done, name if there else None))
        return self._nodes.get(segment)


def _goes_on(begun: Outcome, segment: Segment) -> bool:
    """True if what was begun is the beginning of this segment."""
    was = begun.segment
    same = (was.parent, was.start, was.seed, was.config) == (
        segment.parent,
        segment.start,
        segment.seed,
        segment.config,
    )
    return same and begun.reached < segment.stop
