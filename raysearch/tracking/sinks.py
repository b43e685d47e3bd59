"""Sinks: further places for a run, each one file with the interface of `Sink`, fed from the journal.

    sinks: [tensorboard, mlflow]            # in the spec: while the search runs
    raysearch sink runs/digits tensorboard  # at any time, from the journal

`make(paths) -> Sink` makes a sink for a run's folder, found by name among those below, among the entry
points of the group `raysearch.sinks`, or as `module:attribute`. It writes the run anew each time it begins,
from the first outcome on, so it needs no memory of its own and can be run again after any death.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from raysearch.errors import SpecError, unknown
from raysearch.results.results import load
from raysearch.storage.journal.parts import START
from raysearch.storage.journal.reading import batches_since
from raysearch.storage.paths import RunPaths
from raysearch.tracking.artifacts import finalists
from raysearch.tracking.granularity import level_of
from raysearch.tracking.rows import Feed, SearchFeed, TrialFeeds
from raysearch.tracking.wandb.sync_state import ended

BUILT_IN = {
    "tensorboard": "raysearch.tracking.tensorboard:make",
    "mlflow": "raysearch.tracking.mlflow:make",
}
GROUP = "raysearch.sinks"
POLL_S = 2.0


class Sink(Protocol):
    """A place for runs: the search's own, and one for each trial or member that is sent."""

    def log(self, feed: Feed, row: Mapping[str, Any], number: int) -> None:
        """Takes a row of a run; `number` counts the rows of the run from 0. `feed.config` is its configuration."""  # noqa: E501

    def end(self, feeds: Sequence[Feed]) -> None:
        """Takes the final summaries, and closes the runs. No row comes after it."""


def find(name: str) -> Callable[[RunPaths], Sink]:
    """The function `make` of the sink of that name.

    Raises:
        SpecError: there is none, or it cannot be imported.
    """
    others = {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}
    target = BUILT_IN.get(name) or others.get(name) or (name if ":" in name else None)
    if target is None:
        raise SpecError(unknown("sink", name, [*BUILT_IN, *others]))
    module, _, attribute = target.partition(":")
    try:
        made: Callable[[RunPaths], Sink] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        extra = ": pip install 'raysearch[mlflow]'" if name == "mlflow" else ""
        raise SpecError(f"sink {name!r} cannot be loaded: {error}{extra}") from None
    return made


def send(
    run: Path, names: Sequence[str], follow: bool = False, left: Callable[[], bool] = lambda: True
) -> int:
    """Sends a run to sinks; returns the number of rows. With `follow`, until the run ends or `left()` is true."""  # noqa: E501
    paths = RunPaths(run)
    sinks = [find(name)(paths) for name in names]
    results = load(run)
    members = results.raised is not None
    level = level_of(results.abilities.samples or 0)
    search, trials = SearchFeed(results.metric, results.mode), TrialFeeds(results.metric, members)
    sent: dict[str, int] = {}
    position = START
    while True:
        over = not follow or left() or ended(paths) is not None
        for outcomes, behind in batches_since(paths.journal, position):
            position = behind
            for outcome in outcomes:
                search.take(outcome)
                if level.live:
                    trials.take(outcome)
        if over and not level.live:
            trials = _finalists(run, level.finalists, members)
        feeds = [search.feed, *trials.feeds.values()]
        _log(sinks, feeds, sent)
        if over:
            break
        time.sleep(POLL_S)
    search.feed.summary = search.summary()
    for sink in sinks:
        sink.end(feeds)
    return sum(sent.values())


def _log(sinks: Sequence[Sink], feeds: Sequence[Feed], sent: dict[str, int]) -> None:
    for feed in feeds:
        begin = sent.get(feed.key, 0)
        for number in range(begin, len(feed.rows)):
            for sink in sinks:
                sink.log(feed, feed.rows[number], number)
        sent[feed.key] = len(feed.rows)


def _finalists(run: Path, count: int, members: bool) -> TrialFeeds:
    """The best trials and the finish of a large search; the journal is read once more for them."""
    results = load(run)
    feeds = TrialFeeds(results.metric, members, finalists(results, count))
    for outcomes, _ in batches_since(RunPaths(run).journal):
        for outcome in outcomes:
            feeds.take(outcome)
    return feeds


def main(arguments: Sequence[str]) -> None:
    """`python -m raysearch.tracking.sinks RUN NAME...`: follows a run until it ends or stdin is closed."""
    import sys
    import threading

    left = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        left.set()

    threading.Thread(target=wait, daemon=True).start()
    send(Path(arguments[0]), arguments[1:], follow=True, left=left.is_set)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
