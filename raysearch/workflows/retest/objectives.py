"""A retest of a run of several objectives, or of limits: it tests one of them, and weighs the others.

The pairs compare the tested settings with others by one objective, the leading one if none is named, with
the sequential test of one metric. Every training reports all of them, so a challenger that is found better
is then compared in the others on the same seeds. It is a trade and no gain where the 95% interval of its
paired differences in another objective excludes zero on the worse side, or where its mean is beyond a limit;
then the settings stay.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.formatting import number
from raysearch.core.segment import Mode, Outcome, Status
from raysearch.errors import SpecError, unknown
from raysearch.results.verdict import estimate
from raysearch.space.names import dotted
from raysearch.space.objectives import Objectives
from raysearch.spec.search_spec import SearchSpec, load_spec
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    from raysearch.strategies.retest.conclusion import Judgement

Training = tuple[int, int]  # iterations, seed
Values = Mapping[int, Mapping[Training, Mapping[str, float]]]  # arm -> training -> metric -> its last value


def objective_of(goals: Objectives, name: str | None) -> tuple[str, Mode]:
    """(the objective that is tested, its mode); the leading one if none is named.

    Raises:
        SpecError: it is no objective of the run.
    """
    named = {dotted(one): one for one in goals.modes}
    if name is not None and name not in named:
        raise SpecError(f"--metric: {unknown('objective', name, named)}")
    found = goals.leading if name is None else named[name]
    return found, goals.modes[found]


def by_one(spec: SearchSpec, metric: str, mode: Mode) -> SearchSpec:
    """The spec with this objective alone, without limits."""
    return dataclasses.replace(spec, metric=metric, mode=mode, objectives={}, limits=())


def weighed(judgement: Judgement, folder: Path, outcomes: Iterable[Outcome]) -> Judgement:
    """The judgement of a retest, after its winner was compared in everything else that counts.

    Args:
        folder: of the retest; the run whose settings it tests lies beside it.
    """
    spec = load_spec(RunPaths(folder).spec)
    recipe: Any = spec.strategy
    goals = load_spec(RunPaths(folder.parent / recipe.of).spec).goals
    if goals.is_plain:
        return judgement
    tested = f"Tested was {dotted(spec.metric)}, one of {goals.kind}."
    if judgement.winner is None:
        return dataclasses.replace(judgement, text=f"{judgement.text} {tested}")
    arms = _values(outcomes, goals)
    why = str(recipe.challengers[judgement.winner - 1].get("why") or f"challenger {judgement.winner}")
    words, losses = compared(arms, judgement.winner, goals, spec.metric)
    if not losses:
        return dataclasses.replace(judgement, text=f"{judgement.text} {tested} {words}")
    text = (
        f"Inconclusive: a trade. {why} is better in {dotted(spec.metric)} by {judgement.gain:.3g}, and "
        f"{losses}. {words} {tested} Keep the settings, or choose: raysearch best --weights."
    )
    return dataclasses.replace(judgement, word="inconclusive", winner=None, gain=math.nan, text=text)


def compared(arms: Values, winner: int, goals: Objectives, metric: str) -> tuple[str, str]:
    """(paired differences in the other objectives, in words; where the winner loses, empty if nowhere)."""
    said, losses = [], []
    for name, mode in goals.modes.items():
        if name == metric:
            continue
        sign = 1.0 if mode == "min" else -1.0
        pairs = [
            (arms[winner][training][name], arms[0][training][name])
            for training in arms.get(winner, {})
            if training in arms.get(0, {})
        ]
        found = estimate([a - b for a, b in pairs])
        said.append(
            f"{dotted(name)} {_change(found.mean)} ({_interval(found.low, found.high)}, {found.n} pairs)"
        )
        if min(sign * found.low, sign * found.high) > 0 or not pairs:
            losses.append(f"worse in {dotted(name)}" if pairs else f"not known in {dotted(name)}")
    beyond = goals.beyond(_means(arms.get(winner, {}), goals))
    if beyond:
        losses.append(f"beyond {beyond}")
    words = f"Its paired differences in the others: {'; '.join(said)}." if said else ""
    return words, ", ".join(losses)


# ---- inside


def _values(outcomes: Iterable[Outcome], goals: Objectives) -> Values:
    """The values at the end of each arm's trainings that ended well in everything that counts."""
    found: dict[int, dict[Training, dict[str, float]]] = {}
    for outcome in outcomes:
        segment = outcome.segment
        if outcome.status is Status.COMPLETED and segment.is_final:
            values = goals.values_at(outcome.curve)
            if all(map(math.isfinite, values.values())):
                found.setdefault(segment.source or 0, {})[segment.stop, segment.seed] = values
    return found


def _means(trainings: Mapping[Training, Mapping[str, float]], goals: Objectives) -> dict[str, float]:
    """The means of an arm's longest trainings; NaN where there are none."""
    longest = max((stop for stop, _ in trainings), default=0)
    some = [values for (stop, _), values in trainings.items() if stop == longest]
    if not some:
        return dict.fromkeys(goals.metrics, math.nan)
    return {name: math.fsum(one[name] for one in some) / len(some) for name in goals.metrics}


def _change(mean: float) -> str:
    return f"{'+' if mean > 0 else ''}{number(mean, 3)}"


def _interval(low: float, high: float) -> str:
    return f"95%: {number(low, 3)} to {number(high, 3)}" if math.isfinite(low) else "no interval"
