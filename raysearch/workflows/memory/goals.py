"""Objectives and limits in a memory's records: further fields of what a file says of its search.

Such records are of version 2: a raysearch that knows version 1 alone refuses them, and does not take them for
searches of the leading objective.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysearch.results.rung_scores import scores_of
from raysearch.space.limits import Limit
from raysearch.space.space import Space
from raysearch.spec.goals import read_objectives

if TYPE_CHECKING:
    from raysearch.results.results import Results
    from raysearch.workflows.memory.recall import Record

VERSION = 2
FIELDS = ("objectives", "limits", "further")


def goals_of(results: Results, space: Space, ends: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The fields of a record: objectives, limits, and the values of all metrics besides the leading one.

    Args:
        ends: (row, level) of each trial in `scores_of`, where it ended.

    Returns:
        Nothing for one metric alone.
    """
    goals = results.goals
    if goals.is_plain:
        return {}
    further = {}
    for name in goals.metrics[1:]:
        mode = goals.modes.get(name, "min")
        scores = scores_of(type(results)(results.path, metric=name, mode=mode), space).scores
        sign = 1.0 if mode == "min" else -1.0
        found = [sign * float(scores[at]) for at in ends]
        further[name] = [value if math.isfinite(value) else math.nan for value in found]
    objectives = dict(goals.modes) if goals.several else {}
    return {"objectives": objectives, "limits": [one.text for one in goals.limits], "further": further}


def goal_fields(record: Record) -> dict[str, Any]:
    """What a file says of them, as JSON takes it, and its version; nothing for one metric alone."""
    if record.goals.is_plain:
        return {}
    further = {
        name: [value if math.isfinite(value) else None for value in values]
        for name, values in record.further.items()
    }
    fields = {"objectives": dict(record.objectives), "limits": [*record.limits], "further": further}
    return {**fields, "version": VERSION}


def goals_in(meta: Mapping[str, Any], trials: int) -> dict[str, Any]:
    """The fields of a record in what a file says; nothing in one of one metric.

    Raises:
        ValueError, TypeError, KeyError, SpecError: it says what no record does.
    """
    if meta.get("version", 0) < VERSION:
        return {}
    objectives, limits, further = (meta[name] for name in FIELDS)
    values = {n: [math.nan if v is None else float(v) for v in column] for n, column in further.items()}
    if any(len(column) != trials for column in values.values()):
        raise ValueError("it has another number of values than of trials")
    for text in limits:
        Limit(text)
    modes = read_objectives(objectives) if objectives else {}
    return {"objectives": modes, "limits": tuple(limits), "further": values}
