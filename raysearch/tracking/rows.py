"""Outcomes turned into rows of runs, the same rows in the same order whenever the journal is read.

So a push is exact: a server that has n rows of a run gets those from the n-th on, whichever process sent the
first ones. Nothing here knows W&B.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.nested import flat_names
from raysearch.core.segment import Mode, Outcome, Status, score, segment_label, trial_name
from raysearch.space.objectives import Objectives

TICK_S = 10.0  # seconds of the journal's clock between two rows of the search's own run
Row = dict[str, Any]


@dataclass
class Feed:
    """A run at a tracking server: its names, and its rows so far.

    Attributes:
        key: names it within the search: `search`, `trial-12`, `member-0`.
        kind: W&B's job type: search, trial, finalist, baseline or member.
    """

    key: str
    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The key with its trial as people read it: `member-17b`; a run that was sent is known by its key."""
        kind, dash, number = self.key.partition("-")
        return f"{kind}-{trial_name(int(number))}" if dash and number.isdigit() else self.key


def run_id(name: str, began: float, key: str) -> str:
    """The id of a run at W&B, the same in every life of the tracking process."""
    token = hashlib.sha256(f"{name} {began!r}".encode()).hexdigest()[:10]
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:48].strip("-") or "search"
    return f"{slug}-{token}-{key}"


class SearchFeed:
    """The search's own run: a row for each tick of the journal's clock, and one for what came after the last."""  # noqa: E501

    def __init__(self, metric: str, mode: Mode, goals: Objectives | None = None) -> None:
        """Its rows hold the best of every objective, of segments within the limits where `goals` has some."""
        self.feed = Feed("search", "search")
        self._goals = goals or Objectives({metric: mode})
        self._began = math.nan
        self._next = math.nan
        self._bests = dict.fromkeys(self._goals.modes, math.nan)
        self._beyond = 0
        self._trials: set[int] = set()
        self._counts = {status.value: 0 for status in Status}
        self._iterations, self._seconds = 0, 0.0

    def take(self, outcome: Outcome) -> None:
        """Counts an outcome; first adds a row if a tick has passed since the last one."""
        at = outcome.finished_at
        if math.isnan(self._began):
            self._began, self._next = at - outcome.seconds, at + TICK_S
        if at >= self._next:
            self.feed.rows.append(self._row(at))
            self._next = at + TICK_S
        self._counts[outcome.status.value] += 1
        self._seconds += outcome.seconds
        self._iterations += outcome.reached - outcome.segment.start
        if outcome.segment.is_final:
            return
        self._trials.add(outcome.segment.trial)
        if outcome.status is Status.COMPLETED:
            self._compare(outcome)

    def _compare(self, outcome: Outcome) -> None:
        """Takes the last value of each objective, unless the limits are exceeded there."""
        if self._goals.limits and not self._goals.meets(self._goals.values_at(outcome.curve)):
            self._beyond += 1
            return
        for name, mode in self._goals.modes.items():
            curve = outcome.curve.get(name)
            value = curve[-1] if curve else math.nan
            if score(value, mode) < score(self._bests[name], mode):
                self._bests[name] = value

    def summary(self) -> Row:
        """The present state of the search."""
        return (
            {k: v for k, v in self._row(self._began).items() if k != "search/hours"} if self._trials else {}
        )

    def _row(self, at: float) -> Row:
        row: Row = {
            "search/hours": (at - self._began) / 3600,
            "search/trials": len(self._trials),
            "search/iterations": self._iterations,
            "search/worker_hours": self._seconds / 3600,
            **{f"search/segments_{name}": n for name, n in self._counts.items()},
        }
        if self._goals.limits:
            row["search/segments_beyond_limits"] = self._beyond
        known = {name: best for name, best in self._bests.items() if not math.isnan(best)}
        return {**row, **{f"search/best_{name}": best for name, best in known.items()}}


class TrialFeeds:
    """A run for each trial, or for each member where models are raised: a member is every segment that grew from one root."""  # noqa: E501

    def __init__(self, metric: str, members: bool, only: Iterable[int] | None = None) -> None:
        """`only`: the trials that are wanted; None is all of them."""
        self.feeds: dict[str, Feed] = {}
        self._metric, self._members = metric, members
        self._only = None if only is None else frozenset(only)
        self._seen: set[int] = set()
        self._roots: dict[int, int] = {}

    def take(self, outcome: Outcome) -> None:
        """Adds the rows of an outcome to its run; one that is lost, or known already, has none."""
        segment = outcome.segment
        if outcome.status is Status.LOST or segment.id in self._seen:
            return
        if self._only is not None and segment.trial not in self._only:
            return
        self._seen.add(segment.id)
        feed = self._feed(outcome)
        extra: Row = {"segment": segment_label(segment.id)}
        if self._members:
            extra |= {f"hp/{name}": value for name, value in flat(segment.config).items()}
            extra["lineage/trial"] = segment.trial
            extra["lineage/event"] = str(segment.event)
        names = [*outcome.curve]
        for i, values in enumerate(zip(*outcome.curve.values(), strict=True)):
            row = dict(zip(names, values, strict=True))
            feed.rows.append({**row, **extra, "training_iteration": segment.start + i + 1})
        feed.summary = {
            "status": outcome.status.value,
            "iterations": outcome.reached,
            "reason": segment.reason,
        }
        if outcome.error:
            feed.summary["error"] = outcome.error

    def _feed(self, outcome: Outcome) -> Feed:
        segment = outcome.segment
        number, kind = segment.trial, str(segment.role) if segment.is_final else "trial"
        if self._members and not segment.is_final:
            number, kind = self._root(outcome), "member"
        key = f"{kind}-{number}"
        if key not in self.feeds:
            self.feeds[key] = Feed(key, kind, flat(segment.config))
        if not self._members:
            self.feeds[key].config = flat(segment.config)
        return self.feeds[key]

    def _root(self, outcome: Outcome) -> int:
        segment = outcome.segment
        root = self._roots.get(segment.parent, segment.trial) if segment.parent is not None else segment.trial
        self._roots[segment.id] = root
        return root


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Nested configurations with `/` in the names, as W&B's panels take them."""
    named = flat_names(config, "/").items()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in named}
