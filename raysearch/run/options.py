"""Where and how a search runs, apart from what it searches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raysearch.engine.snapshot import Snapshot

Executor = Literal["tune", "inline"]
OnStatus = Callable[[Snapshot], None]


@dataclass(frozen=True, slots=True)
class How:
    """Where and how a search runs; its spec holds what it searches.

    >>> how = raysearch.How("inline", say=lambda line: None)
    >>> results = raysearch.resume("runs/digits", how, trainable=train)

    Attributes:
        executor: "tune" trains on Ray workers; "inline" trains in this process, without a Ray cluster.
        address: of the Ray cluster; None connects to one on this machine, or starts one.
        local: start a Ray cluster for this search alone, even if another one runs on this machine.
        checks: check the cluster for a few seconds before the search starts (`raysearch doctor` checks more).
        callbacks: Ray Tune callbacks; Tune calls them for each worker, which is one Tune trial.
        on_status: receives a `Snapshot` of the search about twice a second. If None, each
            new warning goes to `say`, and `raysearch.search` shows the search.
        progress: let `raysearch.search` show it: a panel on a terminal (lines with "inline") and in a
            notebook, lines on stderr elsewhere.
        say: receives lines of text for the user, such as the address of the run at W&B.
        returns_when_stopped: after Ctrl-C or SIGTERM, return the results so far. If False, the call raises
            KeyboardInterrupt once the search has stopped cleanly, and `say` receives the command to resume.
    """

    executor: Executor = "tune"
    address: str | None = None
    local: bool = False
    checks: bool = True
    callbacks: Sequence[Any] = ()
    on_status: OnStatus | None = None
    progress: bool = True
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
    returns_when_stopped: bool = False

    def listener(self) -> OnStatus:
        """`on_status`; without it, a function that passes each new warning of a snapshot to `say`, once."""
        if self.on_status is not None:
            return self.on_status
        shown: set[str] = set()

        def say_new(status: Snapshot) -> None:
            for text in status.live.warnings:
                if text not in shown:
                    shown.add(text)
                    self.say(f"warning: {text}")

        return say_new
