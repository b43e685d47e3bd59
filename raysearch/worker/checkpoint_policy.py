"""Which checkpoints a worker writes."""

from __future__ import annotations

from collections.abc import Mapping

from raysearch.core.segment import Mode, Segment, score

CHEAP = 10.0  # growing again is preferred while it takes less than so many saves: few are ever loaded


class Saving:
    """Weighs what a checkpoint costs against growing the segment again.

    Attributes:
        keep, bars: of the last reply of the coordinator; see `messages.Reply`.
    """

    def __init__(self, metric: str, mode: Mode) -> None:
        self._metric, self._mode = metric, mode
        self.keep = True
        self.bars: Mapping[int, float] = {}
        self._seconds: float | None = None

    def is_worth(self, segment: Segment, curve: Mapping[str, list[float]], grown_s: float) -> bool:
        """False where growing the segment again would be cheaper than its checkpoint, or over quota.

        Segments among the best so far of their rung, and finalists, are saved in any case.

        Args:
            grown_s: seconds of training from a fresh model to the end of the segment.
        """
        values = curve.get(self._metric)
        reached = score(values[-1], self._mode) if values else float("inf")
        if segment.is_final or reached <= self.bars.get(segment.stop, float("inf")):
            return True
        return self.keep and (self._seconds is None or grown_s > CHEAP * self._seconds)

    def took(self, seconds: float) -> None:
        """Notes how long a checkpoint took to write."""
        self._seconds = smoothed(self._seconds, seconds)


def smoothed(mean: float | None, value: float) -> float:
    """A moving mean with a fifth of the new value; the value itself where there is no mean yet."""
    return 0.8 * mean + 0.2 * value if mean else value
