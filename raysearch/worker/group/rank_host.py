"""RankHost: a Host that is one of several, and meets the others after every iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.result import DONE, RESULT_DUPLICATE

from raysearch.core.segment import Segment, Status
from raysearch.engine.messages import Going, Lease
from raysearch.storage.checkpoints.meta import read_meta
from raysearch.worker.group.messages import Place, Saved, Step, Verdict
from raysearch.worker.group.parts import view_for
from raysearch.worker.group.train_functions import take_rank
from raysearch.worker.host import Host
from raysearch.worker.reports import Trained, numbers_of

Meet = Callable[[Step], Verdict]
Keep = Callable[[], Path | None]


class RankHost(Host):
    """Trains a rank's part of each segment.

    The metric counts as rank 0 reports it. The other ranks report as often; where they report the metric too
    and it is not finite there, the training has diverged.
    """

    def take_place(self, place: Place, scratch: Path, meet: Meet, keep: Keep) -> None:
        """Says which rank this is.

        Args:
            meet: returns when all ranks have come to this step.
            keep: has all ranks save; returns the folder, None where none had anything to write.
        """
        self._restored: Path | None = None
        self._keeps = keep
        self._place, self._rank = place, place.rank
        self._views = scratch
        self._meets = meet
        self._going = Going.ON

    def train_part(self, lease: Lease, checkpoint: Path | None) -> Trained:
        """As `Host.train`; how to go on is heard from the worker."""
        if checkpoint is not None:
            checkpoint = view_for(self._rank, checkpoint, self._views)
        self._restored = checkpoint or self._restored
        return self.train(lease, checkpoint, lambda iteration: self._going)

    def save_part(self, folder: Path, midway: bool) -> Saved:
        """Writes the rank's part, if it has one."""
        folder.mkdir(parents=True)
        is_old = self._reported is not None and self._reported[1] == self._restored
        if not self.save(folder, midway):
            return Saved(None)
        return Saved(read_meta(folder)["iteration"], is_old=is_old)

    def _kept(self) -> Path | None:
        folder = self._keeps()
        if folder is not None:
            self._restored = folder = view_for(self._rank, folder, self._views)
        return folder

    def _begin(self, segment: Segment, checkpoint: Path | None) -> None:
        super()._begin(segment, checkpoint)
        take_rank(self._place)

    def _meet(self, result: Trained, ended: bool = False) -> None:
        diverged = result.error if result.status is Status.DIVERGED else ""
        verdict = self._meets(Step(self._at, ended, result.done, diverged))
        if verdict.diverged:
            result.status, result.error = Status.DIVERGED, verdict.diverged
        self._going = verdict.going

    def _is_end(self, report: Mapping[str, Any]) -> bool:
        if self._rank == 0:
            return super()._is_end(report)
        return RESULT_DUPLICATE in report or bool(report.get(DONE) and not numbers_of(report))

    def _record(self, result: Trained, report: Mapping[str, Any], segment: Segment) -> list[str]:
        if self._rank > 0 and self._metric not in numbers_of(report):
            report = {**report, self._metric: 0.0}  # rank 0 reports it, and its curve is what counts
        return super()._record(result, report, segment)
