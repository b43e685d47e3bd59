"""The kinds of input that are tried, and what may come of one.

A kind is one file with a class of the protocol `Kind`, and one line in `KINDS`.
"""

from __future__ import annotations

import enum
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

KINDS = {  # name -> module:class
    "specs": "raysearch.bench.fuzz.specs:Specs",
    "lines": "raysearch.bench.fuzz.lines:Lines",
    "orders": "raysearch.bench.fuzz.documents:OrderFiles",
    "sweeps": "raysearch.bench.fuzz.documents:Sweeps",
    "schedules": "raysearch.bench.fuzz.documents:Schedules",
    "memories": "raysearch.bench.fuzz.documents:MemoryFiles",
    "flips": "raysearch.bench.fuzz.flips:Flips",
}


class Verdict(enum.Enum):
    """What came of one input."""

    ANSWERED = "answered"
    REFUSED = "refused"
    TRACEBACK = "tracebacks"
    HANG = "hangs"
    OTHER = "other_answers"
    CODE = "code_run"

    @property
    def is_finding(self) -> bool:
        """Whether this must not happen."""
        return self not in (Verdict.ANSWERED, Verdict.REFUSED)


class OtherAnswer(Exception):
    """Raised by `Kind.attempt`: the input was answered, wrongly, and nothing was said about it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One input.

    Attributes:
        words: what it is, in one line, such as "strategy.samples = NaN".
        given: what the kind's `attempt` needs; it stays in one process.
    """

    words: str
    given: Any


class Kind(Protocol):
    """One kind of input. It is made anew in each process that tries cases, and used there one by one.

    Attributes:
        count: how many cases there are by default.
    """

    count: int

    def prepare(self, folder: Path) -> None:
        """Makes what all cases share, in an empty folder of this process."""

    def case(self, seed: int, number: int) -> Case:
        """The case of this number: a function of the seed and the number, once `prepare` was called."""

    def attempt(self, case: Case) -> None:
        """Hands the input in.

        Returns if it was answered; a RaysearchError says that it was refused, OtherAnswer that the answer is
        wrong. Anything else that is raised is a finding.
        """


def kind_named(name: str) -> Kind:
    """A new object of the kind."""
    module, _, attribute = KINDS[name].partition(":")
    made: Kind = getattr(importlib.import_module(module), attribute)()
    return made
