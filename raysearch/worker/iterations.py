"""What a host does with each report of its trainable; a rank does it otherwise (group/rank_host.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.result import RESULT_DUPLICATE

from raysearch.core.segment import Segment
from raysearch.worker.reports import Trained, is_only_an_end, record


class Iterations:
    """Takes in reports of iterations."""

    _metric: str
    _at: int

    def _meet(self, result: Trained, ended: bool = False) -> None:
        """After an iteration, or where the training `ended` without another one."""

    def _is_end(self, report: Mapping[str, Any]) -> bool:
        """Whether a report is no iteration."""
        return RESULT_DUPLICATE in report or is_only_an_end(report, self._metric)

    def _record(self, result: Trained, report: Mapping[str, Any], segment: Segment) -> list[str]:
        """Adds a report to the curve; returns the names of its numbers."""
        return record(result, report, self._metric, segment, self._at)
