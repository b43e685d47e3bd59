"""A lineage as rows that people read: the way to the model, and what was tried beside it and left.

A fork is one row: the arm that the line went on from and the stretch after it, with the decision's words.
Its other arm lost, which those words say, so it has a row only where it failed. A row shows the values
that changed on the way to it, not those that stayed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysearch.core.formatting import setting
from raysearch.core.segment import Event, segment_label
from raysearch.schedule import used_ends

if TYPE_CHECKING:
    import pandas as pd

USED_ALIKE = 1e-6  # relative difference up to which a used value is the one asked for
ARMS = (Event.HOLD, Event.NUDGE)
DECIDED = (Event.ACCEPT, Event.REJECT)

Values = Mapping[str, str]  # hyper-parameter -> what was asked, and used where that differs


@dataclass(frozen=True)
class Row:
    """Segments on the way to the model that one decision led to, or a side branch.

    Attributes:
        segment: name of the first.
        start, stop: iterations.
        values: the hyper-parameters that changed, in words.
        metric: at its end.
        event, words: what was decided and why; what went wrong where a segment failed.
        status: of the last segment, or of the first that did not end well.
        segments: how many.
    """

    is_trunk: bool
    segment: str
    start: int
    stop: int
    values: str
    metric: float
    event: str
    words: str
    status: str
    segments: int = 1


def rows_of(frame: pd.DataFrame, every: bool = False) -> Iterator[Row]:
    """The way to the model from the root up, each row after what branched off where it begins.

    Args:
        frame: `Results.lineage()`, or with another `on_path`.
        every: whether both arms of each fork have rows of their own.
    """
    import pandas as pd

    names = changing(frame)
    values = pd.Series([values_of(names, row) for row in frame.to_dict("records")], frame.index, object)
    records = frame.assign(values=values)
    trunk = list(records[records["on_path"]].sort_values("start", kind="stable").itertuples())
    children: dict[Any, list[Any]] = {}
    for segment in records[~records["on_path"] & records["parent"].notna()].itertuples():
        children.setdefault(segment.parent, []).append(segment)
    before: Values = {}
    for kept in _groups(trunk, children, every):
        for first in _beside(kept, children, every):
            yield _merged(list(_subtree(first, children)), before, False)
        yield _merged(kept, before, True)
        before = kept[-1].values


def changing(frame: pd.DataFrame) -> list[str]:
    """The hyper-parameters whose values differ anywhere in a lineage."""
    names = [name for name in frame.columns if name.startswith("config.")]
    return [name.removeprefix("config.") for name in names if frame[name].astype(str).nunique() > 1]


def values_of(names: Sequence[str], row: Mapping[Any, Any]) -> Values:
    """The values of these hyper-parameters in a row of a lineage, as people read them."""
    return {name: _value(name, row) for name in names}


def changes(before: Values, first: Values, last: Values) -> str:
    """What changed from `before` through `first` to `last`: `lr 0.1 -> 0.001, decay 0.2`; empty for nothing.

    >>> changes({"lr": "0.1", "decay": "0.2"}, {"lr": "0.1", "decay": "0.4"}, {"lr": "0.01", "decay": "0.4"})
    'lr 0.1 -> 0.01, decay 0.4'
    """
    texts = []
    for name, value in first.items():
        if last[name] != value:
            texts.append(f"{name} {value} -> {last[name]}")
        elif before.get(name) != value:
            texts.append(f"{name} {value}")
    return ", ".join(texts)


# ---- inside


def _value(name: str, row: Mapping[Any, Any]) -> str:
    """`0.001`, or `0.001 (used 0.0008 to 0.0002)` where the optimizer held something else."""
    asked = row[f"config.{name}"]
    text = setting(asked)
    ends = used_ends(row, name)
    if ends is None or all(math.isclose(end, asked, rel_tol=USED_ALIKE) for end in ends):
        return text
    first, last = (setting(end) for end in ends)
    return f"{text} (used {first})" if first == last else f"{text} (used {first} to {last})"


def _groups(trunk: Sequence[Any], children: Mapping[Any, Sequence[Any]], every: bool) -> Iterator[list[Any]]:
    """The segments of the trunk that are one row together."""
    kept: list[Any] = []
    for segment in trunk:
        if kept and not _are_one(kept[-1], segment, bool(_beside([segment], children, every)), every):
            yield kept
            kept = []
        kept.append(segment)
    if kept:
        yield kept


def _are_one(last: Any, segment: Any, has_beside: bool, every: bool) -> bool:
    if has_beside:
        return False
    if not every and last.event in ARMS and segment.event in DECIDED:
        return True
    if last.event == segment.event == Event.DECAY:
        return bool(last.trial == segment.trial)
    return bool(last.reason == segment.reason and last.trial == segment.trial)


def _beside(kept: Sequence[Any], children: Mapping[Any, Sequence[Any]], every: bool) -> list[Any]:
    """What branched off where these begin and has rows of its own."""
    found = [one for segment in kept for one in children.get(segment.parent, ())]
    return [one for one in found if every or not _is_lost_arm(one, children)]


def _is_lost_arm(segment: Any, children: Mapping[Any, Sequence[Any]]) -> bool:
    """Whether it is the arm of a fork that the line left, of which the decision's words tell."""
    return segment.event in ARMS and segment.id not in children and segment.status == "completed"


def _subtree(first: Any, children: Mapping[Any, Sequence[Any]]) -> Iterator[Any]:
    waiting = [first]
    while waiting:
        segment = waiting.pop(0)
        yield segment
        waiting += children.get(segment.id, ())


def _merged(segments: Sequence[Any], before: Values, is_trunk: bool) -> Row:
    first, last = segments[0], max(segments, key=lambda s: s.reached)
    bad = next((s for s in segments if s.status != "completed"), None)
    told = next((s for s in segments if s.event in DECIDED), first)
    if not is_trunk:
        told = next((s for s in segments if s.event == Event.ACCEPT), first)
    return Row(
        is_trunk,
        segment_label(int(first.id)),
        first.start,
        last.reached,
        changes(before, first.values, last.values),
        last.value,
        told.event,
        told.words if bad is None or not bad.error else f"{told.words}; {bad.status}: {bad.error}",
        last.status if bad is None else bad.status,
        len(segments),
    )
