"""Sinks: further places for a run, each one file with the interface of `Sink`, fed from the journal.

    sinks: [tensorboard, mlflow]            # in the spec: while the search runs
    raysearch sink runs/digits tensorboard  # at any time, from the journal

`make(paths) -> Sink` makes a sink for a run's folder, found by name among those below, among the entry
points of the group `raysearch.sinks`, or as `module:attribute`. It writes the run anew each time it begins,
from the first outcome on, so it needs no memory of its own and can be run again after any death.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from raysearch.core import installed
from raysearch.core.error_text import in_words
from raysearch.core.version import install
from raysearch.errors import SpecError, unknown
from raysearch.tracking.wandb.api_key import taken_out

if TYPE_CHECKING:
    from raysearch.storage.paths import RunPaths
    from raysearch.tracking.rows import Feed

BUILT_IN = {
    "tensorboard": "raysearch.tracking.tensorboard:make",
    "mlflow": "raysearch.tracking.mlflow:make",
}
GROUP = "raysearch.sinks"


class Sink(Protocol):
    """A place for runs: the search's own, and one for each trial or member that is sent."""

    def log(self, feed: Feed, row: Mapping[str, Any], number: int) -> None:
        """Takes a row of a run; `number` counts the rows of the run from 0. `feed.config` is its configuration."""  # noqa: E501

    def end(self, feeds: Sequence[Feed]) -> None:
        """Takes the final summaries, and closes the runs. No row comes after it."""


def find(name: str) -> Callable[[RunPaths], Sink]:
    """The function `make` of the sink of that name; its module is imported without the W&B key in sight.

    Raises:
        SpecError: there is none, or it cannot be imported.
    """
    others = installed.names(GROUP)
    with taken_out():
        if name in others and name not in BUILT_IN:
            return cast("Callable[[RunPaths], Sink]", installed.load(GROUP, name, "sink"))
        target = BUILT_IN.get(name) or (name if ":" in name else None)
        if target is None:
            raise SpecError(unknown("sink", name, [*BUILT_IN, *others]))
        module, _, attribute = target.partition(":")
        try:
            return cast("Callable[[RunPaths], Sink]", getattr(importlib.import_module(module), attribute))
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever a module raises)
            extra = f": {install('mlflow')}" if name == "mlflow" else ""
            raise SpecError(f"sink {name!r} cannot be loaded: {in_words(error)}{extra}") from None
