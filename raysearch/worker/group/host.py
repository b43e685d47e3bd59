"""GroupHost: trains like a Host, with several processes that are one process group (`workers.processes`).

The ranks stay from segment to segment, and so does their process group. After a failure that all of them
came through, the group is made anew in the same processes; else the processes are ended, and others started
with the next segment.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.core.segment import Cause, Status
from raysearch.engine.messages import Going, Lease
from raysearch.errors import CheckpointError
from raysearch.worker.functions import END_S
from raysearch.worker.group.messages import (
    Change,
    Drop,
    Dropped,
    Finished,
    Kept,
    Ready,
    Save,
    Saved,
    Step,
    Train,
    Verdict,
)
from raysearch.worker.group.parts import merge, part_of, take
from raysearch.worker.group.ranks import FROZEN_S, RankLostError, Ranks, Say, Starter, has_failed
from raysearch.worker.host import Aborted, Progress
from raysearch.worker.job import Job
from raysearch.worker.reports import Trained

OFTEN = "every rank has to report as often as the others"


class GroupHost:
    """Trains segments with all ranks of a worker."""

    def __init__(
        self,
        job: Job,
        starter: Starter,
        scratch: Path,
        log: str | None,
        *,
        frozen_s: float = FROZEN_S,
        say: Say = print,
    ) -> None:
        """Starts the ranks.

        Args:
            log: the name of the worker to whose log they write; None: they print.
            frozen_s: a rank that gives no sign of life for so long is taken for dead.
            say: hears what is waited for, where it takes long.

        Raises:
            RankLostError: they do not come up.
            TrainableError: the trainable cannot be loaded.
        """
        self._job, self._starter, self._scratch, self._log = job, starter, scratch, log
        self._frozen_s, self._say = frozen_s, say
        self._trial: int | None = None
        self._for_now: Path | None = None  # a checkpoint that is no segment's
        scratch.mkdir(parents=True, exist_ok=True)
        self._ranks: Ranks | None = self._started()

    @property
    def pids(self) -> list[int]:
        """The processes of the ranks, by rank; empty while there are none."""
        return self._ranks.pids if self._ranks is not None else []

    def train(self, lease: Lease, checkpoint: Path | None, progress: Progress) -> Trained:
        """As Host.train; a rank that dies or hangs loses the segment, which is given out again.

        Raises:
            RankLostError: the ranks cannot be started again.
        """
        if self._job.isolate and self._trial not in (None, lease.segment.trial):
            self._end()
        self._trial = lease.segment.trial
        if self._ranks is not None and not self._ranks.is_whole():
            self._end()
        if self._ranks is None:
            self._ranks = self._started()
        try:
            self._ranks.tell(Train(lease, checkpoint))
            return self._conducted(self._ranks, progress)
        except RankLostError as lost:
            self._end()
            return Trained(Status.LOST, error=str(lost), cause=lost.cause)

    def save(self, folder: Path, midway: bool = False) -> bool:
        """As Host.save: `folder` has the parts of all ranks, or what went wrong is raised."""
        if self._ranks is None:
            raise OSError("the processes of the worker are gone")
        ranks = self._ranks
        try:
            answers = self._parts(ranks, folder, midway)
        except RankLostError as lost:
            self._end()
            raise OSError(f"{lost} while it wrote its part of the checkpoint") from lost
        if wrong := self._unsaved(ranks, answers):
            self._recover(ranks, answers)
            raise OSError(wrong)
        return _merged(folder, answers)

    def drop(self) -> None:
        """Ends the live trial and the ranks."""
        if self._ranks is not None:
            with contextlib.suppress(RankLostError):
                self._ranks.tell(Drop())
                self._ranks.answers(patience_s=END_S)
        self._end()

    # ---- training

    def _conducted(self, ranks: Ranks, progress: Progress) -> Trained:
        """Has the ranks meet after each iteration, up to the end of the segment.

        Raises:
            RankLostError: one of them is gone, or did not come.
            CheckpointError: the checkpoint cannot be loaded.
            Aborted: the search is ending.
        """
        while True:
            answers = ranks.answers()
            is_complete = len(answers) == ranks.count
            kinds = {type(answer) for answer in answers.values()}
            if is_complete and kinds == {Step}:
                if wrong := _uneven(answers):
                    self._recover(ranks, answers)
                    return Trained(Status.FAILED, error=wrong)
                ranks.tell(_verdict(answers, progress))
            elif is_complete and kinds == {Change}:
                ranks.tell(self._kept(ranks))
            elif is_complete and kinds == {Finished}:
                return self._finished(ranks, answers)
            elif is_complete and kinds == {Dropped}:
                self._raise_dropped(ranks, answers)
            else:
                return self._torn(ranks, answers)

    def _finished(self, ranks: Ranks, answers: Mapping[int, Finished]) -> Trained:
        if any(has_failed(answer) for answer in answers.values()):
            return self._torn(ranks, answers)
        result = answers[0].trained
        for rank in range(1, ranks.count):
            if result.status is Status.COMPLETED and (
                words := _held_otherwise(result, answers[rank].trained)
            ):
                result.error = "; ".join(filter(None, (result.error, f"rank {rank}: {words}")))
                break
        return result

    def _raise_dropped(self, ranks: Ranks, answers: Mapping[int, Dropped]) -> None:
        for rank, answer in sorted(answers.items()):
            if answer.unreadable:
                self._recover(ranks, answers)
                raise CheckpointError(f"rank {rank}: {answer.unreadable}")
        raise Aborted

    def _torn(self, ranks: Ranks, answers: Mapping[int, Any]) -> Trained:
        """What becomes of a segment of which not all ranks came to the same end.

        Raises:
            RankLostError: some did not come at all, and none failed.
            CheckpointError: one of them could not load the checkpoint.
        """
        failed = [
            (rank, answer.trained)
            for rank, answer in answers.items()
            if isinstance(answer, Finished) and has_failed(answer)
        ]
        unreadable = [
            (r, a.unreadable) for r, a in answers.items() if isinstance(a, Dropped) and a.unreadable
        ]
        if not failed and not unreadable and len(answers) < ranks.count:
            raise RankLostError(_did_not_come(answers, ranks.count, self._job.timeout_s), Cause.UNREACHABLE)
        self._recover(ranks, answers)
        if not failed and unreadable:
            raise CheckpointError("rank {}: {}".format(*unreadable[0]))
        if not failed:
            return Trained(Status.FAILED, error=f"the ranks did not end alike: {OFTEN}")
        rank, first = failed[0]  # that came first
        is_of_all = len(failed) == ranks.count and len({trained.error for _, trained in failed}) == 1
        error = first.error if is_of_all else f"rank {rank}: {first.error}"
        ended = [(r, a) for r, a in answers.items() if isinstance(a, Step) and a.ended]
        if ended:  # so that the others waited for it in vain
            error += f" (rank {ended[0][0]} had {_standing(ended[0][1])}: {OFTEN})"
        return Trained(Status.FAILED, error=error, cause=first.cause)

    def _recover(self, ranks: Ranks, answers: Mapping[int, Any]) -> None:
        """Makes the process group anew where all ranks are at rest; ends them where one is not."""
        waiting = {rank for rank, answer in answers.items() if isinstance(answer, Step)}
        is_spent = any(isinstance(answer, Finished) and answer.is_last for answer in answers.values())
        try:
            if len(answers) < ranks.count or is_spent:
                raise RankLostError("a rank is still at work", Cause.OTHER)
            if waiting:
                ranks.tell(Verdict(Going.STOP), waiting)
                ranks.answers(waiting, END_S)
            ranks.tell(Drop())
            dropped = ranks.answers(patience_s=END_S)
            if len(dropped) < ranks.count or any(not isinstance(d, Ready) for d in dropped.values()):
                raise RankLostError("a trial goes on", Cause.OTHER)
            ranks.renew()
        except RankLostError:
            self._end()

    # ---- saving

    def _parts(self, ranks: Ranks, folder: Path, midway: bool) -> dict[int, Saved]:
        """Has each rank write its part below `folder`. Raises RankLostError."""
        ranks.tell(Save(folder, midway))
        return ranks.answers(take=lambda rank, piece: take(part_of(folder, rank), piece))

    def _kept(self, ranks: Ranks) -> Kept:
        """A checkpoint for now, for ranks that change their configuration here. Raises RankLostError."""
        before, self._for_now = self._for_now, Path(tempfile.mkdtemp(dir=self._scratch))
        answers = self._parts(ranks, self._for_now, midway=False)
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)
        if len(answers) < ranks.count:
            raise RankLostError(_did_not_come(answers, ranks.count, self._job.timeout_s), Cause.UNREACHABLE)
        if wrong := self._unsaved(ranks, answers):
            return Kept(None, wrong)
        return Kept(self._for_now if _merged(self._for_now, answers) else None)

    def _unsaved(self, ranks: Ranks, answers: Mapping[int, Saved]) -> str:
        """Why the parts of the ranks make no checkpoint, in words; empty if they do."""
        for rank, answer in answers.items():
            if answer.error:
                return f"rank {rank}: {answer.error}"
        if len(answers) < ranks.count:
            return _did_not_come(answers, ranks.count, self._job.timeout_s)
        found = {rank: answers[rank].iteration for rank in _counting(answers)}
        if len(set(found.values())) > 1:
            each = ", ".join(f"rank {rank} after iteration {at}" for rank, at in found.items())
            return f"the ranks' last checkpoints are of different iterations ({each})"
        return ""

    def _started(self) -> Ranks:
        return Ranks(self._starter, self._job, self._scratch, self._log, self._frozen_s, self._say)

    def _end(self) -> None:
        ranks, self._ranks, self._trial = self._ranks, None, None
        if ranks is not None:
            ranks.kill()
            for folder in self._scratch.glob("rank*-*"):
                shutil.rmtree(folder, ignore_errors=True)


def _counting(answers: Mapping[int, Saved]) -> list[int]:
    """The ranks whose parts make the checkpoint: those that have written since they began, if any has."""
    written = [rank for rank, answer in sorted(answers.items()) if answer.iteration is not None]
    return [rank for rank in written if not answers[rank].is_old] or written


def _merged(folder: Path, answers: Mapping[int, Saved]) -> bool:
    """Brings the parts together; False where there are none."""
    ranks = _counting(answers)
    merge(folder, ranks)
    return bool(ranks)


def _verdict(answers: Mapping[int, Step], progress: Progress) -> Verdict:
    """What all ranks do after an iteration that all came to."""
    for rank, step in sorted(answers.items()):
        if step.diverged:
            return Verdict(diverged=step.diverged if rank == 0 else f"rank {rank}: {step.diverged}")
    first = answers[0]
    return Verdict() if first.ended or first.done else Verdict(Going(progress(first.at)))


def _uneven(answers: Mapping[int, Step]) -> str:
    """Where ranks are not at the same point, in words; empty if all are."""
    first = answers[0]
    for rank, step in sorted(answers.items()):
        if (step.at, step.ended, step.done) != (first.at, first.ended, first.done):
            return f"rank 0 {_standing(first)}, and rank {rank} {_standing(step)}: {OFTEN}"
    return ""


def _standing(step: Step) -> str:
    if step.ended:
        return f"ended after {step.at} reports"
    return f"{'ended with' if step.done else 'made'} report {step.at}"


def _did_not_come(answers: Mapping[int, Any], count: int, timeout_s: float) -> str:
    missing = [rank for rank in range(count) if rank not in answers]
    came = min(answers)
    at = f"report {answers[came].at}" if isinstance(answers[came], Step) else "the end of its part"
    ranks = "rank " + ", ".join(map(str, missing)) if len(missing) == 1 else f"ranks {missing}"
    return (
        f"{ranks} did not come within {timeout_s:g} s after rank {came} came to {at}: {OFTEN}, and waits "
        "no longer for the others than `workers.timeout`"
    )


def _held_otherwise(first: Trained, other: Trained) -> str:
    """Where a rank's optimizer held other values than rank 0's, in words; empty if it did not."""
    for series, values in first.held.items():
        theirs = other.held.get(series)
        if theirs is not None and repr(theirs) != repr(values):
            return f"its optimizer held another {series[0]} than that of rank 0"
    return ""
