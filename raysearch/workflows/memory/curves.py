"""Trials of different lengths, compared by their curves: any two where the shorter one ended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from raysearch.core.segment import Mode

Floats = npt.NDArray[np.float64]
Curve = Sequence[tuple[int, float]]
LEVELS = 64  # lengths that are told apart; longer lists of lengths are rounded down to so many


def turned_values(values: Sequence[float], mode: Mode) -> Floats:
    """The values so that lower is better; what is not finite is worst of all."""
    given = np.asarray(values, float)
    return np.where(np.isfinite(given), given if mode == "min" else -given, np.inf)


def losses(curves: Sequence[Curve], lengths: Sequence[int], ends: Floats, mode: Mode) -> Floats:
    """How many other trials are better than each one, ties half. Shape (trials,).

    Args:
        curves: (iteration, value) of each trial in rising order; one without a curve is flat.
        lengths: iterations to which each was trained.
        ends: what each came to, lower is better.
    """
    reached = _rounded(np.asarray(lengths, np.int64))
    levels = np.unique(reached)
    at_levels = _at(curves, levels, ends, mode)
    lost = np.zeros(len(ends))
    for column, level in enumerate(levels):
        ended = np.flatnonzero(reached == level)
        longer = np.flatnonzero(reached > level)
        here = ends[ended]
        lost[ended] += _better(here, here) - 0.5  # not against itself
        lost[ended] += _better(at_levels[longer, column], here)
        lost[longer] += _better(here, at_levels[longer, column])
    return lost


def _better(others: Floats, mine: Floats) -> Floats:
    """How many of the others are lower than each of mine, ties half."""
    ordered = np.sort(others)
    below, upto = (np.searchsorted(ordered, mine, side) for side in ("left", "right"))
    return np.asarray(below + 0.5 * (upto - below), np.float64)


def _rounded(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    known = np.unique(lengths)
    if len(known) <= LEVELS:
        return lengths
    kept = known[np.linspace(0, len(known) - 1, LEVELS).astype(int)]
    return np.asarray(kept[np.searchsorted(kept, lengths, "right") - 1], np.int64)


def _at(curves: Sequence[Curve], levels: npt.NDArray[np.int64], ends: Floats, mode: Mode) -> Floats:
    """What each trial had come to at each level: its last point up to there, or else its first."""
    found = np.repeat(ends[:, None], len(levels), axis=1)
    for row, curve in enumerate(curves):
        if curve:
            iterations = np.array([i for i, _ in curve])
            values = turned_values([v for _, v in curve], mode)
            found[row] = values[np.maximum(np.searchsorted(iterations, levels, "right") - 1, 0)]
    return found
