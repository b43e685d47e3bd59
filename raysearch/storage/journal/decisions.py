"""What was decided of a segment and why it failed, as a journal holds it: the text in `detail` of a row.

It is JSON of `event`, `origin` and `cause`, whichever there are; a row with an error has a cause. Rows of 0.1
have no such text: there the reason and the error say it, and only `old_rows` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from raysearch.core.segment import Cause, Event, Outcome
from raysearch.storage.journal.arrow_arrays import bits
from raysearch.storage.journal.old_rows import old_cause, old_decision
from raysearch.storage.journal.plain import dumps, memo, remember

_texts: dict[tuple[str, str, str], str] = {}


class Decision(NamedTuple):
    """`Segment.event` and `Segment.origin`."""

    event: Event = Event.NONE
    origin: str = ""


def detail_text(outcome: Outcome) -> str:
    """What goes into `detail` of the outcome's row."""
    segment, cause = outcome.segment, outcome.cause
    key = (segment.event, segment.origin, cause._value_ if outcome.error or cause is not Cause.OTHER else "")
    text = _texts.get(key)
    if text is None:
        said = zip(("event", "origin", "cause"), map(str, key), strict=True)
        text = remember(_texts, key, dumps({name: value for name, value in said if value}))
    return text


def decisions(details: Iterable[str | None], reasons: Iterable[str | None]) -> Iterator[Decision]:
    """The decision of each row; of a row without `detail` as its reason says."""
    known: dict[str, Decision] = {}
    for detail, reason in zip(details, reasons, strict=True):
        yield Decision(*old_decision(reason or "")) if detail is None else memo(known, detail, _parsed)


def deciding(details: pa.Array, event: Event) -> Any:
    """Which rows' `detail` says this event: a bool array. Rows of 0.1, which have none, say nothing."""
    found = pc.match_substring(details.cast(pa.string()), dumps({"event": str(event)})[1:-1])
    return bits(found)


def causes(details: Iterable[str | None], errors: Iterable[str | None]) -> Iterator[Cause]:
    """Why each row failed or was lost; of a row whose `detail` has no cause as its error says."""
    known: dict[str | None, Cause | None] = {None: None}
    for detail, error in zip(details, errors, strict=True):
        if detail not in known:
            said = json.loads(detail or "{}").get("cause")
            known[detail] = None if said is None else Cause(said)
        cause = known[detail]
        yield (old_cause(error) if error else Cause.OTHER) if cause is None else cause


def _parsed(text: str) -> Decision:
    said = json.loads(text)
    return Decision(Event(said.get("event", "")), str(said.get("origin", "")))
