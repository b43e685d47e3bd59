"""Runs of W&B, as JSON lines or Parquet: id, config, summary, state and, where there is one, history.

A line is a run: {"id": "...", "state": "finished", "config": {...}, "summary": {...}, "history": [{...}]}.
`raysearch memory import wandb:ENTITY/PROJECT` fetches the same lines from the server.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from raysearch.core.values import show
from raysearch.errors import SpecError
from raysearch.interop.history.past import NAN, Asked, Past, PastTrial, flat, json_lines, number_of, rising

STEP = "_step"
RUNNING = ("running", "pending", "preempting")
DIED = ("crashed", "failed", "killed", "preempted")


def read_lines(source: Path, asked: Asked) -> Past:
    """The history of runs in a file of JSON lines. Raises SpecError."""
    return _past(source, asked, [*json_lines(source)])


def read_rows(source: Path, asked: Asked, rows: Iterable[Mapping[str, Any]]) -> Past:
    """The history of runs in the rows of a Parquet file. Raises SpecError."""
    return _past(source, asked, [dict(row) for row in rows])


def _past(source: Path, asked: Asked, runs: list[dict[str, Any]]) -> Past:
    counter = asked.iteration or STEP
    histories = [_history(source, run) for run in runs]
    summaries = [flat(_mapping(source, run, "summary")) for run in runs]
    known: Counter[str] = Counter()
    for summary, history in zip(summaries, histories, strict=True):
        names = {name for row in history[:1] + history[-1:] for name in row} | {*summary}
        known.update(name for name in names if not name.startswith("_"))
    metric = asked.needed_metric(source, known)
    left_out: Counter[str] = Counter()
    trials = []
    for run, summary, history in zip(runs, summaries, histories, strict=True):
        state = str(run.get("state") or "finished").lower()
        points = {number_of(row.get(counter)): number_of(row[metric]) for row in history if metric in row}
        curve = rising(points)
        value = number_of(summary.get(metric)) if metric in summary else curve[-1][1] if curve else None
        if state in RUNNING:
            left_out["not ended"] += 1
        elif value is None:
            left_out[f"it never reported {metric}"] += 1
        else:
            config = _config(_mapping(source, run, "config"))
            trials.append(PastTrial(config, NAN if state in DIED else value, curve))
    return Past(
        name=source.stem,
        trials=tuple(trials),
        metric=metric,
        counts=counter if any(trial.curve for trial in trials) else "",
        left_out=left_out,
    )


def _mapping(source: Path, run: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A run's config or summary; a text is read as JSON, as tables keep it."""
    value = _unpacked(source, name, run.get(name)) or {}
    if not isinstance(value, Mapping):
        raise SpecError(f"{source.name}: {name} {show(value)} is no mapping")
    return {str(key): one for key, one in value.items() if one is not None or name == "config"}


def _history(source: Path, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = _unpacked(source, "history", run.get("history"))
    rows = [] if rows is None else rows
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise SpecError(f"{source.name}: history {show(rows)} is no list of mappings")
    return [{n: v for n, v in flat(row).items() if v is not None} for row in rows]


def _unpacked(source: Path, name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source.name}: {name} is no JSON: {error}") from None


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without W&B's own entries; `{"lr": {"value": 0.1}}` is read as `{"lr": 0.1}`."""
    own = {name: value for name, value in config.items() if not name.startswith("_")}
    return {name: value["value"] if _is_wrapped(value) else value for name, value in own.items()}


def _is_wrapped(value: Any) -> bool:
    return isinstance(value, Mapping) and "value" in value and set(value) <= {"value", "desc"}
