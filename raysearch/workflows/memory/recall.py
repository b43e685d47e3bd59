"""What a new search takes from remembered ones, and which hyper-parameters mattered in which task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from raysearch.core.pareto import ranking
from raysearch.core.segment import Config, Mode
from raysearch.errors import SpecError
from raysearch.space.limits import Limit
from raysearch.space.names import dotted
from raysearch.space.objectives import Objectives, Standing, violation
from raysearch.space.space import Space
from raysearch.strategies.samplers.importance import normal_ranks
from raysearch.strategies.samplers.portfolio import box, neighbours, portfolio
from raysearch.strategies.samplers.transfer_settings import HURDLE_TASKS, Transfer
from raysearch.workflows.memory.curves import losses, turned_values

Floats = npt.NDArray[np.float64]
ROWS = 200  # of what past tasks say together
SIZE = 12  # of the portfolio
STALE = 0.5  # weight of a task whose settings were found stale since
LEAST = 10  # trials, below which a record says nothing


@dataclass(frozen=True)
class Record:
    """A remembered search: its configurations, how far each was trained, and the metric there.

    Attributes:
        task: what was trained on what; searches of one task replace one another.
        run: the folder that it was made from.
        space: in its YAML form.
        configs, iterations, values: of each trial: how far it came, and the metric there (NaN: it failed).
        at: Unix time at which it was added.
        importances: share of the variance that each hyper-parameter explained alone.
        verdict: of the last retest of its settings; empty before one.
        curves: of each trial (iteration, value) in rising order, as other tools noted them; may be empty.
        objectives, limits: of a search of several objectives, or of limits; empty for one metric alone.
        further: of every other metric that counted there, its value where `values` has the leading one's.
    """

    task: str
    run: str
    metric: str
    mode: Mode
    space: Mapping[str, Any]
    configs: Sequence[Config]
    iterations: Sequence[int]
    values: Sequence[float]
    at: float
    importances: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    curves: Sequence[Sequence[tuple[int, float]]] = ()
    objectives: Mapping[str, Mode] = field(default_factory=dict)
    limits: Sequence[str] = ()
    further: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def goals(self) -> Objectives:
        """What its search compared by."""
        return Objectives(self.objectives or {self.metric: self.mode}, tuple(map(Limit, self.limits)))

    @property
    def weight(self) -> float:
        """Weight of the task among the others."""
        return STALE if self.verdict == "stale" else 1.0

    @property
    def scores(self) -> Floats:
        """Ranks, 0 the best. Shape (trials,).

        With curves any two trials are compared where the shorter one ended. Without, those that came further
        are before others, as in a search that trains its best on; then by value. Of several objectives, or
        with limits, those that came as far are ranked by limits, fronts and spread (`core.pareto`).
        """
        if not self.goals.is_plain:
            return self._ranks_by_goals()
        turned = turned_values(self.values, self.mode)
        lost = losses(self.curves, self.iterations, turned, self.mode) if self.curves else np.zeros(1)
        order = np.lexsort((turned, -np.asarray(self.iterations), np.broadcast_to(lost, turned.shape)))
        ranks = np.empty(len(order))
        ranks[order] = np.arange(len(order))
        return ranks

    def _ranks_by_goals(self) -> Floats:
        columns = {self.metric: self.values, **self.further}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        standings = [self.goals.standing_of(row) for row in rows]
        points = np.zeros((len(rows), len(self.goals.modes)))
        for at, one in enumerate(standings):
            if isinstance(one, Standing):
                points[at] = one.values
        iterations, ranks, before = np.asarray(self.iterations), np.empty(len(rows)), 0
        beyond = np.array([violation(one) for one in standings])
        for level in np.unique(iterations)[::-1]:
            here = np.flatnonzero(iterations == level)
            ranks[here[ranking(beyond[here], points[here])]] = before + np.arange(len(here))
            before += len(here)
        return ranks


@dataclass(frozen=True)
class Recalled:
    """What a memory holds for a search.

    Attributes:
        transfer: to begin from; empty where nothing fits.
        used: tasks behind it.
        refused: (task, why) of those that do not fit.
        notes: what is missing, in words.
    """

    transfer: Transfer
    used: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()


def recall(
    records: Sequence[Record],
    space: Space,
    metric: str,
    mode: Mode,
    size: int = SIZE,
    but: str = "",
    goals: Objectives | None = None,
) -> Recalled:
    """The transfer from remembered searches to a new one: a portfolio, and from three tasks on a box.

    Args:
        but: a task to leave out.
        goals: what the new search compares by, where that is more than the metric. It learns from searches
            of the same objectives and limits: their portfolio and box, not what they expect of a point.
    """
    goals = goals or Objectives({metric: mode})
    kept: list[tuple[Record, Floats, Floats, list[Config]]] = []
    refused = []
    newest = {r.task: r for r in sorted(records, key=lambda r: r.at)}
    for record in newest.values():
        if record.task == but:
            continue
        why = why_not(record, space, goals)
        rows = [] if why else [i for i, c in enumerate(record.configs) if space.allows(c)]
        if not why and len(rows) < LEAST:
            why = f"only {len(rows)} of its {len(record.configs)} configurations lie in this space"
        if why:
            refused.append((record.task, why))
            continue
        configs = [record.configs[i] for i in rows]
        kept.append((record, space.encode_many(configs), record.scores[rows], configs))
    notes = _remarks(len(records) - len(newest), len(kept))
    transfer = _transfer(kept, space, size)
    if not goals.is_plain:  # both are of one score
        transfer = dataclasses.replace(transfer, expected=(), tasks=0)
    return Recalled(transfer, tuple(r.task for r, *_ in kept), tuple(refused), tuple(notes))


def why_not(record: Record, space: Space, goals: Objectives) -> str:
    """Why a record does not apply to this search; empty if it applies."""
    if sought(record.goals) != sought(goals):
        return f"it was searched for {sought(record.goals)}, this is {sought(goals)}"
    try:
        theirs = Space.from_dict(record.space)
    except SpecError as error:
        return f"its space cannot be read: {error}"
    missing = [n for n in space.free if n not in theirs.domains]
    more = [n for n in theirs.free if n not in space.domains]
    if missing or more:
        return "its space is another: " + "; ".join(
            f"{what} {', '.join(names)}"
            for what, names in (("it has no", missing), ("it has also", more))
            if names
        )
    return ""


def sought(goals: Objectives) -> str:
    """What a search compares by: `loss (min), latency (min) within latency <= 20`."""
    modes = ", ".join(f"{dotted(name)} ({mode})" for name, mode in goals.modes.items())
    return f"{modes} within {'; '.join(one.text for one in goals.limits)}" if goals.limits else modes


def importance_everywhere(records: Sequence[Record]) -> dict[str, float]:
    """The mean importance of each hyper-parameter over the tasks that know it, largest first."""
    found: dict[str, list[float]] = {}
    for record in records:
        for name, share in record.importances.items():
            found.setdefault(name, []).append(share)
    means = {name: float(np.mean(shares)) for name, shares in found.items()}
    return dict(sorted(means.items(), key=lambda pair: -pair[1]))


def importance_table(records: Sequence[Record], task: str = "") -> list[dict[str, Any]]:
    """A row a hyper-parameter: its mean share over all tasks, the least and most of any, and `task`'s."""
    rows = []
    for name, mean in importance_everywhere(records).items():
        shares = {r.task: r.importances[name] for r in records if name in r.importances}
        row = {
            "hyper-parameter": name,
            "everywhere": mean,
            "least": min(shares.values()),
            "most": max(shares.values()),
            "tasks": len(shares),
        }
        if task:
            row["here"] = shares.get(task, float("nan"))
        rows.append({**row, "mattered": _where(shares, task)})
    return rows


def _remarks(older: int, kept: int) -> list[str]:
    notes = []
    if older:
        what = "search of the same task is" if older == 1 else "searches of the same tasks are"
        notes.append(f"{older} older {what} not used")
    if 0 < kept < HURDLE_TASKS:
        tasks = "task" if kept == 1 else "tasks"
        notes.append(f"{kept} past {tasks}: a portfolio, but no box and no hurdle, which need {HURDLE_TASKS}")
    return notes


def _where(shares: Mapping[str, float], task: str) -> str:
    """In words: everywhere, only here, nowhere, or in so many tasks."""
    strong = [t for t, s in shares.items() if s >= 0.1]
    if len(strong) == len(shares) and len(shares) > 1:
        return "everywhere"
    if not strong:
        return "nowhere much"
    if strong == [task]:
        return "only here"
    return f"in {len(strong)} of {len(shares)}"


def _transfer(
    kept: Sequence[tuple[Record, Floats, Floats, list[Config]]], space: Space, size: int
) -> Transfer:
    if not kept or not space.dimension:
        return Transfer()
    points, scores = [p for _, p, _, _ in kept], [s for _, _, s, _ in kept]
    chosen = portfolio(points, scores, [r.weight for r, *_ in kept], space.is_categorical, size)
    entries = [
        {"config": dict(kept[t][3][row]), "why": f"the best of {kept[t][0].task}, number {n}"}
        for n, (t, row) in enumerate(chosen, 1)
    ]
    sound = [i for i, (r, *_) in enumerate(kept) if r.verdict != "stale"]
    bounds = box([points[i] for i in sound], [scores[i] for i in sound], space)
    tasks = 0 if len(sound) < HURDLE_TASKS else len(kept)
    expected = _expected(points, scores, [r.weight for r, *_ in kept], space)
    return Transfer(entries, bounds, tasks, expected=expected)


def _expected(
    points: Sequence[Floats], scores: Sequence[Floats], weights: Sequence[float], space: Space
) -> list[list[float]]:
    """Of up to ROWS points the mean normal score over all tasks: each task's best, and others."""
    z = [normal_ranks(s) for s in scores]
    each = max(4, ROWS // (2 * len(points)))
    chosen = []
    for task, (p, zs) in enumerate(zip(points, z, strict=True)):
        order = np.argsort(zs, kind="stable")
        rest = np.random.default_rng((ROWS, task)).permutation(order[each:])
        chosen.append(p[np.concatenate([order[:each], rest[:each]])])
    x = np.concatenate(chosen)
    means = np.average(
        [neighbours(p, zs, x, space.is_categorical) for p, zs in zip(points, z, strict=True)],
        axis=0,
        weights=weights,
    )
    return [[round(float(v), 3) for v in (m, *row)] for m, row in zip(means, x, strict=True)]
