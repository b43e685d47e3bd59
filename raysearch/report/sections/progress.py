"""The best value over time, the rungs, and the learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.sections.values import Picture, Section
from raysearch.results.gain_forecast import last_forecast
from raysearch.results.plots.digest import valued
from raysearch.results.plots.progress import settling

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def progress(results: Results, winner: Best | None) -> Section:
    """The best so far, what it cost, what going on would gain, and the rungs unless one model was raised."""
    pictures = progress_pictures(results)
    if results.raised is None and results.goals.is_plain and (settled := settling(results.digest).words):
        title = "What the second best would have cost"
        pictures.append(Picture("settled", title, results.plot.settled, settled))
    going_on = last_forecast(results.events())
    words = (going_on.sentence,) if going_on is not None else ()
    return Section("progress", "Progress", words, pictures)


def progress_pictures(results: Results) -> list[Picture]:
    """The best so far, and the rungs unless one model was raised."""
    plot = results.plot
    found = [Picture("progress", "Best so far", plot.progress)]
    if results.raised is None:
        words = "A trial is counted at every rung to which it was trained."
        found.append(Picture("rungs", "How far the trials came", plot.rungs, words))
    return found


def curves(results: Results, winner: Best | None) -> Section | None:
    """The learning curves; None if no trial ended well."""
    pictures = curve_pictures(results)
    return Section("curves", "Learning curves", (), pictures) if pictures else None


def curve_pictures(results: Results) -> list[Picture]:
    """The learning curves; none if no trial ended well."""
    return [Picture("curves", "", results.plot.curves)] if valued(results.digest).any() else []
