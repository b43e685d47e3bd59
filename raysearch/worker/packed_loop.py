"""The loop of a worker that trains many models at once: continuous batching.

Models join a pack and leave it between two iterations. What an iteration will free is asked for while it
runs, so that its rows are filled at once; what ended is handed in meanwhile. The exchange with the search
is that of `worker.base`.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raysearch.core.cause import cause_of
from raysearch.core.error_text import in_words, print_traceback
from raysearch.core.segment import Cause, Outcome, Status
from raysearch.engine.messages import Lease, Link
from raysearch.errors import CheckpointError, TrainableError
from raysearch.fused import checkpoint_files as files
from raysearch.fused.compatibility import FusionVerdict, examine
from raysearch.fused.memory import keep_to, keep_what_is_freed
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.checkpoints.meta import write_meta
from raysearch.worker.base import WorkerLoop
from raysearch.worker.job import Job
from raysearch.worker.packs import Leaver, PackCrew


class FusedLoop(WorkerLoop):
    """Runs segments in packs until the search is over; what `worker.Loop` is to one model at a time."""

    def __init__(self, job: Job, name: str, crew: PackCrew, checkpoints: Checkpoints, link: Link) -> None:
        super().__init__(job, name, checkpoints, link)
        self._crew = crew
        self._held: dict[int, Lease] = {}

    def run(self, until: float) -> bool:
        """Works until the search is over, or it has to leave (True), or the time is `until` (False)."""
        while not self.abort and not self.leaving:
            if self._answer is None and self._has_to_say():
                self._send()
            if self._is_over():
                return True
            if time.monotonic() >= until:
                return False
            self._take_on()
            team = self._crew.next_team()
            if team is not None:
                self.current, self.iteration = team.trainees[0].lease.segment.id, team.trainees[0].member.at
                self._hand_in(self._crew.iterate(team))
        if self.leaving:
            self._break_off(self._crew.pause())
        self._send_last()
        return True

    def held(self) -> tuple[Lease, ...]:
        """The leases in hand, for a coordinator that has forgotten them; any thread may ask."""
        return tuple(self._held.values())

    def drop(self) -> None:
        """Ends what is in training."""
        self._crew.clear()
        self._queue.clear()
        self._held.clear()

    # ---- the search

    def _has_to_say(self) -> bool:
        wants = self._crew.room() > len(self._queue)
        return bool(self._outcomes or self._unreadable or wants or not self._crew.live)

    def _send(self) -> None:
        self._send_turn(max(0, self._crew.room() - len(self._queue)), tuple(self._held))

    def _is_over(self) -> bool:
        """Takes in an answer that is there; waits for it only where there is nothing else to do."""
        if self._answer is None or (self._crew.live and not self._answer.ready()):
            return False
        answer, self._answer = self._answer, None
        reply = answer.get()
        self._saving.keep, self._saving.bars = reply.keep, reply.bars
        self._queue.extend(reply.leases)
        self._held.update((lease.segment.id, lease) for lease in reply.leases)
        return reply.stop

    # ---- models

    def _take_on(self) -> None:
        """Brings leased models to their starts; others wait while a suspect of worker deaths trains."""
        while self._queue and not self._crew.is_reserved:
            lease = self._queue.popleft()
            try:
                self._crew.take_on(lease)
            except CheckpointError as error:
                self._end(self._not_begun(lease, error))
            except Exception as error:  # noqa: BLE001  (the user's model may raise anything)
                print_traceback()
                self._end(_failed(lease, error))

    def _end(self, outcome: Outcome) -> None:
        self._held.pop(outcome.segment.id, None)
        self._outcomes.append(outcome)

    def _not_begun(self, lease: Lease, error: CheckpointError) -> Outcome:
        if lease.checkpoint is None:
            return _failed(lease, error)
        text = self._note_unreadable(lease, error)
        return Outcome(lease.segment, Status.LOST, error=text, cause=Cause.CHECKPOINT)

    def _hand_in(self, leavers: list[Leaver]) -> None:
        names, unsaved = self._saved([leaver for leaver in leavers if self._is_worth_saving(leaver)])
        for leaver in leavers:
            segment, trained = leaver.lease.segment, leaver.trained
            if leaver.model is not None:
                self._crew.paused.put(segment.id, leaver.model)
            if unsaved and segment.id in names and not trained.error:
                trained.error, trained.cause = unsaved, Cause.CHECKPOINT
            self._end(
                Outcome(
                    segment,
                    trained.status,
                    trained.curve,
                    names.get(segment.id),
                    leaver.seconds,
                    self.name,
                    trained.error,
                    cause=trained.cause,
                )
            )
            self.segments += 1

    def _break_off(self, leavers: list[Leaver]) -> None:
        """Saves models in the midst of their segments."""
        names, error = self._saved(leavers)
        for leaver in leavers:
            segment, name = leaver.lease.segment, names.get(leaver.lease.segment.id)
            at = segment.start + max(map(len, leaver.trained.curve.values()), default=0)
            then = error or f"it goes on from iteration {at} of {segment.stop}"
            text = f"its worker {self.leaving}; {then}"
            curve = leaver.trained.curve if name is not None else {}
            self._end(
                Outcome(segment, Status.LOST, curve, name, leaver.seconds, self.name, text, cause=Cause.LEFT)
            )

    # ---- checkpoints

    def _is_worth_saving(self, leaver: Leaver) -> bool:
        trained = leaver.trained
        return leaver.model is not None and self._saving.is_worth(
            leaver.lease.segment, trained.curve, trained.grown_s
        )

    def _saved(self, leavers: list[Leaver]) -> tuple[dict[int, str | None], str]:
        """Writes models, those of one layout into one file; (names by segment, what went wrong)."""
        names: dict[int, str | None] = {leaver.lease.segment.id: None for leaver in leavers}
        if not leavers:
            return names, ""
        began = time.perf_counter()
        try:
            for group in self._crew.by_layout(leavers):
                together = [group] if self._checkpoints.shares_files else [[leaver] for leaver in group]
                for each in together:
                    names.update(self._write(each))
        except Exception as error:  # noqa: BLE001  (a full disk, storage that is away: the outcome has the text)
            return names, f"checkpoint not written: {in_words(error)}"
        self._saving.took((time.perf_counter() - began) / len(leavers))
        return names, ""

    def _write(self, group: list[Leaver]) -> dict[int, str]:
        token = secrets.token_hex(4)
        folders = [self._checkpoints.path_for_new(leaver.lease.segment.id, token) for leaver in group]
        try:
            file = folders[0] / files.ROWS
            models = [leaver.model for leaver in group if leaver.model is not None]
            files.write_rows(file, [model.row for model in models], self._crew.layout_of(models[0]))
            for place, (folder, model) in enumerate(zip(folders, models, strict=True)):
                if place:
                    files.link_rows(file, folder)
                files.write_note(folder, files.Note(place, model.seed, model.at, model.config))
                write_meta(folder, {"iteration": model.at, "grown_s": model.grown_s, "config": model.config})
            return {
                leaver.lease.segment.id: self._checkpoints.commit(
                    folder, leaver.lease.segment.is_final or leaver.trained.paused
                )
                for leaver, folder in zip(group, folders, strict=True)
            }
        except BaseException:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _failed(lease: Lease, error: Exception) -> Outcome:
    return Outcome(lease.segment, Status.FAILED, error=in_words(error), cause=cause_of(error))


def fused_loop(
    job: Job,
    name: str,
    learner: type[Any],
    checkpoints: Checkpoints,
    link: Link,
    scratch: Path,
    remark: Callable[[str], object],
    share: float = 1.0,
) -> FusedLoop | None:
    """A loop for a Learner's models; None, with a remark that says why, where they cannot train together.

    Args:
        share: of a GPU, if it has one.

    Raises:
        TrainableError: the learner's data, or what its methods return, are wrong.
    """
    keep_what_is_freed()
    data, device = learner.prepared()
    keep_to(share, device)
    plain = learner.plain()
    try:
        verdict = examine(plain, data, job.samples)
    except TrainableError:
        raise
    except Exception as error:  # noqa: BLE001  (the user's methods may raise anything; alone it fails by itself)
        print_traceback()
        why = f"models are trained one at a time: trying two raised {in_words(error)}"
        verdict = FusionVerdict(False, why=why)
    if verdict.why:
        remark(verdict.why)
    if not verdict.fuses:
        return None
    crew = PackCrew(job, plain, data, device, verdict.lifting, checkpoints, scratch, remark)
    return FusedLoop(job, name, crew, checkpoints, link)
