"""What a run found: the winner, tables, curves, lineage. Reads the run's journal and changes nothing.

    results = raysearch.load("runs/digits")        # finished, interrupted or still going on
    results.best.config
    print(results.verdict())

The value of a trial is the metric's last value at its highest iteration. The best trial is, among those
that ended well with a finite value, the best of the ones trained the longest; after a finish, the
finalist with the best mean over fresh seeds. Each table is a pandas frame.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.core.reserved_names import column_of
from raysearch.core.segment import Config, Mode
from raysearch.errors import JournalError, RaysearchWarning, RunError
from raysearch.results.columns import Segments, Trials
from raysearch.results.frames import (
    curve_frame,
    line_frame,
    lineage_frame,
    schedule_frame,
    segment_frame,
    trial_frame,
)
from raysearch.results.front import goal_columns, violations_of
from raysearch.results.judged import Judged
from raysearch.results.model import Model, model_of
from raysearch.results.plots.digest import Digest
from raysearch.results.plots.gallery import Gallery
from raysearch.results.remarks import remarks
from raysearch.results.run_clock import Lives
from raysearch.results.run_folder import check_run, read_spec
from raysearch.results.run_rows import RunRows
from raysearch.storage.journal.reading import read_events
from raysearch.storage.journal.schema import JournalEvent
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    import pandas as pd

    from raysearch.results.growing import JournalLook


@dataclass(frozen=True)
class Results(Judged):
    """The results of the run in a folder, as they are at the first look; `load` again for newer ones.

    >>> results = raysearch.load("runs/digits")
    >>> results.metric, results.mode, len(results.trials())
    ('loss', 'min', 8)

    Raises:
        RunError: there is no run in the folder, or it does not say its metric.
    """

    path: Path
    metric: str
    mode: Mode
    spec: dict[str, Any] = field(repr=False, hash=False)
    _root: Path = field(repr=False, compare=False)  # absolute: it is read later, maybe from another folder
    _look: JournalLook | None = field(repr=False, compare=False)  # at a journal that was read already

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        metric: str | None = None,
        mode: Mode | None = None,
        look: JournalLook | None = None,
    ) -> None:
        paths = RunPaths(path)
        check_run(paths)
        spec = read_spec(paths)
        leading = next(iter((spec.get("objectives") or {}).items()), (None, None))
        metric, mode = metric or spec.get("metric") or leading[0], mode or spec.get("mode") or leading[1]
        if metric is None or mode not in ("min", "max"):
            raise RunError(f"{paths.spec}: says metric = {metric!r}, mode = {mode!r}; mode is min or max")
        root = Path(path).absolute()
        fields = {"path": Path(path), "metric": metric, "mode": mode, "spec": spec, "_root": root}
        for name, value in {**fields, "_look": look}.items():
            object.__setattr__(self, name, value)

    def end_of(self, trial: int) -> tuple[Config, Model | None]:
        """(configuration, model) of a trial, or of a training of the finish, at its last iteration.

        The model is None where no checkpoint of it is kept.

        >>> config, model = results.end_of(0)
        >>> config
        {'lr': 0.5}

        Raises:
            RunError: there is no such trial.
        """
        row = self._rows.leaf_of(trial)
        (config,) = self._rows.segments.configs([row])
        return config, model_of(self._rows, self._root, row)

    # ------------------------------------------------------------------ tables

    def trials(self, finals: bool = False, lines: bool = False) -> pd.DataFrame:
        """One row a trial, by number; those of the finish only if `finals`.

        With `lines`, of raised models one row a line: from a fresh model to its end, without the probes that
        lost and the stretches that were taken back; its trial is the one that it ended as.

        Columns: trial, status, value, best_value, iterations, segments, seconds, role, source, config.*
        (of its last segment), reason, checkpoint and error (of its last segment). Where the space was
        edited, also `fits`: whether the configuration lies in it now. With several objectives or limits
        `value` is of the leading objective, and the others, and `violation`, are columns of their own; with
        several also `front`: whether the trial is on the front, that of the finish where there was one.

        >>> results.trials()[["trial", "iterations", "value", "config.lr"]].head(3).round(3)
           trial  iterations  value  config.lr
        0      0           9  0.587      0.500
        1      1           9  0.528      0.160
        2      2           3  0.897      0.468
        """
        rows = self._rows
        if lines and self.raised is not None:
            return line_frame(rows.segments, [rows.way_to(int(row)) for row in rows.lines])
        trials = Trials.group(rows.segments, rows.every) if finals else rows.trials
        further = {} if self.goals.is_plain else goal_columns(trials, self.goals)
        columns: dict[str, Any] = {column_of(name): values for name, values in further.items()}
        if self.goals.several and self.raised is None:
            columns["front"] = np.isin(trials.numbers, [member.trial for member in self.front])
        frame = trial_frame(trials, columns)
        return frame.assign(fits=~frame["trial"].isin(self.unfit)) if self.unfit else frame

    def segments(self) -> pd.DataFrame:
        """One row a segment, in the order in which they ended, those of the finish too.

        Columns: segment (as `12.3`), id, trial, parent, role, status, source, start, stop, reached, value,
        best_value, seconds, finished_at, seed, done, config.*, reason, worker, checkpoint, error.

        >>> results.segments()[["segment", "start", "stop", "reason"]].head(3)
          segment  start  stop                         reason
        0     0.0      0     1                   the baseline
        1     0.1      1     3  rung 1: rank 1 of 1, promoted
        2     0.2      3     9  rung 3: rank 1 of 1, promoted
        """
        return segment_frame(self._rows.segments, self._rows.every)

    def curves(self, finals: bool = False) -> pd.DataFrame:
        """One row an iteration: trial, segment (its id), iteration, and a column for each metric.

        By trial and iteration; NaN where a metric was not reported. Those of the finish only if `finals`.
        A metric called trial, segment or iteration is the column `metric.iteration` and so on. What Ray Tune
        itself writes into every report (pid, timestamp, time_total_s, training_iteration, ...) is not kept,
        also where a trainable reports something of its own under such a name.

        >>> results.curves().head(3).round(3)
           trial  segment  iteration   loss
        0      0        0          1  1.100
        1      0        1          2  1.010
        2      0        1          3  0.929
        """
        segments, rows = self._rows.segments, self._rows.every if finals else self._rows.searched
        trials, starts = segments.integers("trial")[rows], segments.integers("start")[rows]
        return curve_frame(segments, rows[np.lexsort((starts, trials))])

    def finals(self) -> pd.DataFrame:
        """One row a training of the finish: the columns of `segments()`, by role, source and seed.

        >>> results.finals().groupby(["role", "source"], sort=False)["value"].mean().round(3)
        role      source
        finalist  0         0.587
                  1         0.528
                  5         0.396
        baseline  0         0.587
        Name: value, dtype: float64
        """
        frame = segment_frame(self._rows.segments, self._rows.finals)
        order = ["role", "source", "seed"]
        return frame.sort_values(order, ascending=[False, True, True], ignore_index=True)

    def lineage(self, trial: int | None = None) -> pd.DataFrame:
        """How the models came about; the columns of `segments()` and `event`, `words`, `depth`, `on_path`.

        With a trial: the segments from a fresh model to its end. Without: all of the search, in the order
        in which they ended. `event` is what was decided (start, nudge, accept, reject, rollback,
        promotion, ...; empty for a trial that was merely sampled) and `words` why, `depth` counts segments
        from the root, and `on_path` says what led to the best trial (nothing did while none ended well).

        Raises:
            RunError: there is no such trial.

        >>> results.lineage(results.best.trial)[["segment", "start", "stop", "words"]]
          segment  start  stop                          words
        0     5.0      0     1   new trial from sampler sobol
        1     5.1      1     3  rung 1: rank 1 of 6, promoted
        2     5.2      3     9  rung 3: rank 1 of 4, promoted
        """
        segments, rows = self._rows.segments, self._rows.searched
        if trial is not None:
            rows = np.array(self._rows.path_to(trial), np.int64)
            return lineage_frame(segments, set(rows.tolist()), rows)
        try:
            path = set(self._rows.path_to(self.best.trial))
        except RunError:
            path = set()
        return lineage_frame(segments, path, rows)

    def configs(self, trial: int) -> list[Config]:
        """The whole configuration of each segment from a fresh model to the end of this trial.

        >>> results.configs(0)
        [{'lr': 0.5}, {'lr': 0.5}, {'lr': 0.5}]

        Raises:
            RunError: there is no such trial.
        """
        return [dict(config) for config in self._rows.segments.configs(self._rows.path_to(trial))]

    def configs_by_trial(self) -> dict[int, Config]:
        """The configuration of each trial of the search, that of its last segment.

        >>> results.configs_by_trial()[0]
        {'lr': 0.5}
        """
        trials = self._rows.trials
        configs = self._rows.segments.configs(trials.leaves)
        return dict(zip(trials.numbers.tolist(), map(dict, configs), strict=True))

    def schedule(self, trial: int) -> pd.DataFrame:
        """Which configuration held from which iteration to which, on the way to the end of this trial.

        Columns: start, stop, trial, config.*, used.*, held.*, reason. Segments that follow each other with
        one configuration are one row: what optimizers held at its first step, and at its last.

        Raises:
            RunError: there is no such trial.

        >>> results.schedule(0)
           start  stop  trial  config.lr        reason
        0      0     9      0        0.5  the baseline
        """
        return schedule_frame(self.lineage(trial), self.configs(trial))

    def events(self) -> Iterator[JournalEvent]:
        """What happened to the run besides outcomes: its spec, its starts, edits and ends.

        >>> [event.kind for event in results.events()][:3]
        ['spec', 'start', 'end']
        """
        return iter(self._events)

    @cached_property
    def _events(self) -> tuple[JournalEvent, ...]:
        return tuple(read_events(RunPaths(self._root).journal)) if self._look is None else self._look.events

    # ------------------------------------------------------------------ figures

    @cached_property
    def digest(self) -> Digest:
        """The run as the figures see it: its columns, its ranking, the way to its best trial.

        >>> results.digest.name, results.digest.metric
        ('digits', 'loss')
        """
        best, path, segments = None, [], self._rows.segments
        try:
            number = self.best.trial
        except RunError:
            number = -1
        at = np.flatnonzero(self._rows.trials.numbers == number)
        if len(at):
            best, path = int(at[0]), self._rows.path_to(number)
        name = str(self.spec.get("name", self.path.name))
        lives = Lives.of(self._events, segments.floats("finished_at"))
        return Digest(
            name=name,
            metric=self.metric,
            mode=self.mode,
            segments=segments,
            trials=self._rows.trials,
            best=best,
            path=path,
            verdict=self.verdict(),
            spec=self.spec,
            lives=lives,
            front=None if self.goals.is_plain or self.raised is not None else self.front,
            violations=violations_of if self._look is None else self._look.violations,
        )

    @cached_property
    def plot(self) -> Gallery:
        """The figures, for a notebook: `results.plot.progress()`, `.curves()`, `.parallel()`, ...

        >>> figure = results.plot.progress()  # a plotly figure
        >>> figure.layout.yaxis.title.text
        'loss (lower is better)'
        """
        return Gallery(self.digest) if self._look is None else Gallery(self.digest, self._look.importance)

    @cached_property
    def _rows(self) -> RunRows:
        if self._look is not None:
            segments = self._look.segments(self.metric, self.mode)
        else:
            segments = Segments.read(RunPaths(self._root).journal, self.metric, self.mode)
        return RunRows(self.path, segments, self.raised is not None, self.abilities.max_iterations)


def load(path: str | os.PathLike[str]) -> Results:
    """The results of the run in this folder, whether it is finished, interrupted or still going on.

    A RaysearchWarning tells of each file that can be read and is not as it was left; commands print a note.

    >>> raysearch.load("runs/digits").best.trial
    5

    Raises:
        RunError: there is no run in the folder.
    """
    results = Results(path)
    with contextlib.suppress(JournalError):  # raised again by whatever reads the journal
        for text in remarks(results._root):
            warnings.warn(text, RaysearchWarning, stacklevel=2)
    return results
