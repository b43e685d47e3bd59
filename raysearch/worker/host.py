"""Host: drives one trainable through segments, in this process.

It speaks the public Trainable contract of Ray Tune (`train`, `save`, `restore`, `reset`), so class
and function trainables run unchanged. What makes a segment a pure function lies here: the random
generators are seeded at its start, the parent's state is restored, continued or grown again, and the
configuration is applied after the restore.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.result import DONE, SHOULD_CHECKPOINT
from ray.tune.trainable import Trainable
from ray.tune.trainable.function_trainable import FunctionTrainable

from raysearch import ray_private
from raysearch.core.error_text import in_words, print_traceback
from raysearch.core.library_errors import is_out_of_memory
from raysearch.core.segment import Segment, Status
from raysearch.core.trial_config import TrialConfig
from raysearch.core.values import fresh
from raysearch.engine.messages import Going, Lease
from raysearch.errors import CheckpointError, NoCheckpointError, TrainableError
from raysearch.spec.trainables import is_class, is_learner
from raysearch.storage.checkpoints.links import linked
from raysearch.storage.checkpoints.meta import as_read, read_meta, write_meta
from raysearch.worker import rng
from raysearch.worker.applied_config import ignored
from raysearch.worker.functions import CheckpointWatch, UnstoppableError, wait_for_end, wrapped
from raysearch.worker.iterations import Iterations
from raysearch.worker.job import Job
from raysearch.worker.once import OnceAProcess
from raysearch.worker.optimizer_values import OptimizerValues
from raysearch.worker.process_state import GOES_ON_TRAINED, IS_NOT_RESET, ProcessState
from raysearch.worker.reports import Trained, check_metric
from raysearch.worker.rng import seed_of
from raysearch.worker.tune_storage import TRIAL_INFO, LocalStorage, TrialName

Progress = Callable[[int], int]  # what to do after this iteration: see `Going`


class Aborted(Exception):
    """Training was interrupted between two iterations because the search is ending."""


class _NotResetError(Exception):
    """A trainable that said that it was reset goes on with the model of the trial before."""


class Host(Iterations):
    """Trains segments with one trainable; keeps the last trial live so that it can go on at once."""

    def __init__(
        self,
        trainable: Any,
        *,
        metric: str,
        scratch: Path,
        constants: Mapping[str, Any] | None = None,
        seed_as: str | None = None,
        length: int | None = None,
    ) -> None:
        """`length`: the iterations of a training at most, which the trainable finds as `max_iterations`."""
        self._length = length
        self._class = trainable if is_class(trainable) else wrapped(trainable)
        self._metric = metric
        self._constants = dict(constants or {})
        self._seed_as = seed_as
        self._storage = LocalStorage(scratch)
        quiet = ray_private.logging_to(lambda: self._storage.trial_working_directory)
        self._surroundings = {"storage": self._storage, **quiet}
        for loud in ("ray.tune.trainable.trainable", "ray.train._internal.storage"):
            logging.getLogger(loud).setLevel(logging.WARNING)  # a line a restore, a line a checkpoint
        self._trainable: Trainable | None = None
        self._live: int | None = None  # the segment at whose end the trainable stands
        self._config: dict[str, Any] = {}
        self._given: dict[str, Any] = {}  # the configuration as the trainable has it: see OptimizerValues
        self._values = OptimizerValues(not is_learner(trainable))
        self._at = 0
        self._grown_s = 0.0
        self._watch = CheckpointWatch()
        self._once = OnceAProcess()
        self._process = ProcessState()
        self._may_reset = True
        self._was_reset = False  # the trial began with a trainable that was reset, not made anew
        self._is_fresh = False  # it began without a checkpoint
        self._is_first = True  # the next report is the first since the trainable was made, reset or restored
        self._trial: int | None = None  # whose working folder this process is in
        self._ignored: set[str] = set()
        self._remarks: list[str] = []
        self._reported: tuple[int, Path] | None = None  # a function's last checkpoint: (iteration, folder)

    @classmethod
    def of(cls, job: Job, scratch: Path) -> Host:
        """A host for the trials of a search."""
        return cls(
            job.trainable.load(),
            metric=job.metric,
            scratch=scratch,
            constants=job.constants,
            seed_as=job.seed_as,
            length=job.length,
        )

    def train(self, lease: Lease, checkpoint: Path | None, progress: Progress) -> Trained:
        """Trains the leased segment; what went wrong in the user's code is in the result.

        Args:
            checkpoint: where the lease's checkpoint lies.
            progress: called after each iteration; answers with a `Going`. At PAUSE the result is
                `paused`, and the trial stays live, to be saved with `midway`.

        Raises:
            CheckpointError: the checkpoint cannot be loaded.
            Aborted: `progress` answered STOP, or PAUSE before the segment's own first iteration.
        """
        result = Trained()
        path = [*lease.chain, lease.segment]
        self._values.activate()
        try:
            try:
                self._walk(lease, path, checkpoint, result, progress)
            except _NotResetError:  # found before anything was recorded
                self.drop()
                self._may_reset = False
                self._walk(lease, path, checkpoint, result, progress)
                self._remarks.append(IS_NOT_RESET)
        except UnstoppableError:
            raise
        except (Aborted, CheckpointError):
            self.drop()
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  (the user's code may raise anything, or exit)
            print_traceback()
            result.fail(error, self._once.hint(error))
        finally:
            self._values.pause()
        if result.status is not Status.COMPLETED and not result.paused:
            self.drop()
        elif self._remarks:
            result.error, self._remarks = "; ".join(self._remarks), []
        result.grown_s = self._grown_s
        return result

    def _walk(
        self, lease: Lease, path: list[Segment], checkpoint: Path | None, result: Trained, progress: Progress
    ) -> None:
        todo = self._stand_at_start(lease, path, checkpoint)
        for segment in todo[:-1]:
            self._advance(segment, Trained(), lambda i: Going.STOP if progress(i) else Going.ON)
        if lease.begun is not None:
            result.begun(lease.begun, self._at - lease.segment.start)
        self._advance(lease.segment, result, progress, checkpoint if lease.begun is not None else None)

    def save(self, folder: Path, midway: bool = False) -> bool:
        """Writes the live trial's checkpoint into `folder`; False if the trainable has none to give.

        One in the midst of a segment holds the random generators too. A function's own is at or before the
        iteration that it has reached.

        Raises:
            OSError: it cannot be written.
        """
        trainable = self._trainable
        assert trainable is not None
        if isinstance(trainable, FunctionTrainable):
            if self._reported is None:
                return False
            iteration, source = self._reported
            shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=linked)
        else:
            iteration = self._at
            if not _save_class(trainable, folder):
                return False
        grown_s = self._grown_s * iteration / max(1, self._at)
        meta = {"iteration": iteration, "grown_s": grown_s, "config": self._config}
        if values := self._values.note():
            meta["optimizer"] = values
        write_meta(folder, meta)
        if midway and not isinstance(trainable, FunctionTrainable):
            rng.save(folder)
        return True

    def drop(self) -> None:
        """Ends the live trial, if there is one.

        Raises:
            UnstoppableError: its function swallows SystemExit and goes on.
        """
        trainable, self._trainable, self._live = self._trainable, None, None
        if trainable is None:
            return
        session = ray_private.function_session() if isinstance(trainable, FunctionTrainable) else None
        try:
            trainable.stop()
        except Exception:  # noqa: BLE001  (its own clean-up may fail; the trial is over either way)
            print_traceback()
        self._storage.enter()
        if session is not None and session.training_started:
            wait_for_end(session.training_thread)

    # ---- getting to the start

    def _stand_at_start(self, lease: Lease, path: list[Segment], checkpoint: Path | None) -> list[Segment]:
        """Brings the trainable to the start of some segment of `path`; returns those left to train."""
        for i in reversed(range(len(path))) if lease.begun is None else ():
            if self._live is not None and self._live == path[i].parent:
                if self._trial != path[i].trial:
                    self._enter_folder(path[i].trial)
                    self._storage.enter()
                if i == 0 and checkpoint is not None and self._full_config(path[0]) != self._config:
                    break  # saved already: restored under the new configuration, not saved once more
                return path[i:]
        self._begin(path[0], checkpoint)
        return path

    def _begin(self, segment: Segment, checkpoint: Path | None) -> None:
        self._live = None
        rng.seed_all(seed_of(segment))
        self._is_first = True
        self._once.begin()
        self._watch.end()
        self._enter_folder(segment.trial)
        meta = read_meta(checkpoint) if checkpoint is not None else {}
        self._config = self._full_config(segment)
        self._given = self._values.begin(self._config, meta)
        self._is_fresh = checkpoint is None
        self._configure(segment)
        self._values.strangers = self._process.strangers
        if self._reported is not None:
            self._storage.discard(self._reported[1])
        self._at, self._grown_s, self._reported = 0, 0.0, None
        if checkpoint is not None:
            self._restore(checkpoint)
            config = meta.get("config")
            self._apply(config if isinstance(config, dict) else None)

    def _enter_folder(self, trial: int) -> None:
        """Gives the trial an empty working folder of its own."""
        self._trial = trial
        self._storage.begin(trial)
        if self._trainable is not None:
            ray_private.work_in(self._trainable, self._storage.trial_working_directory)

    def _apply(self, before: Mapping[str, Any] | None) -> None:
        """Applies the present configuration after a restore of a checkpoint that was saved under another one.

        A value that a class ignores is noted, once a name. A function reads its config itself.
        """
        trainable = self._trainable
        now = as_read(self._config)
        if before == now or trainable is None or isinstance(trainable, FunctionTrainable):
            return
        apply_config = getattr(trainable, "apply_config", None)
        if callable(apply_config):
            apply_config(fresh(self._given))
        for name, text in ignored(trainable, before or {}, now).items():
            if name not in self._ignored | self._values.bound:
                self._ignored.add(name)
                self._remarks.append(text)

    def _configure(self, segment: Segment) -> None:
        """Has the trainable begin anew: a function's code, or an object that is reset or made."""
        live = self._trainable
        is_function = isinstance(live, FunctionTrainable)
        if is_function:
            self._remarks.extend(self._process.begin(is_function))
        self._was_reset = not is_function
        again = live if self._may_reset or is_function else None
        if again is not None and ray_private.reset(again, self._handed_out(segment), **self._surroundings):
            return
        self.drop()
        self._was_reset = False
        if not is_function:
            self._remarks.extend(self._process.begin(is_function))
        self._trainable = self._class(self._handed_out(segment), **self._surroundings)

    def _handed_out(self, segment: Segment) -> dict[str, Any]:
        """The trainable's own copy of the configuration: what it changes in it changes nothing here."""
        return TrialConfig({**fresh(self._given), TRIAL_INFO: TrialName(segment.trial)}, self._length)

    def _full_config(self, segment: Segment) -> dict[str, Any]:
        seed = {self._seed_as: segment.seed} if self._seed_as else {}
        return {**self._constants, **segment.config, **seed}

    def _restore(self, folder: Path) -> None:
        assert self._trainable is not None
        try:
            meta = read_meta(folder)
            ray_private.restore(self._trainable, folder, meta["iteration"])
        except Exception as error:
            if is_out_of_memory(error):  # which says nothing against the checkpoint
                raise
            print_traceback()
            self.drop()
            raise CheckpointError(in_words(error)) from error
        self._at, self._grown_s = meta["iteration"], meta["grown_s"]
        if isinstance(self._trainable, FunctionTrainable):
            self._reported = (self._at, folder)
            self._watch.begin(self._at)

    def _change_config(self, segment: Segment) -> None:
        """Goes on from here under another configuration: save, reset, restore."""
        folder = self._kept()
        if folder is None:
            raise NoCheckpointError(
                "the configuration changes along the path, and the trainable writes no checkpoint through "
                "which it could be applied (a class: implement save_checkpoint and load_checkpoint; a "
                "function: pass checkpoint= to tune.report, and begin from tune.get_checkpoint())"
            )
        try:
            self._begin(segment, folder)
        except CheckpointError as error:  # of this moment: no fault of the lease's checkpoint
            raise TrainableError(f"its state does not fit the changed configuration: {error}") from error
        if not isinstance(self._trainable, FunctionTrainable):  # a function reads it only when it starts
            self._storage.discard(folder)

    def _kept(self) -> Path | None:
        """The live trial's checkpoint, in a folder for now; None if it has none to give."""
        folder = self._storage.new_folder()
        return folder if self.save(folder) else None

    # ---- training

    def _advance(
        self, segment: Segment, result: Trained, progress: Progress, midway: Path | None = None
    ) -> None:
        """Trains to the segment's end; from the checkpoint `midway`, which was restored, if that is given."""
        if self._live is not None and self._full_config(segment) != self._config:
            self._change_config(segment)
        if midway is None or not rng.restore(midway):
            rng.seed_all(seed_of(segment, self._at if midway is not None else segment.start))
        self._live = None
        assert self._trainable is not None
        names: set[str] = set(result.curve)
        while self._at < segment.stop:
            began = time.perf_counter()
            if self._values.watches:
                self._values.activate()
            report = self._trainable.train()
            self._grown_s += time.perf_counter() - began
            if self._is_first:
                self._is_first = False
                self._watch.check()
                self._once.reported()
                self._check_fresh()
            if self._is_end(report):
                result.done = True
                self._meet(result, ended=True)
                break
            self._at += 1
            self._note_checkpoint(report)
            held = self._values.take() if self._values.watches else None
            if self._at > segment.start:
                if held:
                    result.note_used(held, self._at - segment.start)
                names.update(self._record(result, report, segment))
            result.done = bool(report.get(DONE))
            self._meet(result)
            if result.status is Status.DIVERGED or result.done:
                break
            going = progress(self._at)
            if going and self._at < segment.stop:
                if going != Going.PAUSE or self._at <= segment.start:
                    raise Aborted
                result.status, result.paused = Status.LOST, True
                return
        check_metric(result, self._metric, segment, names)
        self._remarks.extend(self._values.remarks())
        result.unseen = self._values.unseen
        self._live = segment.id

    def _check_fresh(self) -> None:
        """Raises where a trial that was to begin with a fresh model began with the last one's weights."""
        if self._is_fresh and self._values.are_the_last_ones:
            raise _NotResetError if self._was_reset else TrainableError(GOES_ON_TRAINED)

    def _note_checkpoint(self, report: Mapping[str, Any]) -> None:
        if not report.get(SHOULD_CHECKPOINT) or not isinstance(self._trainable, FunctionTrainable):
            return
        saved = self._trainable.save().checkpoint
        if saved is not None:
            if self._reported is not None:
                self._storage.discard(self._reported[1])
            self._reported = (self._at, Path(saved.path))


def _save_class(trainable: Trainable, folder: Path) -> bool:
    try:
        ray_private.save_into(trainable, folder)
    except NotImplementedError:
        return False
    return True
