"""The data of the figures: the columns of a run, and what its spec says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raysearch.core.segment import FINALS, Mode
from raysearch.errors import SpecError
from raysearch.results.config_frame import config_columns
from raysearch.results.front import VIOLATION, goal_columns, violations_of
from raysearch.results.run_clock import ONE, Lives
from raysearch.space.objectives import Objectives, objectives_in
from raysearch.space.space import Space

if TYPE_CHECKING:
    from raysearch.results.columns import Booleans, Floats, Integers, Segments, Trials
    from raysearch.results.front import Front
    from raysearch.results.verdict import Verdict
    from raysearch.storage.journal.config_columns import ConfigShape

SEED = 0  # of the samples that are drawn where a figure shows a part: the same run gives the same figure


@dataclass(frozen=True)
class Digest:
    """A run, ready to be drawn.

    Attributes:
        name: of the run.
        segments: all of them, the finish's too.
        trials: those of the search.
        best: position in `trials` of the best one; None if none ended well.
        path: rows of the segments from a fresh model to the best trial's end.
        verdict: what the finish says.
        spec: as the run's folder has it; may be empty.
        lives: of the run; durations are measured by their clock, which stands still between them.
        front: of several objectives, or of limits; None for one metric alone, and for raised models.
        violations: computes how far trials are beyond the limits.
    """

    name: str
    metric: str
    mode: Mode
    segments: Segments
    trials: Trials
    best: int | None
    path: Sequence[int]
    verdict: Verdict
    spec: Mapping[str, Any] = field(default_factory=dict)
    lives: Lives = ONE
    front: Front | None = None
    violations: Callable[[Integers, Mapping[str, Floats], Objectives], Floats] = violations_of
    _shapes: dict[str, ConfigShape] = field(default_factory=dict, repr=False, compare=False)

    @property
    def better(self) -> str:
        """Which way the metric is to go; where it is one of several objectives, that it leads them."""
        return f"{self.way}; {self.goals.note}" if self.goals.note else self.way

    @property
    def way(self) -> str:
        """`lower is better` or `higher is better`, of the metric alone: what an axis has room for."""
        return "lower is better" if self.mode == "min" else "higher is better"

    @cached_property
    def goals(self) -> Objectives:
        """The objectives and limits of the search; the metric alone where it has no more."""
        return objectives_in(self.spec, self.metric, self.mode)

    @cached_property
    def further(self) -> Mapping[str, Floats]:
        """Of each trial the last value of every metric that counts besides the leading one; empty if none."""
        return {name: values for name, values in self._goal_columns.items() if name != VIOLATION}

    @cached_property
    def beyond(self) -> Booleans:
        """Which trials are beyond the limits, or are not known to be within; none without limits."""
        if not self.goals.limits:
            return np.zeros(len(self.trials), np.bool_)
        return np.asarray(self._goal_columns[VIOLATION] > 0, np.bool_)

    @cached_property
    def _goal_columns(self) -> Mapping[str, Floats]:
        return {} if self.goals.is_plain else goal_columns(self.trials, self.goals, self.violations)

    @cached_property
    def space(self) -> Space | None:
        """The space of the spec; None where there is none that can be read here."""
        try:
            return Space.from_dict(self.spec["space"])
        except (KeyError, SpecError, TypeError):
            return None

    @cached_property
    def free(self) -> tuple[str, ...]:
        """The hyper-parameters that were searched, in the spec's order."""
        return tuple(self.space.free) if self.space is not None else ()

    def is_log(self, name: str) -> bool:
        """Whether the spec draws this hyper-parameter on a logarithmic scale."""
        return bool(self.space is not None and getattr(self.space.domains.get(name), "log", False))

    @cached_property
    def search_rows(self) -> Integers:
        """Rows of the segments of the search, without the finish."""
        return np.flatnonzero(~self.segments.having("role", *FINALS))

    @cached_property
    def ended(self) -> Floats:
        """When each segment ended, in seconds by the clock of the run's lives; 0 or less where unknown."""
        return self.lives.clock(self.segments.floats("finished_at"))

    @cached_property
    def began(self) -> Floats:
        """When each segment began, by the same clock: its end less its seconds."""
        return self.ended - np.nan_to_num(self.segments.floats("seconds"))

    @cached_property
    def zero(self) -> float:
        """When the first segment began, by the same clock; 0 for an empty run."""
        known = self.began[self.segments.floats("finished_at") > 0]
        return float(known.min()) if len(known) else 0.0

    @cached_property
    def took_s(self) -> float:
        """Seconds from the first segment's start to the last one's end, without those between lives."""
        return float(self.ended.max()) - self.zero if len(self.ended) else 0.0

    @property
    def lives_note(self) -> str:
        """The note of figures over time for a run that was resumed; empty for one with a single life."""
        count = self.lives.count
        return f"Of its {count} lives, without the time between them." if count > 1 else ""

    def columns(self, rows: Integers) -> dict[str, Any]:
        """Hyper-parameter -> its values in these segments; None or NaN where it does not occur."""
        table = self.segments.table.select(["shape", "numbers"]).take(pa.array(rows))
        found = config_columns(table, self._shapes)
        return {name.removeprefix("config."): values for name, values in found.items()}

    def texts(self, name: str, rows: Integers) -> list[str]:
        """A column of texts in these segments, empty where there is none."""
        column = self.segments.table[name].take(pa.array(rows)).to_pylist()
        return [str(text) if text is not None else "" for text in column]

    @cached_property
    def worse(self) -> Floats:
        """Each trial's value turned so that lower is better; infinite where it has no finite value."""
        values = self.trials.values if self.mode == "min" else -self.trials.values
        return np.where(np.isfinite(values), values, np.inf)

    @cached_property
    def ranking(self) -> Integers:
        """Positions of trials with a finite value: those trained the longest first, then by value.

        With limits, of those trained as long the ones within them come first.
        """
        order = np.lexsort((self.trials.numbers, self.worse, self.beyond, -self.trials.iterations))
        return np.asarray(order[finite(self.worse[order])], np.int64)

    def sample(self, best: int, others: int) -> tuple[Integers, bool]:
        """(positions of trials to show: the best and some of the rest, whether some were left out)."""
        ranking = self.ranking
        if len(ranking) <= best + others:
            return ranking, False
        rest = np.random.default_rng(SEED).choice(len(ranking) - best, others, replace=False) + best
        return np.concatenate((ranking[:best], ranking[np.sort(rest)])), True


def goal_ends(digest: Digest, rows: Integers) -> tuple[dict[str, Floats], Booleans]:
    """(the last value of every metric that counts, which are within the limits) of these segments."""
    goals = digest.goals
    of = {name: replace(digest.segments, metric=name).last[rows] for name in goals.metrics}
    if not goals.limits:
        return of, np.ones(len(rows), np.bool_)
    each = (dict(zip(of, row, strict=True)) for row in zip(*of.values(), strict=True))
    return of, np.array([goals.meets(values) for values in each], np.bool_)


def valued(digest: Digest) -> Booleans:
    """Which trials have a finite value: those of `ranking`, without their order."""
    return finite(digest.worse)


def finite(values: Floats) -> Booleans:
    """Which values are finite."""
    return np.asarray(np.isfinite(values), np.bool_)


def time_scale(digest: Digest) -> tuple[float, str]:
    """(factor from hours, unit) in which the run's length reads well."""
    return unit_of(digest.took_s / 3600)


def unit_of(hours: float) -> tuple[float, str]:
    """(factor from hours, unit) in which so many hours read well."""
    if hours < 0.05:
        return 3600.0, "seconds"
    return (60.0, "minutes") if hours < 3 else (1.0, "hours")
