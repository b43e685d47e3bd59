"""The best value over time, the rungs, and the learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.sections.values import Picture, Section
from raysearch.results.gain_forecast import last_forecast
from raysearch.results.plots.progress import settling

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def progress(results: Results, winner: Best | None) -> Section:
    """The best so far, what it cost, what going on would gain, and the rungs unless one model was raised."""
    plot = results.plot
    pictures = [
        Picture("progress", "Best so far", plot.progress()),
        Picture(
            "rungs",
            "How far the trials came",
            plot.rungs(),
            "A trial is counted at every rung to which it was trained.",
        ),
    ]
    if results.raised is not None:
        pictures.pop()
    elif results.goals.is_plain and (settled := settling(results.digest).words):
        pictures.append(Picture("settled", "What the second best would have cost", plot.settled(), settled))
    going_on = last_forecast(results.events())
    words = (going_on.sentence,) if going_on is not None else ()
    return Section("progress", "Progress", words, pictures)


def curves(results: Results, winner: Best | None) -> Section | None:
    """The learning curves; None if no trial ended well."""
    if not len(results.digest.ranking):
        return None
    return Section("curves", "Learning curves", (), [Picture("curves", "", results.plot.curves())])
