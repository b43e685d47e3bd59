"""Several objectives, or limits: the front with its intervals, and how it grew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.core.formatting import number
from raysearch.core.segment import trial_name
from raysearch.report.sections.values import DIGITS, Picture, Section, TextTable
from raysearch.results.plots.digest import valued
from raysearch.space.names import dotted

if TYPE_CHECKING:
    from raysearch.results import Best, Results

SHOWN = 15  # members of the front, and configurations trained as long that nothing dominates


def front(results: Results, winner: Best | None) -> Section | None:
    """The front, the limits and the hypervolume; None for one metric alone, and for raised models."""
    if not _has_front(results):
        return None
    title = "The front" if results.goals.several else "Within the limits"
    return Section("front", title, _words(results), front_pictures(results), _tables(results))


def front_pictures(results: Results) -> list[Picture]:
    """The front or the limits, and the hypervolume; none where the section is None."""
    if not _has_front(results):
        return []
    goals, plot, pictures = results.goals, results.plot, []
    if results.digest.further:
        pictures.append(Picture("front", "The front" if goals.several else "The limits", plot.front))
    if goals.several:
        pictures.append(Picture("hypervolume", "Hypervolume", plot.hypervolume))
    return pictures


def _has_front(results: Results) -> bool:
    return not results.goals.is_plain and results.raised is None and bool(valued(results.digest).any())


def _words(results: Results) -> tuple[str, ...]:
    """What was asked for, and how much of the search lay beyond the limits."""
    goals, digest = results.goals, results.digest
    ways = [
        f"{dotted(name)} ({'lower' if mode == 'min' else 'higher'} is better)"
        for name, mode in goals.modes.items()
    ]
    words = [f"Compared by {', '.join(ways)}; {dotted(goals.leading)} leads."] if goals.several else []
    if goals.limits:
        ended = digest.ranking
        beyond = int(digest.beyond[ended].sum())
        limits = "; ".join(limit.text for limit in goals.limits)
        words.append(
            f"Limits: {limits}. Beyond them ended {beyond:,} of {len(ended):,} trials that ended well."
        )
    return tuple(words)


def _tables(results: Results) -> list[TextTable]:
    """The members of the front with their values; none where a finish has a table of its own."""
    goals, members = results.goals, results.front.members
    if not members or results.front.certified or not goals.several:
        return []
    header = ("trial", *map(dotted, goals.metrics))
    rows = [
        (trial_name(m.trial, ","), *(number(m.values[name], DIGITS) for name in goals.metrics))
        for m in members[:SHOWN]
    ]
    return [TextTable(header, rows, frozenset(range(len(header))))]
