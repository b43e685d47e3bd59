"""Why a search ends, as a kind beside its words, and how it winds down: it begins nothing new."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.core.budget import Amount, amount_in


class Ending(enum.Enum):
    """Why the life of a run ends."""

    COMPLETE = "complete"  # the strategy has nothing left to ask for
    PAUSED = "paused"  # by a person's order
    STOPPED = "stopped"  # by a person's order
    SIGNAL = "signal"  # Ctrl-C or SIGTERM
    BUDGET = "budget"
    GAIN = "gain"  # going on was forecast to gain less than `stop_when` asks; the finish was done
    FAILED = "failed"  # the search itself, not a trial
    INTERRUPTED = "interrupted"  # its process ended without a reason from the search


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a search is over: the kind that decisions read, and the words for people.

    Attributes:
        used_up: the part of the budget, where that is why.
    """

    kind: Ending
    words: str
    used_up: Amount | None = None

    @property
    def is_done(self) -> bool:
        """Whether the search, its finish included, has nothing left to do unless a person asks for more."""
        return self.kind in (Ending.COMPLETE, Ending.GAIN)

    def as_detail(self) -> dict[str, Any]:
        """For the journal; `ended_of` reads it."""
        return {
            "ending": self.words,
            "kind": self.kind.value,
            "used_up": self.used_up.value if self.used_up is not None else None,
        }

    def with_words(self, words: str) -> Ended:
        """The same end in other words."""
        return Ended(self.kind, words, self.used_up)


COMPLETE = Ended(Ending.COMPLETE, "complete")
PAUSED = Ended(Ending.PAUSED, "paused")
STOPPED = Ended(Ending.STOPPED, "stopped")
INTERRUPTED = Ended(Ending.INTERRUPTED, "interrupted")


def by_signal(name: str) -> Ended:
    """The end of a search by Ctrl-C or SIGTERM."""
    return Ended(Ending.SIGNAL, f"stopped by {name}")


def ended_of(detail: Mapping[str, Any]) -> Ended | None:
    """Why a life ended, from the journal's event of its end; None if that does not say.

    The one reader of the sentence, which is all that journals of earlier versions have.
    """
    words = str(detail.get("ending") or "")
    if "kind" in detail:
        used_up = detail.get("used_up")
        return Ended(Ending(detail["kind"]), words, Amount(used_up) if used_up else None)
    if not words:
        return None
    if (used_up := amount_in(words)) is not None:
        return Ended(Ending.BUDGET, words, used_up)
    begins = (
        ("complete", Ending.COMPLETE),
        ("paused", Ending.PAUSED),
        ("stopped by", Ending.SIGNAL),
        ("stopped", Ending.STOPPED),
        ("interrupted", Ending.INTERRUPTED),
    )
    return Ended(next((kind for start, kind in begins if words.startswith(start)), Ending.FAILED), words)


def more_of(ended: Ended | None) -> tuple[str, ...]:
    """The options of `raysearch resume` that go on past this ending; none where it takes none."""
    if ended is not None and ended.kind is Ending.GAIN:
        return ("--stop-when", "off")
    return ended.used_up.more if ended is not None and ended.used_up is not None else ()


@dataclass(frozen=True, slots=True)
class WindDown:
    """Why a search winds down, and how long it may take.

    Attributes:
        why: what the search's end will be.
        cut_at: Unix time at which what is still in training is cut; infinity waits for it.
        ordered: by a person, who may take it back; a budget does not come back by itself.
    """

    why: Ended
    cut_at: float = math.inf
    ordered: bool = False

    def after(self, earlier: WindDown | None) -> WindDown:
        """This one, on top of an earlier one: the last word counts, and the sooner cut."""
        if earlier is None:
            return self
        return WindDown(self.why, min(self.cut_at, earlier.cut_at), self.ordered and earlier.ordered)
