"""The outcome: the verdict, the winner's configuration, and the means over fresh seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.core.formatting import number, settings
from raysearch.core.segment import trial_name
from raysearch.errors import RunError
from raysearch.report.sections.values import DIGITS, Section, TextTable
from raysearch.results.goal_table import goal_header, goal_rows, others_of
from raysearch.results.verdict import Contender, once_each
from raysearch.space.names import dotted

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def outcome(results: Results, winner: Best | None) -> Section:
    """The verdict, the winner beside the baseline, and the contenders, or why there is no winner."""
    if winner is None:
        try:
            why = str(results.best)
        except RunError as error:
            why = str(error)
        return Section("outcome", "Outcome", (why,))
    searched = (
        f"Trial {trial_name(winner.trial, ',')} had {results.metric} {number(winner.value, DIGITS)} at "
        f"iteration {winner.reach} of its search ({results.digest.better})."
    )
    if others := others_of(results, winner):
        kind = "on fresh seeds" if winner.mean is not None else "there"
        said = ", ".join(f"{dotted(name)} {number(value, DIGITS)}" for name, value in others.items())
        searched += f" Besides, {kind}: {said}."
    words = (*str(results.verdict()).splitlines(), searched, _model(results, winner))
    tables = [TextTable(("hyper-parameter", "best", *_baseline_head(results)), _config_rows(results, winner))]
    contenders = once_each(results.verdict().contenders)
    if contenders and not results.goals.is_plain and results.raised is None:
        tables.insert(0, TextTable(goal_header(results.goals), goal_rows(results)))
    elif contenders:
        header = ("on fresh seeds", f"mean {results.metric}", "95% interval", "seeds", "failed")
        rows = [(name, *_estimate(c), str(c.failed)) for name, c in contenders]
        tables.insert(0, TextTable(header, rows, frozenset({1, 2, 3, 4})))
    return Section("outcome", "Outcome", words, (), tables)


def _model(results: Results, winner: Best) -> str:
    """What is handed over, in a sentence."""
    if winner.model is None:
        return f"There is no model of it: {winner.no_model}."
    return f"The model that is handed over was {winner.model.words(results.metric)}."


def _baseline_head(results: Results) -> tuple[str, ...]:
    return ("baseline",) if results.spec.get("baseline") else ()


def _config_rows(results: Results, winner: Best) -> list[tuple[str, ...]]:
    baseline = settings(results.spec.get("baseline") or {}, DIGITS)
    return [
        (name, value, *((baseline.get(name, "-"),) if baseline else ()))
        for name, value in settings(winner.config, DIGITS).items()
    ]


def _estimate(contender: Contender) -> tuple[str, str, str]:
    e = contender.estimate
    interval = "-" if e.low != e.low else f"{number(e.low, DIGITS)} to {number(e.high, DIGITS)}"
    return number(e.mean, DIGITS), interval, str(e.n)
