"""What a run found: the winner, tables, curves, lineage. Reads the run's journal and changes nothing.

    results = raysearch.load("runs/digits")        # finished, interrupted or still going on
    results.best.config
    print(results.verdict())

The value of a trial is the metric's last value at its highest iteration. The best trial is, among those
that ended well with a finite value, the best of the ones trained the longest; after a finish, the
finalist with the best mean over fresh seeds. Each table is a pandas frame.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from raysearch.core.segment import Config, Mode, trial_name
from raysearch.errors import RunError, unknown
from raysearch.results.columns import (
    Integers,
    Segments,
    Trials,
    curve_frame,
    segment_frame,
    trial_frame,
    with_events,
)
from raysearch.results.plots.digest import Digest
from raysearch.results.plots.gallery import Gallery
from raysearch.results.run_clock import Lives
from raysearch.results.verdict import Contender, Verdict, judge
from raysearch.space.space import Space
from raysearch.storage.checkpoints.remote import checkpoints_of
from raysearch.storage.journal.reading import read_events
from raysearch.storage.journal.schema import Event
from raysearch.storage.mirror import shown
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    import pandas as pd

_FINALS = ("finalist", "baseline")


@dataclass(frozen=True, slots=True)
class Best:
    """The winner.

    Attributes:
        value: the metric of this trial in the search, after `iteration` iterations. It was picked for
            being the best, so it is optimistic; `mean` is not.
        checkpoint: folder of the model as it was then. Where a function saves only now and then: as it was
            when it saved last, after the iteration that `.raysearch.json` in the folder says. None if it was
            not kept, or the trainable writes none.
        mean: over fresh seeds, `seeds` of them; None without a finish.
        interval: of the mean, 95%; None with fewer than two seeds.
    """

    trial: int
    config: Config
    value: float
    iteration: int
    checkpoint: Path | None
    mean: float | None = None
    interval: tuple[float, float] | None = None
    seeds: int = 0


@dataclass(frozen=True)
class Results:
    """The results of the run in a folder, as they are at the first look; `load` again for newer ones.

    Raises:
        RunError: there is no run in the folder, or it does not say its metric.
    """

    path: Path
    metric: str
    mode: Mode
    spec: dict[str, Any] = field(repr=False, hash=False)
    _root: Path = field(repr=False, compare=False)  # absolute: it is read later, maybe from another folder

    def __init__(
        self, path: str | os.PathLike[str], *, metric: str | None = None, mode: Mode | None = None
    ) -> None:
        paths = RunPaths(path)
        _check_run(paths)
        spec = _read_spec(paths)
        metric, mode = metric or spec.get("metric"), mode or spec.get("mode")
        if metric is None or mode not in ("min", "max"):
            raise RunError(f"{paths.spec}: says metric = {metric!r}, mode = {mode!r}; mode is min or max")
        root = Path(path).absolute()
        fields = {"path": Path(path), "metric": metric, "mode": mode, "spec": spec, "_root": root}
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    # ------------------------------------------------------------------ the winner

    @property
    def best(self) -> Best:
        """The winner.

        Raises:
            RunError: no trial ended well with a finite value; says how many failed, and of what first.
        """
        winner = self.verdict().winner
        if winner is not None:
            return self._crown(winner)
        ranking = [at for at in self._search.ranking() if int(self._search.numbers[at]) not in self.unfit]
        if not len(ranking):
            raise RunError(self._why_no_best())
        return self._best_at(int(ranking[0]))

    @cached_property
    def unfit(self) -> frozenset[int]:
        """Trials whose configuration does not lie in the space, which has been edited since; none is best."""
        if not any(event.kind == "edit" for event in self.events()):
            return frozenset()
        space, baseline = Space.from_dict(self.spec["space"]), self.spec.get("baseline")
        numbers, leaves = self._search.numbers.tolist(), self._search.leaves
        configs = self._segments.configs(leaves)
        return frozenset(
            number
            for number, config in zip(numbers, configs, strict=True)
            if config != baseline and not space.allows(config)
        )

    def verdict(self) -> Verdict:
        """What the finish says of the winner and its gain over the baseline."""
        return judge(self._contenders(), self.metric, self.mode, self.raised)

    @property
    def raised(self) -> int | None:
        """How many models the strategy raised side by side; None for one that picks from many trials."""
        strategy = self.spec.get("strategy", {})
        return {"panda": int(strategy.get("population") or 1), "two_stage": 1}.get(strategy.get("name"))

    def _crown(self, winner: Contender) -> Best:
        estimate = winner.estimate
        interval = None if math.isnan(estimate.low) else (estimate.low, estimate.high)
        at = np.flatnonzero(self._search.numbers == winner.source)
        # A final can repeat a trial that this journal does not hold.
        best = self._best_at(int(at[0])) if len(at) else self._best_of_finals(winner)
        return Best(
            best.trial,
            winner.config,
            best.value,
            best.iteration,
            best.checkpoint,
            estimate.mean,
            interval,
            estimate.n,
        )

    def _best_at(self, at: int) -> Best:
        trials = self._search
        row, value, iteration = int(trials.leaves[at]), float(trials.values[at]), int(trials.iterations[at])
        ended_well = self._segments.having("status", "completed")
        if not ended_well[row]:  # its value is of before it failed
            rows = trials.rows(at)
            well = rows[ended_well[rows] & np.isfinite(self._segments.last[rows])]
            row = int(well[-1]) if len(well) else row
            value, iteration = float(self._segments.last[row]), int(self._segments.reached[row])
        (config,) = self._segments.configs([row])
        return Best(int(trials.numbers[at]), config, value, iteration, self._checkpoint(row))

    def _best_of_finals(self, winner: Contender) -> Best:
        rows = [
            r for r in self._final_rows() if self._segments.table["source"][int(r)].as_py() == winner.source
        ]
        worse = [(-1 if self.mode == "max" else 1) * self._segments.last[r] for r in rows]
        row = int(rows[int(np.nanargmin(worse))])
        trial = int(self._segments.integers("trial")[row])
        value, iteration = float(self._segments.last[row]), int(self._segments.reached[row])
        return Best(trial, winner.config, value, iteration, self._checkpoint(row))

    def _checkpoint(self, row: int) -> Path | None:
        name = self._segments.table["checkpoint"][row].as_py()
        checkpoints = checkpoints_of(self._root)
        return checkpoints.path(name) if name is not None and checkpoints.exists(name) else None

    def failures(self) -> tuple[int, str]:
        """(how many of the search's trials failed, the error of the first of them or nothing)."""
        leaves = self._search.leaves
        failed = leaves[self._segments.having("status", "failed")[leaves]]
        errors = self._segments.table["error"].take(failed[:1]).to_pylist()
        return len(failed), str(errors[0] or "") if errors else ""

    def _why_no_best(self) -> str:
        trials = self._search
        if not len(trials):
            return f"{self.path}: no trial has ended yet"
        failed, first_error = self.failures()
        parts = [f"{self.path}: no trial ended well: {failed} of {len(trials)} failed"]
        diverged = self._segments.having("status", "diverged")[trials.leaves]
        if diverged.any():
            parts.append(f"{int(diverged.sum())} diverged ({self.metric} became NaN or infinite)")
        why = ", ".join(parts)
        if first_error:
            return f"{why}. The first error: {first_error}"
        reported = [name for name in self._segments.spans if name != self.metric]
        if self.metric not in self._segments.spans and reported:
            return f"{why}. {unknown('metric', self.metric, reported)}"
        return why

    # ------------------------------------------------------------------ tables

    def trials(self, finals: bool = False) -> pd.DataFrame:
        """One row a trial, by number; those of the finish only if `finals`.

        Columns: trial, status, value, best_value, iterations, segments, seconds, role, source, config.*
        (of its last segment), reason, checkpoint and error (of its last segment). Where the space was
        edited, also `fits`: whether the configuration lies in it now.
        """
        rows = np.arange(len(self._segments)) if finals else self._search_rows
        frame = trial_frame(Trials.group(self._segments, rows))
        return frame.assign(fits=~frame["trial"].isin(self.unfit)) if self.unfit else frame

    def segments(self) -> pd.DataFrame:
        """One row a segment, in the order in which they ended, those of the finish too.

        Columns: segment (as `12.3`), id, trial, parent, role, status, source, start, stop, reached, value,
        best_value, seconds, finished_at, seed, done, config.*, reason, worker, checkpoint, error.
        """
        return segment_frame(self._segments, np.arange(len(self._segments)))

    def curves(self, finals: bool = False) -> pd.DataFrame:
        """One row an iteration: trial, segment (its id), iteration, and a column for each metric.

        By trial and iteration; NaN where a metric was not reported. Those of the finish only if `finals`.
        A metric called trial, segment or iteration is the column `metric.iteration` and so on. What Ray Tune
        itself writes into every report (pid, timestamp, time_total_s, training_iteration, ...) is not kept,
        also where a trainable reports something of its own under such a name.
        """
        rows = np.arange(len(self._segments)) if finals else self._search_rows
        trials, starts = self._segments.integers("trial")[rows], self._segments.integers("start")[rows]
        return curve_frame(self._segments, rows[np.lexsort((starts, trials))])

    def finals(self) -> pd.DataFrame:
        """One row a training of the finish: the columns of `segments()`, by role, source and seed."""
        frame = segment_frame(self._segments, self._final_rows())
        order = ["role", "source", "seed"]
        return frame.sort_values(order, ascending=[False, True, True], ignore_index=True)

    def lineage(self, trial: int | None = None) -> pd.DataFrame:
        """How the models came about; the columns of `segments()` and `event`, `words`, `depth`, `on_path`.

        With a trial: the segments from a fresh model to its end. Without: all of the search, in the order
        in which they ended. `event` is what the reason begins with (start, nudge, accept, reject,
        rollback, ...; empty where it names none) and `words` the rest of it, `depth` counts segments
        from the root, and `on_path` says what led to the best trial (nothing did while none ended well).

        Raises:
            RunError: there is no such trial.
        """
        if trial is not None:
            rows = np.array(self._path_to(trial), np.int64)
            return with_events(segment_frame(self._segments, rows), set(rows.tolist()), rows)
        try:
            path = set(self._path_to(self.best.trial))
        except RunError:
            path = set()
        return with_events(segment_frame(self._segments, self._search_rows), path, self._search_rows)

    def configs(self, trial: int) -> list[Config]:
        """The whole configuration of each segment from a fresh model to the end of this trial.

        Raises:
            RunError: there is no such trial.
        """
        return [dict(config) for config in self._segments.configs(self._path_to(trial))]

    def configs_by_trial(self) -> dict[int, Config]:
        """The configuration of each trial of the search, that of its last segment."""
        configs = self._segments.configs(self._search.leaves)
        return dict(zip(self._search.numbers.tolist(), map(dict, configs), strict=True))

    def schedule(self, trial: int) -> pd.DataFrame:
        """Which configuration held from which iteration to which, on the way to the end of this trial.

        Columns: start, stop, trial, config.*, reason. Segments that follow each other with one
        configuration are one row. Raises RunError if there is no such trial.
        """
        lineage = self.lineage(trial)
        configs = self._segments.configs(self._path_to(trial))
        new = [i == 0 or configs[i] != configs[i - 1] for i in range(len(configs))]
        first = np.flatnonzero(new)
        names = [name for name in lineage.columns if name.startswith("config.")]
        schedule = lineage.iloc[first][["start", "stop", "trial", *names, "reason"]].reset_index(drop=True)
        schedule["stop"] = lineage["reached"].to_numpy()[[*first[1:] - 1, len(configs) - 1]]
        return schedule

    def events(self) -> Iterator[Event]:
        """What happened to the run besides outcomes: started, resumed, edited."""
        return read_events(RunPaths(self._root).journal)

    # ------------------------------------------------------------------ figures

    @cached_property
    def digest(self) -> Digest:
        """The run as the figures see it: its columns, its ranking, the way to its best trial."""
        best, path = None, []
        try:
            number = self.best.trial
        except RunError:
            number = -1
        at = np.flatnonzero(self._search.numbers == number)
        if len(at):
            best, path = int(at[0]), self._path_to(number)
        name = str(self.spec.get("name", self.path.name))
        lives = Lives.of(read_events(RunPaths(self._root).journal), self._segments.floats("finished_at"))
        return Digest(
            name=name,
            metric=self.metric,
            mode=self.mode,
            segments=self._segments,
            trials=self._search,
            best=best,
            path=path,
            verdict=self.verdict(),
            spec=self.spec,
            lives=lives,
        )

    @property
    def plot(self) -> Gallery:
        """The figures, for a notebook: `results.plot.progress()`, `.curves()`, `.parallel()`, ..."""
        return self._gallery

    @cached_property
    def _gallery(self) -> Gallery:
        return Gallery(self.digest)

    # ------------------------------------------------------------------ parts

    @cached_property
    def _segments(self) -> Segments:
        return Segments.read(RunPaths(self._root).journal, self.metric, self.mode)

    @cached_property
    def _search_rows(self) -> Integers:
        return np.flatnonzero(~self._segments.having("role", *_FINALS))

    @cached_property
    def _search(self) -> Trials:
        return Trials.group(self._segments, self._search_rows)

    def _final_rows(self) -> Integers:
        return np.flatnonzero(self._segments.having("role", *_FINALS))

    def _contenders(self) -> list[Contender]:
        """What was trained again for as long as any was: earlier, shorter finishes do not compare."""
        rows = self._final_rows()
        if not len(rows):
            return []
        picked = self._segments.table.take(rows)
        longest = max(picked["stop"].to_pylist())
        names = ("role", "source", "seed", "status", "stop", "error")
        values, configs = self._segments.last[rows].tolist(), self._segments.configs(rows)
        found: dict[tuple[str, int | None], Contender] = {}
        for row, value, config in zip(picked.select(names).to_pylist(), values, configs, strict=True):
            if row["stop"] < longest or row["status"] == "lost" or row["source"] in self.unfit:
                continue
            key = (row["role"], row["source"])
            old = found.get(key) or Contender(*key, config, {})
            value = value if row["status"] == "completed" else math.nan
            found[key] = Contender(
                *key, config, {**old.values, row["seed"]: value}, [*old.errors, row["error"]]
            )
        return [*found.values()]

    def _path_to(self, trial: int) -> list[int]:
        """Rows of the segments from the root to the trial's last."""
        every = Trials.group(self._segments, np.arange(len(self._segments)))
        at = np.flatnonzero(every.numbers == trial)
        if not len(at):
            look = f"raysearch trials {shown(self.path)}"
            raise RunError(f"{shown(self.path)}: there is no trial {trial_name(trial)}; {look} lists them")
        ids = self._segments.integers("id")
        order = np.argsort(ids, kind="stable")
        parents = self._segments.table["parent"]
        row: int | None = int(every.leaves[at[0]])
        path: list[int] = []
        while row is not None and row not in path:
            path.insert(0, row)
            row = _find(ids, order, parents[row].as_py())
        return path


def load(path: str | os.PathLike[str]) -> Results:
    """The results of the run in this folder, whether it is finished, interrupted or still going on.

    Raises:
        RunError: there is no run in the folder.
    """
    return Results(path)


def _find(ids: Integers, order: Integers, wanted: int | None) -> int | None:
    """The row with this id; None if there is none."""
    if wanted is None:
        return None
    at = int(np.searchsorted(ids, wanted, sorter=order))
    return int(order[at]) if at < len(ids) and ids[order[at]] == wanted else None


def _check_run(paths: RunPaths) -> None:
    if not paths.root.is_dir():
        raise RunError(f"{paths.root}: there is no such folder, so no run to load")
    if not paths.journal.is_dir():
        runs = [path.parent.name for path in sorted(paths.root.glob("*/journal"))[:5]]
        hint = f"; runs in it: {', '.join(runs)}" if runs else ""
        raise RunError(f"{paths.root}: not a run, it has no journal{hint}")


def _read_spec(paths: RunPaths) -> dict[str, Any]:
    try:
        spec = yaml.safe_load(paths.spec.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError) as error:
        raise RunError(f"{paths.spec}: cannot be read: {error}") from error
    if not isinstance(spec, dict):
        raise RunError(f"{paths.spec}: holds {type(spec).__name__}, not the fields of a spec")
    return spec
