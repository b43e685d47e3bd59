"""What to do next, each with its command; and what of the run this rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.next_steps import Facts, steps
from raysearch.report.sections.values import Section
from raysearch.report.standing import Phase, Standing, last_standing
from raysearch.run.liveness import run_by
from raysearch.schedule import has_schedule, of
from raysearch.storage.mirror import shown
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    from raysearch.results import Best, Results

MATTERS = 0.05  # share of importance from which on an edge is worth words


def next_steps(results: Results, winner: Best | None, now: Standing) -> Section | None:
    """What to do next; None where there is nothing to be done."""
    found = steps(facts_of(results, winner, now))
    if not found:
        return None
    return Section("next", "What next", steps=[(step.words, step.command) for step in found])


def standing(results: Results) -> Standing:
    """How far the run has come, by its locks and its journal."""
    holder = run_by(RunPaths(results.path).root)
    return Standing(Phase.RUNNING, holder=holder) if holder else last_standing(results.events())


def facts_of(results: Results, winner: Best | None, now: Standing) -> Facts:
    """What the next steps rest on."""
    run = shown(results.path)
    if winner is None or now.is_open or now.is_unfinished:
        return Facts(run, now)
    verdict, importances = results.verdict(), results.plot.importances
    written = results.spec.get("strategy") or {}
    return Facts(
        run,
        now,
        winner=winner.trial,
        config=winner.config,
        searched=results.digest.space,
        matters=None
        if importances is None
        else frozenset(name for name, share in importances.shares.items() if share >= MATTERS),
        samples=results.abilities.samples,
        is_raised=results.raised is not None,
        has_finish=bool(verdict.contenders),
        takes_finish=written.get("finish", "on") in (None, False, "off"),
        has_schedule=results.raised is not None and has_schedule(results, of(results)),
        keeps_baseline=verdict.keeps_baseline,
    )
