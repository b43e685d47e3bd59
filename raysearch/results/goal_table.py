"""The configurations of a finish as a table with every objective: for `best`, the report and W&B."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raysearch.core.formatting import number
from raysearch.results.contenders import contenders
from raysearch.results.front import FrontMember, finalists
from raysearch.space.names import dotted

if TYPE_CHECKING:
    from raysearch.results.verdict import Estimate
    from raysearch.results.winner import Best
    from raysearch.space.objectives import Objectives

DIGITS = 5
WITHIN, ON_FRONT = "within", "yes"


def goal_header(goals: Objectives) -> tuple[str, ...]:
    """What the columns of `goal_rows` are called; the leading objective stands first."""
    means = [f"mean {dotted(name)} (95%)" for name in goals.metrics]
    limits = ("limits",) if goals.limits else ()
    return ("on fresh seeds", *means, *limits, *(("front",) if goals.several else ()), "seeds", "failed")


def goal_rows(results: Any) -> list[tuple[str, ...]]:
    """A row for each configuration of the finish: those on the front first, then by the leading objective.

    Means stand with their 95% intervals, and the limits are judged by the means. A configuration of which no
    training ended well comes last. No rows without a finish.
    """
    run, goals = results._rows, results.goals
    trained, on_front = finalists(run, goals, results.unfit)
    found = sorted(trained, key=lambda one: (one not in on_front, goals.turned(one.values), one.trial))
    rows = [_row(one, goals, one in on_front) for one in found]
    configs = [dict(one.config) for one in found]
    rest = [one for one in contenders(run, results.unfit) if dict(one.config) not in configs]
    blank = len(goal_header(goals)) - 3
    return rows + [(one.name, *["-"] * blank, str(len(one.finite)), str(one.failed)) for one in rest]


def others_of(results: Any, winner: Best) -> dict[str, float]:
    """What counts besides the leading objective, of the trial to take: means over fresh seeds, if any."""
    if results.goals.is_plain or results.raised is not None:
        return {}
    member = next((m for m in results.front if m.trial == winner.trial), None)
    if member is None:
        return {}
    return {name: value for name, value in member.values.items() if name != results.metric}


def interval(estimate: Estimate) -> str:
    """`0.31 (0.29 to 0.33)`; the mean alone where one training allows no interval."""
    mean = number(estimate.mean, DIGITS)
    if not math.isfinite(estimate.low):
        return mean
    return f"{mean} ({number(estimate.low, 4)} to {number(estimate.high, 4)})"


def _row(one: FrontMember, goals: Objectives, is_on_front: bool) -> tuple[str, ...]:
    cells: Sequence[str] = [interval(one.estimates[name]) for name in goals.metrics]
    beyond = goals.beyond(one.values)
    limits = (f"beyond {beyond}" if beyond else WITHIN,) if goals.limits else ()
    front = (ON_FRONT if is_on_front else "-",) if goals.several else ()
    return (one.name, *cells, *limits, *front, str(one.seeds), str(one.failed))
