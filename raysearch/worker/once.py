"""A hint for errors of what may be done only once a process, which trains one trial after the other."""

from __future__ import annotations

import re

from raysearch.errors import RaysearchError

ISOLATE = " (this process trained other trials before; isolate: true gives each trial a process of its own)"
_ONCE = re.compile(
    r"already|twice|duplicat|re-?initiali|second time|\bonce\b|in use|after (it|parallel|being|having)|"
    r"cannot be (modified|changed|set)",
    re.IGNORECASE,
)


class OnceAProcess:
    """Knows whether this process trained other trials before, and whether the one in hand has reported."""

    def __init__(self) -> None:
        self._trials = 0  # that reported
        self._has_reported = False

    def begin(self) -> None:
        """A training begins, from a fresh model or a checkpoint."""
        self._trials += self._has_reported
        self._has_reported = False

    def reported(self) -> None:
        """The training in hand reported something."""
        self._has_reported = True

    def hint(self, error: BaseException) -> str:
        """What to do about an error before the first report of a training that is not the process's first.

        Empty where the error does not speak of something that was done before.
        """
        if self._has_reported or not self._trials or isinstance(error, (RaysearchError, MemoryError)):
            return ""
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return ISOLATE if _ONCE.search(f"{error} {cause}") else ""
