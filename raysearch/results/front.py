"""The front of a run of several objectives: which trials nothing dominates, and what the finish says of them.

Without a finish the front is that of the search, of the trials that were trained the longest and are within
the limits; its values were picked for being good, so they are optimistic. After a finish it is that of the
means over fresh seeds, the baseline among them. Two members are apart where the interval of their paired
differences excludes zero in one objective (Student's t; level 1 - 0.05 / (pairs x objectives), Bonferroni).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from raysearch.core.formatting import number
from raysearch.core.nested import flat_names
from raysearch.core.pareto import Floats, chosen, non_dominated
from raysearch.core.segment import Config, trial_name
from raysearch.errors import SpecError, unknown
from raysearch.results.contenders import contenders
from raysearch.results.verdict import LEVEL, Contender, Estimate, estimate
from raysearch.space.expressions import compiled
from raysearch.space.limits import violation_of
from raysearch.space.names import dotted, flat_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from raysearch.results.columns import Integers, Trials
    from raysearch.results.run_rows import RunRows
    from raysearch.space.objectives import Objectives

Key = tuple[str, "int | None"]
VIOLATION = "violation"  # the column of tables


@dataclass(frozen=True, slots=True)
class FrontMember:
    """A trial of the front.

    Attributes:
        trial: of the search; for a baseline that no trial of the search has, -1.
        values: of every objective, and what limits speak of: the means over fresh seeds where there are some.
        estimates: of the same, with 95% intervals; empty without a finish.
        seeds: how many trainings on fresh seeds ended well; failed: how many did not.
        is_baseline: it is the configuration that the user trains with today.
    """

    trial: int
    config: Config
    values: Mapping[str, float]
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    seeds: int = 0
    is_baseline: bool = False
    failed: int = 0

    @property
    def name(self) -> str:
        """`trial 17`, or `the baseline`."""
        return "the baseline" if self.is_baseline else f"trial {trial_name(self.trial)}"


@dataclass(frozen=True, slots=True)
class Front:
    """The members of a front, by the leading objective, the best first.

    Attributes:
        members: none where nothing meets the limits.
        goals: what they were compared by.
        certified: whether they are means over fresh seeds.
        alike: pairs of members, by place, that the finish cannot tell apart in any objective.
        left: trials on the search's front that the finish did not train.
        nearest: what is said of the limits where nothing meets them.
        compared: how many ended well in every objective.
    """

    members: tuple[FrontMember, ...]
    goals: Objectives
    certified: bool = False
    alike: tuple[tuple[int, int], ...] = ()
    left: int = 0
    nearest: str = ""
    compared: int = 0

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[FrontMember]:
        return iter(self.members)

    def __getitem__(self, at: int) -> FrontMember:
        return self.members[at]

    def pick(self, where: str | None = None, weights: Mapping[str, float] | None = None) -> FrontMember:
        """The member to take: of those that meet `where`, the knee, or the best by weights (`pareto.chosen`).

        Args:
            where: a condition on objectives and hyper-parameters, such as `latency_ms < 15`.
            weights: objective -> how much it counts, from 0; those not named count 1.

        Raises:
            SpecError: an unknown name or a bad weight, or no member meets the condition.
        """
        if not self.members:
            raise SpecError(self.nearest or "the front has no members")
        found = [m for m in self.members if where is None or _meets(where, m)]
        if not found:
            shown = "; ".join(f"{m.name}: {self.goals.in_words(m.values)}" for m in self.members[:8])
            raise SpecError(f"--where {where!r}: no member of the front meets it: {shown}")
        return found[chosen(_points(self.goals, found), _weights(self.goals, weights))]

    def text(self) -> str:
        """The front in sentences."""
        goals = self.goals
        if not self.members:
            return self.nearest
        how = (
            "on fresh seeds" if self.certified else "as the search saw them, picked from many and optimistic"
        )
        count = f"{len(self)} member" + ("" if len(self) == 1 else "s")
        lines = [f"The front has {count}, {how}; {dotted(goals.leading)} leads."]
        lines += [f"{one.name.capitalize()}: {self._words(one)}." for one in self.members]
        lines += self._alike_lines()
        if self.left:
            trials = "1 trial" if self.left == 1 else f"{self.left} trials"
            lines.append(f"{trials} more on the search's front were not trained again: raise finish.top.")
        knee = self.pick().name
        return "\n".join(
            [*lines, f"Taken where one must be: {knee}, the knee; best --weights takes another."]
        )

    def _words(self, one: FrontMember) -> str:
        if not one.estimates:
            return self.goals.in_words(one.values)
        return ", ".join(f"{dotted(name)} {one.estimates[name]}" for name in self.goals.modes)

    def _alike_lines(self) -> list[str]:
        """Which members cannot be told apart: in groups where that holds of each pair, else in pairs."""
        if not self.certified or len(self) < 2:
            return []
        if not self.alike:
            return ["Every two of them are apart in at least one objective."]
        names, pairs = [one.name for one in self.members], set(self.alike)
        groups = [{a, b} for a, b in self.alike]
        for at in range(len(names)):
            for group in groups:
                if all((min(at, b), max(at, b)) in pairs for b in group - {at}):
                    group.add(at)
        found = sorted({tuple(sorted(group)) for group in groups})
        return [f"{_listed([names[i] for i in group]).capitalize()} cannot be told apart." for group in found]


def front_of(run: RunRows, goals: Objectives, unfit: Collection[int] = frozenset()) -> Front:
    """The front of a run; see the module."""
    searched = _searched(run, goals, unfit)
    finals = _certified(run, goals, unfit)
    if not finals:
        return _front(searched, goals)
    trained = {one.trial for one in finals}
    left = sum(one.trial not in trained for one in _front(searched, goals).members)
    front = _front(finals, goals)
    return dataclasses.replace(front, certified=True, alike=_alike(run, goals, front), left=left)


def finalists(
    run: RunRows, goals: Objectives, unfit: Collection[int] = frozenset()
) -> tuple[list[FrontMember], list[FrontMember]]:
    """(the configurations of the finish that ended well in every metric, those of them on the front)."""
    trained = _trained(run, goals, unfit)
    return trained, [*_front([one for one in trained if not one.failed], goals).members]


def values_of(run: RunRows, goals: Objectives) -> dict[str, Floats]:
    """Of each metric that counts the last value of every trial of the search, as `run.trials` has them."""
    return {name: metric_rows(run, goals, name).trials.values for name in goals.metrics}


def metric_rows(run: RunRows, goals: Objectives, name: str) -> RunRows:
    """The same rows, whose value is another metric's."""
    mode = goals.modes.get(name, "min")
    return dataclasses.replace(run, segments=dataclasses.replace(run.segments, metric=name, mode=mode))


def violations_of(numbers: Integers, columns: Mapping[str, Floats], goals: Objectives) -> Floats:
    """How far each trial is beyond the limits by its values; 0 within, +inf where that is unknown."""
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return np.array([violation_of(goals.excesses(row)) for row in rows], np.float64)


def goal_columns(
    trials: Trials,
    goals: Objectives,
    violations: Callable[[Integers, Mapping[str, Floats], Objectives], Floats] = violations_of,
) -> dict[str, Floats]:
    """Of some trials the metrics that count besides the leading one, and `violation` with limits."""
    ofs = {name: dataclasses.replace(trials.of, metric=name) for name in goals.metrics}
    columns = {name: dataclasses.replace(trials, of=of).values for name, of in ofs.items()}
    found = {name: values for name, values in columns.items() if name != goals.leading}
    if goals.limits:
        found[VIOLATION] = violations(trials.numbers, columns, goals)
    return found


def violation_at(run: RunRows, goals: Objectives, row: int) -> tuple[float, dict[str, float]]:
    """(how far the segment in this row is beyond the limits at its end, its values)."""
    values = {n: float(metric_rows(run, goals, n).segments.last[row]) for n in goals.metrics}
    return violation_of(goals.excesses(values)), values


# ---- inside


def _searched(run: RunRows, goals: Objectives, unfit: Collection[int]) -> list[FrontMember]:
    """The trials that ended well and were trained the longest."""
    trials = run.trials
    able = run.segments.having("status", "completed")[trials.leaves]
    columns = values_of(run, goals)
    for values in columns.values():
        able = able & np.isfinite(values)
    able = able & ~np.isin(trials.numbers, [*unfit])
    if not able.any():
        return []
    at = np.flatnonzero(able & (trials.levels == trials.levels[able].max()))
    configs = run.segments.configs(trials.leaves[at])
    return [
        FrontMember(int(trials.numbers[i]), config, {n: float(v[i]) for n, v in columns.items()})
        for i, config in zip(at.tolist(), configs, strict=True)
    ]


def _certified(run: RunRows, goals: Objectives, unfit: Collection[int]) -> list[FrontMember]:
    """The configurations of the finish of which no training failed."""
    return [one for one in _trained(run, goals, unfit) if not one.failed]


def _trained(run: RunRows, goals: Objectives, unfit: Collection[int]) -> list[FrontMember]:
    """The configurations of the finish with their means; none that ended well is none at all."""
    found = _contenders(run, goals, unfit)
    leading = found[goals.leading]
    members = []
    for key, one in leading.items():
        estimates = {name: found[name][key].estimate for name in goals.metrics}
        if not all(math.isfinite(e.mean) for e in estimates.values()):
            continue
        values = {name: e.mean for name, e in estimates.items()}
        trial = -1 if one.source is None else one.source
        of = one.estimate.n, one.role == "baseline", one.failed
        members.append(FrontMember(trial, one.config, values, estimates, *of))
    configs = [dict(m.config) for m in members if not m.is_baseline]
    return [m for m in members if not (m.is_baseline and dict(m.config) in configs)]


def _contenders(run: RunRows, goals: Objectives, unfit: Collection[int]) -> dict[str, dict[Key, Contender]]:
    """Of every metric that counts, the contenders of the finish by role and source."""
    return {
        name: {(c.role, c.source): c for c in contenders(metric_rows(run, goals, name), unfit)}
        for name in goals.metrics
    }


def _front(found: Sequence[FrontMember], goals: Objectives) -> Front:
    within = [one for one in found if goals.meets(one.values)]
    if not within:
        return Front((), goals, nearest=_nearest(found, goals), compared=len(found))
    points = _points(goals, within)
    front = [within[int(row)] for row in np.flatnonzero(non_dominated(points))]
    front.sort(key=lambda one: (goals.turned(one.values), one.trial))
    return Front(tuple(front), goals, compared=len(found))


def _nearest(found: Sequence[FrontMember], goals: Objectives) -> str:
    if not found:
        return "No trial ended well in every objective."
    distance = [violation_of(goals.excesses(one.values)) for one in found]
    at = min(range(len(found)), key=lambda i: (distance[i], i))
    nearest, share = found[at], number(100 * distance[at], 2)
    where = goals.beyond(nearest.values)
    return f"No trial meets the limits; the nearest is {nearest.name}, {share}% beyond: {where}."


def _alike(run: RunRows, goals: Objectives, front: Front) -> tuple[tuple[int, int], ...]:
    """The pairs of members of the front of the finish that no objective tells apart."""
    members = front.members
    found = _contenders(run, goals, frozenset())
    pairs = [*itertools.combinations(range(len(members)), 2)]
    level = 1 - (1 - LEVEL) / max(1, len(pairs) * len(goals.modes))

    def values(at: int, name: str) -> Mapping[int, float]:
        one = members[at]
        for (role, source), contender in found[name].items():
            if source == (None if one.trial < 0 else one.trial) and (role == "baseline") == one.is_baseline:
                return contender.values
        return {}

    return tuple(
        (a, b) for a, b in pairs if not any(_apart(values(a, n), values(b, n), level) for n in goals.modes)
    )


def _apart(mine: Mapping[int, float], other: Mapping[int, float], level: float) -> bool:
    """Whether paired differences are not zero: beyond their interval, or the same for every seed."""
    differences = [mine[seed] - other[seed] for seed in mine if seed in other]
    if len(differences) < 2:
        return False
    found = estimate(differences, level)
    return found.low > 0 or found.high < 0


def _points(goals: Objectives, members: Sequence[FrontMember]) -> Floats:
    return np.array([goals.turned(one.values) for one in members], np.float64)


def _weights(goals: Objectives, weights: Mapping[str, float] | None) -> list[float]:
    known = {dotted(name): name for name in goals.modes}
    given: dict[str, float] = {}
    for name, weight in (weights or {}).items():
        if dotted(name) not in known:
            raise SpecError(f"--weights: {unknown('objective', dotted(name), known)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise SpecError(f"--weights: {dotted(name)} = {weight!r} must be a number from 0")
        given[known[dotted(name)]] = weight
    found = [given.get(name, 1.0) for name in goals.modes]
    if not any(found):
        raise SpecError("--weights: at least one objective must count")
    return found


def _meets(where: str, member: FrontMember) -> bool:
    """Whether a member meets a condition on its values and its configuration."""
    flat = flat_names(member.config, "/")
    known = {**{f"config/{name}": value for name, value in flat.items()}, **flat, **member.values}
    asked = compiled(where, "--where")
    meant = {name: flat_name(name, known) for name in asked.names}
    for name, place in meant.items():
        if place not in known:
            raise SpecError(f"--where: {unknown('name', dotted(name), map(dotted, known))}")
    try:
        return bool(asked.value({name: known[place] for name, place in meant.items()}))
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, SpecError):
            raise
        return False


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
