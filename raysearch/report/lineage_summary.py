"""A lineage read in a minute, however long the training was: a dozen spans, and what went wrong.

A month of forks is thousands of decisions. What a person asks first is what it cost, how the values moved
and what that gained, and where the model was put back and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Event, segment_label
from raysearch.report.lineage_rows import ARMS, changes, changing, values_of

if TYPE_CHECKING:
    import pandas as pd

PROBES = (*ARMS, Event.START)  # the arm of the first fork that holds its values is how the model starts
SPANS = 12  # rows at most, the decay's apart


@dataclass(frozen=True)
class Span:
    """A stretch of the way to the model.

    Attributes:
        values: how the hyper-parameters that changed moved, in words.
        metric: at its end.
        accepted, rejected, put_back, ordered: decisions in it, those on stretches taken back included.
        lost: iterations that were taken back.
    """

    start: int
    stop: int
    values: str
    metric: float
    accepted: int
    rejected: int
    put_back: int
    ordered: int
    lost: int


@dataclass(frozen=True)
class PutBack:
    """One time that the model was put back: the segment that it went on with, from where, what was lost."""

    segment: str
    reached: int
    to: int
    words: str

    @property
    def lost(self) -> int:
        """Iterations."""
        return self.reached - self.to


@dataclass(frozen=True)
class Summary:
    """What a lineage came to.

    Attributes:
        line: iterations that led to the model; `probes`: of arms that the line left; `taken_back`: of
            stretches that it went back over; `others`: of models that grew from other roots.
        first, last: the metric at the end of the first and of the last segment.
    """

    line: int
    probes: int
    taken_back: int
    others: int
    first: float
    last: float
    spans: Sequence[Span]
    put_back: Sequence[PutBack]

    @property
    def trained(self) -> int:
        """All iterations."""
        return self.line + self.probes + self.taken_back + self.others

    @property
    def cost(self) -> float:
        """Iterations of the line, its probes and what was taken back, over those that led to the model."""
        return (self.trained - self.others) / max(1, self.line)


def summary_of(frame: pd.DataFrame) -> Summary:
    """Of `Results.lineage()`, or of one with another `on_path`; ValueError where nothing is on the path."""
    import pandas as pd

    if not frame["on_path"].any():
        raise ValueError("no segment of this lineage led to a model")
    names = changing(frame)
    rows = frame.assign(
        values=pd.Series([values_of(names, row) for row in frame.to_dict("records")], frame.index, object),
        root=_roots(frame),
        kind=_kinds(frame),
        trained=frame["reached"] - frame["start"],
    )
    trunk = rows[rows["on_path"]].sort_values("start", kind="stable")
    is_arm_of_root = (
        (rows["kind"] == "probe") & rows["parent"].isna() & (rows["seed"] == trunk["seed"].iloc[0])
    )
    own = rows[rows["root"].isin(set(trunk["root"])) | is_arm_of_root]
    of_kind = own.groupby("kind")["trained"].sum().to_dict()
    return Summary(
        line=int(of_kind.get("line", 0)),
        probes=int(of_kind.get("probe", 0)),
        taken_back=int(of_kind.get("back", 0)),
        others=int(rows["trained"].sum() - own["trained"].sum()),
        first=float(trunk["value"].iloc[0]),
        last=float(trunk["value"].iloc[-1]),
        spans=_spans(trunk, own),
        put_back=_put_back(own),
    )


# ---- inside


def _parents(frame: pd.DataFrame) -> list[Any]:
    parents = frame["parent"].astype(object)
    return list(parents.where(frame["parent"].notna(), None))


def _roots(frame: pd.DataFrame) -> list[Any]:
    """The first segment that each grew from; a parent stands before its children."""
    roots: dict[Any, Any] = {}
    for segment, parent in zip(frame["id"], _parents(frame), strict=True):
        roots[segment] = segment if parent is None else roots.get(parent, segment)
    return [roots[segment] for segment in frame["id"]]


def _kinds(frame: pd.DataFrame) -> list[str]:
    """`line`, `probe` for an arm that nothing grew from, or `back` for what was taken back or left."""
    grown = set(_parents(frame))
    return [
        "line" if on_path else "probe" if event in PROBES and segment not in grown else "back"
        for segment, event, on_path in zip(frame["id"], frame["event"], frame["on_path"], strict=True)
    ]


def _spans(trunk: pd.DataFrame, own: pd.DataFrame) -> list[Span]:
    end = int(trunk["reached"].iloc[-1])
    decaying = trunk["event"] == Event.DECAY
    forked = int(trunk.loc[~decaying, "reached"].max()) if not decaying.all() else end
    number = (trunk["start"] * SPANS // forked).where(~decaying, SPANS + 1)
    number = number.cummax()  # what follows a decay belongs to it
    before: Mapping[str, str] = {}
    spans: list[Span] = []
    for _, part in trunk.groupby(number.to_numpy(), sort=True):
        start, stop = int(part["start"].iloc[0]), int(part["reached"].iloc[-1])
        is_last = stop == end
        inside = own[(own["start"] >= start) & ((own["start"] < stop) | is_last)]
        first, last = part["values"].iloc[0], part["values"].iloc[-1]
        counted = inside["event"].value_counts()
        spans.append(
            Span(
                start,
                stop,
                changes(before, before or first, last),
                metric=float(part["value"].iloc[-1]),
                accepted=int(counted.get(Event.ACCEPT, 0)),
                rejected=int(counted.get(Event.REJECT, 0)),
                put_back=int(counted.get(Event.ROLLBACK, 0)),
                ordered=int(counted.get(Event.ORDER, 0)),
                lost=int(inside.loc[inside["kind"] == "back", "trained"].sum()),
            )
        )
        before = last
    return spans


def _put_back(own: pd.DataFrame) -> list[PutBack]:
    """Each time that the line went back, in order; what it had reached is the furthest of what it left."""
    parents, furthest = _parents(own), _furthest(own)
    reached: dict[Any, int] = {}  # by the children of each segment so far, and what grew from them
    found = []
    one: Any
    for one, parent in zip(own.itertuples(), parents, strict=True):
        if one.event == Event.ROLLBACK:
            to = int(one.start)
            found.append(PutBack(segment_label(int(one.id)), max(to, reached.get(parent, to)), to, one.words))
        reached[parent] = max(reached.get(parent, 0), furthest[one.id])
    return found


def _furthest(own: pd.DataFrame) -> dict[Any, int]:
    """Of each segment, the iteration that it or what grew from it came to."""
    found = dict(zip(own["id"], own["reached"].astype(int), strict=True))
    for segment, parent in reversed([*zip(own["id"], _parents(own), strict=True)]):
        if parent in found:
            found[parent] = max(found[parent], found[segment])
    return found
