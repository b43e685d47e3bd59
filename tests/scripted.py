"""A strategy that does as it is told, for tests of what runs strategies."""

from __future__ import annotations

from collections.abc import Iterable

from raysearch.core.segment import Outcome, Segment, Status, segment_id


def segment(
    trial: int, ordinal: int = 0, parent: int | None = None, start: int = 0, stop: int = 1
) -> Segment:
    """A segment with the least said about it."""
    return Segment(segment_id(trial, ordinal), trial, parent, {"x": trial}, start, stop, 0, f"trial {trial}")


def completed(of: Segment, value: float = 0.5, checkpoint: str | None = None) -> Outcome:
    """The segment's good end, with a constant curve."""
    return Outcome(of, Status.COMPLETED, {"loss": [value] * (of.stop - of.start)}, checkpoint)


class Scripted:
    """Asks for a fixed list of segments, parents first; keeps what `keep` says."""

    def __init__(self, segments: Iterable[Segment], keep: Iterable[int] = ()) -> None:
        self.todo = list(segments)
        self.open: dict[int, Segment] = {}
        self.told: list[Outcome] = []
        self.keep = set(keep)

    def ask(self, free: int) -> list[Segment]:
        done = {o.segment.id for o in self.told if o.status is not Status.LOST}
        ready = [s for s in self.todo if s.parent is None or s.parent in done][:free]
        for asked in ready:
            self.todo.remove(asked)
            self.open[asked.id] = asked
        return ready

    def tell(self, outcome: Outcome) -> None:
        self.told.append(outcome)
        asked = self.open.pop(outcome.segment.id, None)
        if outcome.status is Status.LOST:
            self.todo.insert(0, asked or outcome.segment)
        else:
            self.todo = [s for s in self.todo if s.id != outcome.segment.id]

    @property
    def finished(self) -> bool:
        return not self.todo and not self.open

    def kept(self) -> set[int]:
        return self.keep
