"""Ray Tune's experiment folders, of the versions 2.44 to 2.60; what is pickled in them is left alone.

A trial's folder has `result.json`, a line a report, and `params.json`. Of `experiment_state-*.json` only the
trials' own state is read, which is JSON; Ray keeps metric, mode and search space in pickles: they are asked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.core.values import show
from raysearch.errors import SpecError
from raysearch.interop.history.past import NAN, Asked, Past, PastTrial, flat, json_lines, number_of, rising

RESULTS, PARAMS, STATE = "result.json", "params.json", "experiment_state-*.json"
ITERATION = "training_iteration"
OWN = frozenset(
    (
        "timestamp",
        "done",
        "date",
        "pid",
        "hostname",
        "node_ip",
        "config",
        "trial_id",
        "checkpoint_dir_name",
        "experiment_tag",
        "time_this_iter_s",
        "time_total_s",
        "time_since_restore",
        "iterations_since_restore",
        "should_checkpoint",
    )
)
CHANGED = "its hyper-parameters changed while it trained"


def is_experiment(source: Path) -> bool:
    """Whether a folder is one of an experiment."""
    return any(source.glob(f"*/{RESULTS}")) or any(source.glob(STATE))


def read_experiment(source: Path, asked: Asked) -> Past:
    """The history of an experiment.

    Raises:
        SpecError: a file cannot be read, or the metric is not asked for or not there.
    """
    folders = sorted(file.parent for file in source.glob(f"*/{RESULTS}"))
    if not folders:
        raise SpecError(f"{source}: no trial in it has reported: there is no {RESULTS} in any folder below")
    counter = asked.iteration or ITERATION
    reports = {folder: [*json_lines(folder / RESULTS)] for folder in folders}
    known = Counter(
        name
        for lines in reports.values()
        for name in {
            n for line in lines[:1] + lines[-1:] for n in flat(_own(line)) if n not in OWN and n != counter
        }
    )
    metric = asked.needed_metric(source, known)
    failed = _failed(source)
    left_out: Counter[str] = Counter()
    trials = []
    for folder, lines in reports.items():
        trial = _trial(folder, lines, metric, counter)
        if trial is None:
            left_out["no report"] += 1
        elif isinstance(trial, str):
            left_out[trial] += 1
        else:
            is_failed = (folder / "error.txt").exists() or _identity(lines) in failed
            trials.append(PastTrial(trial.config, NAN, trial.curve) if is_failed else trial)
    return Past(
        name=source.name,
        trials=tuple(trials),
        metric=metric,
        counts="iterations" if counter == ITERATION else counter,
        left_out=left_out,
    )


def _own(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "config"}


def _trial(folder: Path, lines: list[dict[str, Any]], metric: str, counter: str) -> PastTrial | str | None:
    """A trial; a reason in words for one that says nothing, None for one without reports."""
    if not lines:
        return None
    configs = {json.dumps(_numbers(line.get("config", {})), sort_keys=True) for line in lines}
    if len(configs) > 1:
        return CHANGED
    points = {}
    for line in lines:
        values = flat(_own(line))
        points[number_of(values.get(counter))] = number_of(values.get(metric))
    curve = rising(points)
    value = curve[-1][1] if curve else NAN
    return PastTrial(_params(folder, lines), value, curve)


def _numbers(config: Any) -> dict[str, Any]:
    """What of a configuration can change: functions are written as the address of this or that process."""
    values = flat(config) if isinstance(config, Mapping) else {}
    return {n: v for n, v in values.items() if not (isinstance(v, str) and v.startswith("<"))}


def _params(folder: Path, lines: list[dict[str, Any]]) -> Mapping[str, Any]:
    file = folder / PARAMS
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        read = lines[-1].get("config", {})
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{file}: {error}") from None
    if not isinstance(read, Mapping):
        raise SpecError(f"{file}: {show(read)} is no mapping of hyper-parameters")
    return read


def _identity(lines: list[dict[str, Any]]) -> str:
    return str(lines[-1].get("trial_id", "")) if lines else ""


def _failed(source: Path) -> set[str]:
    """Ids of the trials that the newest state of the experiment calls failed; none without a state."""
    states = sorted(source.glob(STATE))
    if not states:
        return set()
    try:
        held = json.loads(states[-1].read_text(encoding="utf-8"))["trial_data"]
        found = [json.loads(one[0]) if isinstance(one, list) else json.loads(one) for one in held]
        return {str(one["trial_id"]) for one in found if one.get("status") == "ERROR"}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise SpecError(f"{states[-1]}: no state of an experiment of Ray Tune's: {error!r}") from None
