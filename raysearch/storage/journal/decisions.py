"""What a strategy decided of a segment, as a journal holds it: the text in `detail` of an outcome's row.

It is JSON of `event` and `origin`, whichever there are. Rows of 0.1 have no such text: there the reason
says it, and `decision_in` is the only place that reads one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from raysearch.core.segment import FROM_BASELINE, Event, Segment
from raysearch.storage.journal.plain import dumps, memo, remember

_BY_PREFIX = frozenset(event for event in Event if event not in (Event.NONE, Event.PROMOTION))
_MEMORY = "memory: "
_texts: dict[tuple[str, str], str] = {}


class Decision(NamedTuple):
    """`Segment.event` and `Segment.origin`."""

    event: Event = Event.NONE
    origin: str = ""


def decision_text(segment: Segment) -> str:
    """What goes into `detail` of the segment's row."""
    key = (segment.event, segment.origin)
    text = _texts.get(key)
    if text is None:
        said = {"event": str(segment.event), "origin": segment.origin}
        text = remember(_texts, key, dumps({name: value for name, value in said.items() if value}))
    return text


def decisions(details: Iterable[str | None], reasons: Iterable[str | None]) -> Iterator[Decision]:
    """The decision of each row; of a row without `detail` as its reason says."""
    known: dict[str, Decision] = {}
    for detail, reason in zip(details, reasons, strict=True):
        yield decision_in(reason or "") if detail is None else memo(known, detail, _parsed)


def decision_in(reason: str) -> Decision:
    """What the reason of a row of 0.1 says was decided."""
    word, colon, rest = reason.partition(": ")
    if reason.startswith("confirmation, "):
        return Decision(Event.CONFIRMATION)
    if colon and word in _BY_PREFIX:
        return Decision(Event(word))
    if word.startswith("rung ") and rest.endswith((", promoted", ", goes on")):
        return Decision(Event.PROMOTION)
    if reason == "the baseline":
        return Decision(origin=FROM_BASELINE)
    return Decision(origin=rest if reason.startswith(_MEMORY) else "")


def _parsed(text: str) -> Decision:
    said = json.loads(text)
    return Decision(Event(said.get("event", "")), str(said.get("origin", "")))
