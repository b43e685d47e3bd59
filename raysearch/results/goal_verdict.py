"""The verdict on a run of several objectives, or of limits: the front, or the best within the limits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from raysearch.errors import RunError
from raysearch.results.contenders import contenders
from raysearch.results.front import Front, metric_rows, violation_at
from raysearch.results.verdict import Contender, Verdict, judge

if TYPE_CHECKING:
    from raysearch.results.run_rows import RunRows
    from raysearch.space.objectives import Objectives


def verdict_within(results: Any) -> Verdict:
    """The verdict: of several objectives that of the front; of one, on the finalists within the limits.

    A verdict on a front states no gain: which objective it should be in is the reader's to say.
    """
    run, goals, front = results._rows, results.goals, results.front
    found = contenders(run, results.unfit)
    if results.raised is not None:
        verdict = judge(found, results.metric, results.mode, results.raised)
        return dataclasses.replace(verdict, text=f"{verdict.text}\n{_of_raised(results)}")
    if goals.several:
        return _of_front(found, front, results)
    return _of_one(found, run, goals, front, results)


def passed_over(results: Any) -> frozenset[int]:
    """The trials that are not the one to take of the search: all but the pick of its front.

    Raises:
        RunError: trials ended well, and none of them is within the limits; or on fresh seeds the baseline is
            on the front alone, and is no trial of the search.
    """
    run = results._rows
    if results.raised is not None:
        return _lines_beyond(run, results.goals)
    numbers = frozenset(run.trials.numbers.tolist())
    front = results.front
    if front.members:
        pick = front.pick()
        if pick.trial not in numbers:
            raise RunError(f"{results.path}: no finalist is on the front on fresh seeds; {pick.name} is")
        return numbers - {pick.trial}
    if front.compared:
        raise RunError(f"{results.path}: {front.nearest}")
    return numbers


# ---- inside


def _of_front(found: list[Contender], front: Front, results: Any) -> Verdict:
    trained = [c for c in found if c.finite]
    baseline = next((c for c in trained if c.role == "baseline"), None)
    if not front.certified or not front.members:
        why = "" if found else "\nNo finish was run: raise finish.top and finish.seeds to certify the front."
        return Verdict(front.text() + why, baseline=baseline, contenders=found)
    own = dataclasses.replace(front, members=tuple(m for m in front.members if not m.is_baseline))
    pick = own.pick().trial if own.members else None
    winner = next((c for c in trained if c.role != "baseline" and c.source == pick), None)
    ranked = sorted(found, key=lambda c: (c is not winner, c.failed > 0))
    repeated = [c for c in trained if len(c.finite) > 1]
    seeds_matter = any(len(set(c.finite)) > 1 for c in repeated) if repeated else None
    return Verdict(front.text(), winner, baseline, seeds_matter=seeds_matter, contenders=ranked)


def _of_one(found: list[Contender], run: RunRows, goals: Objectives, front: Front, results: Any) -> Verdict:
    """Of one objective with limits: the verdict on the contenders whose means are within them."""
    if not found:
        verdict = judge(found, results.metric, results.mode)
        words = "" if front.members else f"\n{front.nearest}"
        return dataclasses.replace(verdict, text=verdict.text + words)
    means = _means(run, goals, results.unfit)
    beyond = {key: goals.beyond(values) for key, values in means.items()}
    within = [c for c in found if not beyond[c.role, c.source] or c.role == "baseline"]
    rest = [c for c in found if c not in within]
    lines = [f"{c.name.capitalize()} is beyond on fresh seeds: {beyond[c.role, c.source]}." for c in rest]
    if not any(c.role != "baseline" for c in within):
        text = "\n".join([f"No finalist meets the limits on fresh seeds. {front.nearest}".strip(), *lines])
        return Verdict(text, baseline=next(iter(within), None), contenders=found)
    verdict = judge(within, results.metric, results.mode)
    base = next((c for c in within if c.role == "baseline" and beyond[c.role, c.source]), None)
    lines += [f"The baseline is beyond: {beyond[base.role, base.source]}."] if base is not None else []
    text = "\n".join([verdict.text, *lines])
    return dataclasses.replace(verdict, text=text, contenders=[*verdict.contenders, *rest])


def _means(run: RunRows, goals: Objectives, unfit: Any) -> dict[tuple[str, int | None], dict[str, float]]:
    """Of each contender of the finish, the mean of every metric that counts."""
    found: dict[tuple[str, int | None], dict[str, float]] = {}
    for name in goals.metrics:
        for one in contenders(metric_rows(run, goals, name), unfit):
            found.setdefault((one.role, one.source), {})[name] = one.estimate.mean
    return found


def _of_raised(results: Any) -> str:
    """Whether the model that was raised is within the limits at its end."""
    run, goals = results._rows, results.goals
    rows = run.line_ranking
    if not len(rows) or not goals.limits:
        return f"Shown is the leading objective, {goals.leading}, alone." if goals.several else ""
    row = next((int(r) for r in rows if violation_at(run, goals, int(r))[0] == 0), int(rows[0]))
    amount, values = violation_at(run, goals, row)
    if amount == 0:
        return f"The model is within the limits: {'; '.join(one.in_words(values) for one in goals.limits)}."
    return f"The model is beyond the limits: {goals.beyond(values)}."


def _lines_beyond(run: RunRows, goals: Objectives) -> frozenset[int]:
    """Trials as which lines ended beyond the limits; none if all did."""
    numbers = run.segments.integers("trial")
    amounts = {int(numbers[row]): violation_at(run, goals, int(row))[0] for row in run.lines}
    beyond = frozenset(trial for trial, amount in amounts.items() if amount != 0)
    return beyond if len(beyond) < len(amounts) else frozenset()
