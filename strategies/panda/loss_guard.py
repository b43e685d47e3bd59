"""The guard: says when a stretch of training went wrong, from the losses of the line alone.

A spike is a loss far above its moving mean for several reports (PaLM, Chowdhery et al. 2022, section
5.1, restarted from about 100 steps before each). A bad day is a loss above the band that the line's own
past forecasts. Forecasts are used for going back only, never for accepting a nudge: they favour greed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SPIKE_SD = 6.0
SPIKE_REPORTS = 5
WINDOW = 20  # reports that the moving mean and its standard deviation are taken over
LEAST = 8  # reports or evaluations, below which the guard finds no fault
EVALUATIONS = 24  # the latest, for the forecast
BAND_SD = 1.96  # of a 95% band
BAD_EVALUATIONS = 2
EXPONENTS = (0.1, 0.25, 0.5, 1.0, 2.0)
FLOOR = 0.02  # of the mean's size: the least that counts as a standard deviation


class Guard:
    """Watches a line: its reports for spikes, its evaluations at the ends of cycles for bad days."""

    def __init__(self, interval: int) -> None:
        self._reports: list[float] = []
        self._evaluations: list[tuple[int, float]] = []
        self._interval = interval
        self._over = 0
        self._suspected = 0

    def spike(self, losses: Sequence[float], every: int = 1) -> str:
        """What is wrong with the reports of a stretch, in words; empty if nothing is.

        Five reports in a row are a spike (fewer where there are fewer in an interval), also if the first
        of them came in the stretch before.

        Args:
            losses: NaN where nothing was measured.
            every: iterations from one evaluation to the next.
        """
        enough = min(SPIKE_REPORTS, self._interval // every + 1)
        past = self._reports[-WINDOW:]
        for loss in (value for value in losses if value == value):
            if len(past) < LEAST:
                return ""
            mean, deviation = _level(past)
            self._over = self._over + 1 if not loss <= mean + SPIKE_SD * deviation else 0
            if self._over >= enough:
                count, self._over = self._over, 0
                bar = f"{mean:.4g} + {SPIKE_SD:g} x {deviation:.2g}"
                return f"loss {loss:.4g}, {count} reports running above {bar}"
            if not self._over:
                past = [*past[1 - WINDOW :], loss]
        return ""

    def bad_day(self, at: int, loss: float) -> str:
        """What is wrong with the evaluation `loss` at iteration `at`, in words; empty if nothing is.

        It takes two bad ones in a row. The first is remembered, though it is not part of the forecast.
        """
        band = forecast(self._evaluations, at)
        if band is None or loss <= band[1]:
            self._suspected = 0
            return ""
        self._suspected += 1
        if self._suspected < BAD_EVALUATIONS:
            return ""
        self._suspected = 0
        expected = f"{band[0]:.4g}..{band[1]:.4g}"
        return f"loss {loss:.4g} above the forecast band {expected}, {BAD_EVALUATIONS} times running"

    def note(self, at: int, loss: float, losses: Sequence[float]) -> None:
        """The line went on by these reports to this evaluation; those under suspicion are not remembered."""
        sound = [v for v in losses if math.isfinite(v)]
        self._reports = [*self._reports, *sound[: max(0, len(sound) - self._over)]][-WINDOW:]
        self._evaluations = [*self._evaluations, (at, loss)][-EVALUATIONS:]

    def cut(self, at: int) -> None:
        """The line went back to iteration `at`."""
        self._evaluations = [e for e in self._evaluations if e[0] <= at]
        self._over = self._suspected = 0

    def forget(self) -> None:
        """What was is no measure any more: the line goes on from another level."""
        self._reports, self._evaluations = [], []
        self._over = self._suspected = 0


def forecast(evaluations: Sequence[tuple[int, float]], at: int) -> tuple[float, float] | None:
    """The 95% band of c + a t^-b at iteration `at`, fitted by least squares; None before there is enough.

    b is taken from EXPONENTS; a is not below zero, so that a band never rises.
    """
    if len(evaluations) < LEAST:
        return None
    t = np.array([e[0] for e in evaluations], np.float64)
    y = np.array([e[1] for e in evaluations], np.float64)
    squares, middle = min(_fitted(t, y, at, b) for b in EXPONENTS)
    deviation = math.sqrt(squares / (len(y) - 3))
    deviation = max(deviation, FLOOR * abs(float(np.mean(y))))
    width = BAND_SD * deviation * math.sqrt(1.0 + 1.0 / len(y))
    return middle - width, middle + width


def _fitted(t: Floats, y: Floats, at: int, exponent: float) -> tuple[float, float]:
    """(sum of squared residuals, forecast at iteration `at`) for one exponent."""
    x = t**-exponent
    slope = max(0.0, float(np.cov(x, y, bias=True)[0, 1] / max(float(np.var(x)), 1e-30)))
    level = float(np.mean(y) - slope * np.mean(x))
    residuals = y - level - slope * x
    return float(residuals @ residuals), level + slope * float(at) ** -exponent


def _level(past: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of the latest reports about their trend."""
    y = np.array(past, np.float64)
    x = np.arange(len(y)) - (len(y) - 1) / 2
    slope = float(x @ (y - y.mean()) / (x @ x))
    deviation = float(np.std(y - y.mean() - slope * x))
    return float(np.mean(y)), max(deviation, FLOOR * abs(float(np.mean(y))))
