"""The search in this process, one segment at a time: no cluster, so breakpoints and prints work."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from raysearch import ray_private
from raysearch.core.segment import segment_name
from raysearch.engine.messages import Going, Lease, Reply, Turn
from raysearch.engine.search import Search
from raysearch.errors import RunError
from raysearch.run.options import OnStatus
from raysearch.spec.trainables import is_class
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.paths import RunPaths
from raysearch.worker.child_steps import environment_for
from raysearch.worker.env_vars import environment
from raysearch.worker.host_factory import make_host
from raysearch.worker.job import Job
from raysearch.worker.loop import Loop

LOOK_S = 0.5
ONE_AT_A_TIME = (
    "executor: inline trains in this process, in which another such search is going on (in another thread "
    "or around this one's trainable); they would share Ray's session and the random generators. Wait for it, "
    "or begin this one in a process of its own, or with executor='tune'"
)
BROKEN_OFF = (
    "the process that trained this run inline before ended in the midst of segment {segment}: it was killed, "
    "or the trainable's code ended it (os._exit, a crash in a library), and your own program with it. With "
    "isolate: true, or executor: tune, only the trial would have ended"
)
KILLED = (
    "the process of this run ended in the midst of segment {segment}: it was killed, by hand or by the "
    "machine (out of memory, a shutdown). The trial was not in it: it had processes of its own"
)

APART = "apart"  # in the note of the segment in training, where that is trained in processes of its own

_GOING_ON = threading.Lock()  # held while a search trains in this process


@contextlib.contextmanager
def by_itself() -> Iterator[None]:
    """Keeps other searches out of this process in the block.

    Raises:
        RunError: one is going on here already.
    """
    if not _GOING_ON.acquire(blocking=False):
        raise RunError(ONE_AT_A_TIME)
    try:
        yield
    finally:
        _GOING_ON.release()


def check_by_itself(trainable: Any) -> None:
    """Raises RunError where a search in this process would get in the way of another one, or of Ray's."""
    if _GOING_ON.locked():
        raise RunError(ONE_AT_A_TIME)
    if not is_class(trainable) and ray_private.function_session() is not None:
        raise RunError(
            "executor: inline trains a function in this process, in which a function trainable of Ray Tune "
            "is at work already; begin this search in a process of its own, or give a class"
        )


@dataclass(slots=True)
class _Done:
    reply: Reply

    def ready(self) -> bool:
        return True

    def get(self) -> Reply:
        return self.reply


class InlineLink:
    """A link that asks the search directly."""

    def __init__(self, search: Search, look: Callable[[], object] = lambda: None) -> None:
        self._search = search
        self._look = look

    def send(self, turn: Turn) -> _Done:
        """Exchanges at once, one lease at a time so that every decision sees every outcome."""
        for name, segment, cause in turn.unreadable:
            self._search.checkpoint_lost(name, segment, cause)
        self._look()
        return _Done(self._search.exchange(turn.worker, turn.outcomes, 1, time.time(), turn.holding))


class InlineLoop(Loop):
    """A loop in which orders and budgets are seen to between two iterations too."""

    def __init__(self, job: Job, *args: Any, search: Search, look: Callable[[], object], note: Path) -> None:
        """`note`: the file that names the segment in training."""
        super().__init__(job, *args)
        self._search = search
        self._note = note
        self._is_apart = job.isolate or job.processes > 0
        self._look = look
        self._look_at = 0.0

    def _train(self, lease: Lease) -> None:
        words = [segment_name(lease.segment.id), *([APART] if self._is_apart else [])]
        with contextlib.suppress(OSError):  # it only helps a resume; the journal tells of a lost folder
            self._note.write_text(" ".join(words), encoding="utf-8")
        super()._train(lease)

    def _progress(self, iteration: int) -> Going:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_S
            self._look()
            self.abort = self._search.beat(self.name, self.current, iteration, time.time())
        return super()._progress(iteration)


def run_inline(
    search: Search,
    job: Job,
    checkpoints: Checkpoints,
    on_status: OnStatus,
    look: Callable[[], object] = lambda: None,
) -> None:
    """Trains until the search is over; `on_status` gets a snapshot every half second.

    `look` is called at every turn, and now and then between iterations: it takes in what people ordered.
    """
    # Ray's Trainable changes the working directory; in the user's own process it must not.
    stay = {} if job.isolate else {"RAY_CHDIR_TO_TRIAL_DIR": "0"}
    with (
        tempfile.TemporaryDirectory(prefix="raysearch-") as scratch,
        environment(**stay, **environment_for(Path(scratch, "children"))),
    ):
        host = make_host(job, Path(scratch), None)
        link = InlineLink(search, look)
        note = RunPaths(job.here).training_inline
        if note.exists():
            segment, *apart = note.read_text(encoding="utf-8").split()
            search.warnings.add((KILLED if APART in apart else BROKEN_OFF).format(segment=segment))
        loop = InlineLoop(job, "inline", host, checkpoints, link, search=search, look=look, note=note)
        try:
            while not loop.run(time.monotonic() + 0.5):
                on_status(search.status(time.time()))
        finally:
            loop.drop()
            note.unlink(missing_ok=True)
    on_status(search.status(time.time()))


@contextlib.contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Arithmetic takes so many threads in the block, as Ray has it for a worker; torch too, if it is loaded.

    As many as there are cores wait for each other at every step of a small model.
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else count
    with threadpool_limits(count):
        if torch is not None:
            torch.set_num_threads(count)  # for threads to come too, such as those of function trainables
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)
