"""What a segment's reason says: `event: words`, where the event is one of the known ones."""

from __future__ import annotations

EVENTS = frozenset(
    [
        *("start", "adopt", "hold", "nudge", "accept", "reject", "keep", "rollback", "decay"),
        *("steady", "clone", "order"),
    ]
)


def event_of(reason: str) -> str:
    """The event before the first `: `; nothing where the reason names none."""
    event, colon, _ = reason.partition(": ")
    return event if colon and event in EVENTS else ""


def words_of(reason: str) -> str:
    """The reason without its event."""
    event = event_of(reason)
    return reason[len(event) + 2 :] if event else reason
