"""The sender of the tracking process: reads the journal, and brings the server up to its rows."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from raysearch.results.results import Results
from raysearch.storage.atomic import replace_text
from raysearch.storage.checked_json import to_text
from raysearch.storage.journal.parts import START, Position
from raysearch.storage.journal.reading import batches_since, read_events
from raysearch.storage.paths import RunPaths
from raysearch.tracking import artifacts
from raysearch.tracking.granularity import Granularity, level_of
from raysearch.tracking.rows import Feed, SearchFeed, TrialFeeds, run_id
from raysearch.tracking.wandb.client import PATIENCE_S, Runs, Unreachable

ATTEMPTS = 3  # at the end, until the server has every row


class Sender:
    """One search on its way to W&B. After a restart it asks the server which rows it has, and sends the rest."""  # noqa: E501

    def __init__(
        self, run: Path, patience_s: float = PATIENCE_S, now: Callable[[], float] = time.time
    ) -> None:
        self.paths = RunPaths(run)
        self.results = Results(run)
        spec = self.results.spec
        self.name = str(spec.get("name", run.name))
        wandb = dict(spec.get("wandb") or {})
        self.where = {
            "project": wandb.get("project") or "raysearch",
            "entity": wandb.get("entity"),
            "group": wandb.get("group") or self.name,
            "tags": wandb.get("tags") or [],
        }
        self.began = next((e.at for e in read_events(self.paths.journal) if e.kind == "start"), 0.0)
        self.members = self.results.raised is not None
        self.level: Granularity = level_of(self.results.abilities.samples or 0)
        self.runs = Runs(self.where, self.paths.tracking, patience_s)
        self.search = SearchFeed(self.results.metric, self.results.mode, self.results.goals)
        self.trials = TrialFeeds(self.results.metric, self.members)
        self._position: Position = START
        self._sent: dict[str, int] = {}
        self._now = now
        self.trouble = ""
        self.outcomes = 0

    def id_of(self, feed: Feed) -> str:
        """The run's id at W&B."""
        return run_id(self.name, self.began, feed.key)

    def read(self) -> int:
        """Takes in what is new in the journal; returns how many outcomes there were."""
        new = 0
        for outcomes, behind in batches_since(self.paths.journal, self._position):
            new, self._position = new + len(outcomes), behind
            for outcome in outcomes:
                self.search.take(outcome)
                if self.level.live:
                    self.trials.take(outcome)
        self.outcomes += new
        return new

    def send(self) -> None:
        """Logs what the open runs lack; opens those that have something new. Trouble is noted, never raised."""  # noqa: E501
        try:
            for feed in self._feeds():
                self._send(feed)
            self.trouble = ""
        except Unreachable as error:
            self.trouble, self.is_stuck = str(error), True

    def alert(self, title: str, text: str) -> None:
        """Has W&B alert people, from the search's own run. Raises Unreachable."""
        self._open(self.search.feed)
        alert = self.runs.handle(self.id_of(self.search.feed)).alert
        self.runs.within(partial(alert, title, text), "an alert")

    def close(self, finals: Callable[[Sender], None]) -> bool:
        """Sends everything, tables too, and checks it; True if the server has every row.

        `finals` adds what is made of the whole search, to its open run.
        """
        artifacts.make(self.paths.root, self.paths.tracking_tables, self.level.rows)
        if not self.level.live:
            self._pick_finalists()
        for attempt in range(ATTEMPTS):
            try:
                for feed in self._feeds():
                    self._send(feed, summarise=True)
                if attempt == 0 or not self.complete:
                    self._open(self.search.feed)
                    self.runs.within(partial(finals, self), "the tables, figures and artifacts")
                self.runs.finish_all()
                missing = self._missing()
            except Unreachable as error:
                self.trouble, self.is_stuck = str(error), True
                self.runs.finish_all()
                return False
            if not missing:
                self.trouble, self.complete = "", True
                return True
            self.trouble = _differing([*missing.values()])
            for key in missing:
                self._sent.pop(key, None)
        return False

    complete = False
    is_stuck = False  # the client has given a run up, and would not open it again in this process

    def note(self) -> None:
        """Writes down how far it is, for `raysearch wandb push` and for people."""
        feeds = [*self._feeds()]
        state = {
            "project": self.where["project"],
            "entity": self.where["entity"],
            "url": self.runs.url,
            "runs": len(feeds),
            "rows": sum(len(feed.rows) for feed in feeds),
            "outcomes": self.outcomes,
            "complete": self.complete,
            "trouble": self.trouble,
            "at": self._now(),
        }
        replace_text(self.paths.tracking_state, to_text(state, indent=2) + "\n")

    # ---- inside

    def _feeds(self) -> Iterator[Feed]:
        return itertools.chain([self.search.feed], self.trials.feeds.values())

    def _open(self, feed: Feed) -> None:
        there = self.runs.open(self.id_of(feed), feed, self._title(feed))
        if there >= 0:
            self._sent[feed.key] = there

    def _send(self, feed: Feed, summarise: bool = False) -> None:
        if len(feed.rows) <= self._sent.get(feed.key, 0 if feed.rows else -1) and not summarise:
            return
        self._open(feed)
        identity = self.id_of(feed)
        for row in feed.rows[self._sent[feed.key] :]:
            self.runs.log(identity, row)
        self._sent[feed.key] = max(len(feed.rows), self._sent[feed.key])
        if summarise:
            summary = self.search.summary() if feed.kind == "search" else feed.summary
            self.runs.summarise(identity, summary, feed.config)

    def _missing(self) -> dict[str, int]:
        """Run -> rows that the server lacks; below 0 where it says that it has more than there are."""
        found = {}
        for feed in self._feeds():
            if feed.rows and (lack := len(feed.rows) - self.runs.rows_there(self.id_of(feed))):
                found[feed.key] = lack
        return found

    def _title(self, feed: Feed) -> str:
        return self.name if feed.kind == "search" else f"{self.name} {feed.name}"

    def _pick_finalists(self) -> None:
        """The best trials of a large search, and its finish, as runs of their own."""
        chosen = json.loads((self.paths.tracking_tables / "finalists.json").read_text())
        self.trials = TrialFeeds(self.results.metric, self.members, chosen)
        for outcomes, _ in batches_since(self.paths.journal):
            for outcome in outcomes:
                self.trials.take(outcome)


def _differing(lacks: Sequence[int]) -> str:
    """What is said of runs of which the server has another number of rows than there are."""
    short, long = [n for n in lacks if n > 0], [-n for n in lacks if n < 0]
    texts = [f"{sum(short):,} rows of {len(short):,} runs are not there yet"] if short else []
    if long:
        texts.append(f"the server says that {len(long):,} runs have {sum(long):,} rows more than were sent")
    return "; ".join(texts)
