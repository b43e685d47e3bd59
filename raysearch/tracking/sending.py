"""Sends a run to its sinks, from the journal: once, or while the search goes on, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.results.results import Results
from raysearch.storage.journal.parts import START
from raysearch.storage.journal.reading import batches_since
from raysearch.storage.paths import RunPaths
from raysearch.tracking.granularity import finalists, level_of
from raysearch.tracking.rows import Feed, SearchFeed, TrialFeeds
from raysearch.tracking.sinks import Sink, find
from raysearch.tracking.wandb.api_key import taken_out
from raysearch.tracking.wandb.sync_state import ended

if TYPE_CHECKING:
    from raysearch.core.segment import Outcome

POLL_S = 2.0


def send(
    run: Path, names: Sequence[str], follow: bool = False, left: Callable[[], bool] = lambda: True
) -> int:
    """Sends a run to sinks, with `follow` until the run ends or `left()` is true; returns the number of rows.

    The W&B key is out of the environment meanwhile: sinks are code of others.
    """
    with taken_out():
        return _send(run, names, follow, left)


def _send(run: Path, names: Sequence[str], follow: bool, left: Callable[[], bool]) -> int:
    paths = RunPaths(run)
    sinks = [find(name)(paths) for name in names]
    results = Results(run)
    members = results.raised is not None
    level = level_of(results.abilities.samples or 0)
    search = SearchFeed(results.metric, results.mode, results.goals)
    trials = TrialFeeds(results.metric, members)
    sent: dict[str, int] = {}
    position = START
    while True:
        over = not follow or left() or ended(paths) is not None
        for outcomes, behind in batches_since(paths.journal, position):
            position = behind
            _take(outcomes, [search, trials] if level.live else [search])
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


def _take(outcomes: Iterable[Outcome], feeds: Sequence[SearchFeed | TrialFeeds]) -> None:
    for outcome in outcomes:
        for feed in feeds:
            feed.take(outcome)


def _log(sinks: Sequence[Sink], feeds: Sequence[Feed], sent: dict[str, int]) -> None:
    for feed in feeds:
        for number in range(sent.get(feed.key, 0), len(feed.rows)):
            for sink in sinks:
                sink.log(feed, feed.rows[number], number)
        sent[feed.key] = len(feed.rows)


def _finalists(run: Path, count: int, members: bool) -> TrialFeeds:
    """The best trials and the finish of a large search; the journal is read once more for them."""
    results = Results(run)
    feeds = TrialFeeds(results.metric, members, finalists(results, count))
    for outcomes, _ in batches_since(RunPaths(run).journal):
        for outcome in outcomes:
            feeds.take(outcome)
    return feeds


def main(arguments: Sequence[str]) -> None:
    """`python -m raysearch.tracking.sending RUN NAME...`: follows a run until it ends or stdin is closed."""
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
