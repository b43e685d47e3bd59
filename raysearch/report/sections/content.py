"""The content of a report, the same for the HTML file and for W&B, which lay it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from raysearch.errors import RunError
from raysearch.report.sections.failures import failures
from raysearch.report.sections.front import front, front_pictures
from raysearch.report.sections.headline import checks_of, headline_of, tiles_of
from raysearch.report.sections.next_steps import next_steps, standing
from raysearch.report.sections.outcome import outcome
from raysearch.report.sections.past import past
from raysearch.report.sections.progress import curve_pictures, curves, progress, progress_pictures
from raysearch.report.sections.raised import raised, raised_pictures
from raysearch.report.sections.reproduce import reproduce
from raysearch.report.sections.retest_history import retest_history
from raysearch.report.sections.space import space, space_pictures
from raysearch.report.sections.timeline import timeline, timeline_pictures
from raysearch.report.sections.trials import trials
from raysearch.report.sections.values import Content, Picture, Section, Tile

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def content_of(results: Results) -> Content:
    """The report of a run as it stands now, whether it is finished or not."""
    winner = _winner_of(results)
    makers: Sequence[Callable[[Results, Best | None], Section | None]] = (
        outcome,
        past,
        retest_history,
        front,
        progress,
        space,
        trials,
        raised,
        curves,
        timeline,
        failures,
        reproduce,
    )
    now = standing(results)
    made = [next_steps(results, winner, now), *(maker(results, winner) for maker in makers)]
    headline, tone = headline_of(results, winner, now)
    return Content(
        name=results.digest.name,
        metric=results.metric,
        better=results.digest.better,
        headline=headline,
        tone=tone,
        tiles=tiles_of(results, winner),
        sections=[section for section in made if section is not None],
        checks=checks_of(results, winner),
    )


def pictures_of(results: Results) -> list[Picture]:
    """The figures of the report that change while a run goes on, in its order; none is drawn yet."""
    makers = (
        *(front_pictures, progress_pictures, space_pictures),
        *(raised_pictures, curve_pictures, timeline_pictures),
    )
    return [picture for maker in makers for picture in maker(results)]


def opening_of(results: Results) -> tuple[str, str, list[Tile]]:
    """(headline, its tone, tiles): what the report begins with."""
    winner = _winner_of(results)
    return *headline_of(results, winner, standing(results)), tiles_of(results, winner)


def _winner_of(results: Results) -> Best | None:
    try:
        return results.best
    except RunError:
        return None
