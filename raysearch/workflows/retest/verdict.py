"""The verdict of a finished retest: computed from its journal, and written into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raysearch.core.segment import Outcome, Role, Status
from raysearch.run.session import open_journal
from raysearch.spec.search_spec import SearchSpec, load_spec
from raysearch.storage.journal.reading import read_outcomes
from raysearch.storage.paths import RunPaths
from raysearch.strategies.base import abilities_of
from raysearch.strategies.retest.conclusion import Judgement
from raysearch.workflows.retest.calendar import FIRST, day_of, next_interval, plus_months
from raysearch.workflows.retest.objectives import weighed
from raysearch.workflows.retest.records import VERDICT, RetestVerdict, history, last_fingerprint, verdict_in


def judged(folder: Path) -> Judgement | None:
    """The judgement of a retest by its journal; None until it has ended."""
    spec = load_spec(RunPaths(folder).spec)
    strategy: Any = spec.started()
    for outcome in read_outcomes(RunPaths(folder).journal):
        strategy.tell(outcome)
    judgement: Judgement | None = strategy.judgement
    if judgement is None:
        return None
    return weighed(judgement, folder, read_outcomes(RunPaths(folder).journal))


def record(folder: Path, judgement: Judgement, now: float) -> RetestVerdict:
    """Writes the verdict of a retest into its journal, with the day of the next one."""
    if (known := verdict_in(folder)) is not None:
        return known
    spec = load_spec(RunPaths(folder).spec)
    recipe: Any = spec.strategy
    past = history(folder.parent / recipe.of)
    at = max([now, *(v.at for v in past)])  # the clock may have been set back
    interval = next_interval(judgement.word, past[-1].interval if past else FIRST)
    winner = judgement.winner
    change = recipe.challengers[winner - 1] if winner is not None else None
    detail = {
        "of": recipe.of,
        "word": judgement.word,
        "text": str(judgement),
        "config": dict(change["config"] if change else spec.baseline or {}),
        "changed": str(change.get("why", "")) if change else "",
        "interval": interval,
        "due": plus_months(day_of(at), interval).isoformat(),
        "drift": judgement.drift,
        "runs": judgement.runs,
        "values": _whole_trainings(folder, spec),
        "fingerprint": last_fingerprint(folder),
    }
    with open_journal(RunPaths(folder)) as journal:
        journal.append_event(VERDICT, detail, at)
    found = verdict_in(folder)
    assert found is not None
    return found


def _whole_trainings(folder: Path, spec: SearchSpec) -> list[float]:
    """The metric of the incumbent's whole trainings that ended well."""
    horizon = abilities_of(spec.strategy).max_iterations

    def is_one(outcome: Outcome) -> bool:
        segment = outcome.segment
        return (
            segment.role == Role.BASELINE and segment.stop == horizon and outcome.status is Status.COMPLETED
        )

    curves = (o.curve.get(spec.metric, ()) for o in read_outcomes(RunPaths(folder).journal) if is_one(o))
    return [float(curve[-1]) for curve in curves if len(curve)]
