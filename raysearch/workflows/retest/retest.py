"""The spec of a retest of a run's settings: the challengers, and how they are trained.

A retest is a run of its own beside the one whose settings it tests, NAME-retest-DATE, with the same journal;
so it is resumed like any other. Its verdict is an event of that journal: nothing else is kept.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.budget import Budget
from raysearch.core.segment import Config
from raysearch.errors import RunError, SpecError
from raysearch.results.contenders import contenders
from raysearch.results.front import metric_rows
from raysearch.results.rung_scores import RungScores, scores_of
from raysearch.spec.search_spec import SearchSpec, load_spec
from raysearch.storage.mirror import storage_of
from raysearch.storage.paths import RunPaths
from raysearch.strategies.base import abilities_of
from raysearch.strategies.panda.perturb import in_words, moved
from raysearch.strategies.retest.search import Retest
from raysearch.strategies.seeding import fresh_seed
from raysearch.workflows.retest.objectives import by_one, objective_of
from raysearch.workflows.retest.records import RetestVerdict, history

if TYPE_CHECKING:
    from raysearch.results.results import Results

STEP = 2.0  # factor of a one-step perturbation


# ---- before


def retest_spec(
    results: Results,
    *,
    day: dt.date,
    challengers: int = 4,
    incumbent: Config | None = None,
    screen: int | str | None = "auto",
    weights: Mapping[str, float] | None = None,
    trainable: Any = None,
    metric: str | None = None,
    **rules: Any,
) -> SearchSpec:
    """The spec of the next retest of a run's settings.

    Args:
        day: today; names the retest.
        incumbent: the settings in use; those of the last retest, or the run's best, if None.
        screen: after how many iterations pairs are compared; None for whole trainings; "auto" for the fewest
            that rank as whole trainings did in the run.
        weights: importance of each hyper-parameter elsewhere; added to what it was in the run.
        trainable: needed where the run's spec cannot name it, as for `raysearch.resume`.
        metric: of several objectives the one to be tested; the leading one if None. A challenger that is
            worse in another, or beyond a limit, does not replace the settings.
        **rules: alpha, eps, margin, pairs, confirm of `Retest`.

    Raises:
        RunError: the run has no settings, or there is nothing to vary.
        SpecError: `metric` is no objective of the run.
    """
    tested_by, mode = objective_of(results.goals, metric)
    spec = by_one(load_spec(RunPaths(results.path).spec), tested_by, mode)
    past = history(results.path)
    tested = incumbent or (past[-1].config if past else results.best.config)
    if why := spec.space.why_not(tested):
        raise SpecError(f"the settings to be tested do not lie in the run's space: {why}")
    scores = scores_of(type(results)(results.path, metric=tested_by, mode=mode), spec.space)
    others = challengers_for(scores, tested, challengers, len(past), spec.seed, weights or {})
    horizon = abilities_of(spec.strategy).max_iterations or max(scores.levels)
    level = scores.screening_level() if screen == "auto" else screen
    recipe = Retest(
        max_iterations=horizon,
        challengers=others,
        screen_iterations=None if level in (None, horizon) else int(level),
        stored=_stored(results, past, tested, tested_by),
        of=results.path.name,
        **rules,
    )
    return _fresh(spec, results.path, recipe, tested, len(past), day, trainable)


def _fresh(
    spec: SearchSpec, run: Path, recipe: Retest, tested: Config, turn: int, day: dt.date, trainable: Any
) -> SearchSpec:
    """The spec of a run with the strategy of its retest, without what belongs to its search alone."""
    return dataclasses.replace(
        spec,
        trainable=spec.trainable if trainable is None else trainable,
        name=_free_name(run, day),
        strategy=recipe,
        baseline=dict(tested),
        seed=fresh_seed(spec.seed, turn),
        storage=storage_of(run),
        budget=Budget(),
        memory=None,
        known_good=(),
        priors={},
        notes=(),
    )


def challengers_for(
    scores: RungScores, incumbent: Config, count: int, turn: int, seed: int, weights: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Up to `count` configurations to try, and why: steps of what mattered most, past leaders, a random one.

    Args:
        turn: how many retests there were: each tries other directions and another random point.

    Raises:
        RunError: the space leaves nothing to vary.
    """
    found: list[dict[str, Any]] = []
    turns = [
        _step(scores, incumbent, name, (-1) ** (turn + i)) for i, name in enumerate(_ranked(scores, weights))
    ]
    steps = [step for step in turns if step is not None][:2]
    back = [
        _step(scores, incumbent, name, -((-1) ** (turn + i)))
        for i, name in enumerate(_ranked(scores, weights))
    ][:2]
    past = _leaders(scores, incumbent)
    random = [_random(scores, seed, turn)] if scores.space.dimension else []
    for one in (*steps, *past[:1], *random, *past[1:2], *(b for b in back if b is not None)):
        known = (incumbent, *(f["config"] for f in found))
        if one["config"] not in known and len(found) < count:
            found.append(one)
    if not found:
        raise RunError(
            "the space holds one configuration only: there is nothing to test the settings against"
        )
    return found


# ---- inside


def _free_name(run: Path, day: dt.date) -> str:
    name = f"{run.name}-retest-{day:%Y%m%d}"
    taken = {p.name for p in run.absolute().parent.iterdir()}
    numbered = (name if n == 1 else f"{name}-{n}" for n in range(1, len(taken) + 2))
    return next(n for n in numbered if n not in taken)


def _stored(results: Results, past: Sequence[RetestVerdict], tested: Config, metric: str) -> list[float]:
    """Earlier values of the settings: of the last such retest with two trainings, or of the finish."""
    several = results.goals.several
    for verdict in reversed(past):
        if several and load_spec(RunPaths(verdict.run).spec).metric != metric:
            continue
        if len(verdict.values) > 1 and verdict.config == tested and not verdict.changed:
            return list(verdict.values)
    run = metric_rows(results._rows, results.goals, metric) if several else results._rows
    for contender in contenders(run, results.unfit):
        if dict(contender.config) == dict(tested):
            return contender.finite
    return []


def _ranked(scores: RungScores, weights: Mapping[str, float]) -> list[str]:
    """The free hyper-parameters, the most important first, by this run and other tasks."""
    here = scores.importances()
    share = {n: here.get(n, 0.0) + weights.get(n, 0.0) for n in scores.space.free}
    rates = ("lr", "learning_rate")  # where nothing is known
    return sorted(share, key=lambda n: (-share[n], n.rpartition("/")[2] not in rates))


def _step(scores: RungScores, incumbent: Config, name: str, direction: int) -> dict[str, Any] | None:
    for way in (direction, -direction):
        changed = moved(scores.space, incumbent, name, way, STEP)
        if changed is not None:
            return {"config": changed, "why": in_words(scores.space, incumbent, changed)}
    return None


def _leaders(scores: RungScores, incumbent: Config) -> list[dict[str, Any]]:
    """The best past configurations besides the incumbent: of the longest trainings first."""
    import numpy as np

    found: list[dict[str, Any]] = []
    for level in range(len(scores.levels) - 1, -1, -1):
        for row in np.argsort(
            np.where(np.isnan(scores.scores[:, level]), np.inf, scores.scores[:, level])
        ).tolist():
            if len(found) >= 2 or not np.isfinite(scores.scores[row, level]):
                break
            config = scores.configs[row]
            if config != incumbent and config not in [f["config"] for f in found]:
                why = f"trial {int(scores.trials[row])}, among the best of the search"
                found.append({"config": dict(config), "why": why})
    return found


def _random(scores: RungScores, seed: int, turn: int) -> dict[str, Any]:
    return {"config": scores.space.sample(fresh_seed(seed, 0x7E57, turn), 0), "why": "a random configuration"}
