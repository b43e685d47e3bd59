"""A rank: the process that trains one part of a worker's trials, from its first message to its last.

`serve` is what it runs, whoever started the process: the actor in a bundle, or the worker itself.
"""

from __future__ import annotations

import os
import queue
import shutil
import socket
import sys
import tempfile
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ray import cloudpickle

from raysearch.core.error_text import in_words
from raysearch.core.segment import Status, segment_name
from raysearch.errors import CheckpointError, TrainableError
from raysearch.storage.checkpoints.remote import checkpoints_of
from raysearch.storage.paths import RunPaths
from raysearch.worker.functions import UnstoppableError
from raysearch.worker.group.messages import (
    BEAT_S,
    Alive,
    Begin,
    Change,
    Drop,
    Dropped,
    Finished,
    Join,
    Kept,
    Ready,
    Refused,
    Save,
    Saved,
    Step,
    Store,
    Train,
    Verdict,
    Where,
)
from raysearch.worker.group.parts import part_of, pieces_of
from raysearch.worker.group.process_group import ProcessGroup
from raysearch.worker.group.rank_host import RankHost
from raysearch.worker.group.train_functions import lend
from raysearch.worker.host import Aborted
from raysearch.worker.logs import TrialOutput
from raysearch.worker.reports import Trained


class Line:
    """A rank's connection to its worker. The process ends with it, whatever it does just then."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def begin(self) -> None:
        """Reads, and gives signs of life, in the background from here on."""
        threading.Thread(target=self._read, daemon=True, name="orders").start()
        threading.Thread(target=self._beat, daemon=True, name="beat").start()

    def send(self, message: Any) -> None:
        """Sends a message to the worker."""
        with self._lock:
            self._connection.send_bytes(cloudpickle.dumps(message))

    def receive(self) -> Any:
        """The next message of the worker."""
        return self._inbox.get()

    def meet(self, step: Step) -> Verdict:
        """Waits for the other ranks to come to this step; returns what all do."""
        self.send(step)
        verdict: Verdict = self.receive()
        return verdict

    def _read(self) -> None:
        try:
            while True:
                self._inbox.put(cloudpickle.loads(self._connection.recv_bytes()))
        except (EOFError, OSError):
            os._exit(1)

    def _beat(self) -> None:
        try:
            while not threading.Event().wait(BEAT_S):
                self.send(Alive())
        except OSError:
            os._exit(1)


def serve(connection: Connection, where: Where) -> None:
    """Trains what the worker at the other end asks for; returns only by the end of the process."""
    line = Line(connection)
    line.send(where)
    begin: Begin = cloudpickle.loads(connection.recv_bytes())
    line.begin()
    rank = Rank(line, begin)
    while True:
        order = line.receive()
        if isinstance(order, Join):
            line.send(rank.join(order))
        elif isinstance(order, Train):
            line.send(rank.train(order))
        elif isinstance(order, Save):
            line.send(rank.save(order))
        elif isinstance(order, Drop):
            line.send(rank.drop())


class Rank:
    """What a rank does with each of its worker's orders; the answers go back."""

    def __init__(self, line: Line, begin: Begin) -> None:
        self._line, self._begin = line, begin
        self._heading = "before the first segment"
        self._host: RankHost | None = None
        place, job = begin.place, begin.job
        if place.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(place.gpus)
        if begin.log is not None:
            name = begin.log if place.rank == 0 else f"{begin.log}-rank{place.rank}"
            TrialOutput(RunPaths(job.here).log_of(name), lambda: self._heading).take_over()
        self._scratch = Path(tempfile.mkdtemp(prefix=f"rank{place.rank}-", dir=begin.scratch))
        self._group = ProcessGroup(place, job.timeout_s, bool(place.gpus))
        lend(place)
        if place.rank == 0:
            line.send(Store(self._group.serve()))

    def join(self, order: Join) -> Ready | Refused:
        """Makes the process group, and loads the trainable."""
        try:
            self._group.join(order)
        except Exception as error:  # noqa: BLE001  (torch has many, and the worker needs one in words)
            traceback.print_exc()
            return Refused(f"no process group: {in_words(error)}", is_trainable=False)
        if self._host is None:
            try:
                host = RankHost.of(self._begin.job, self._scratch)
            except TrainableError as error:
                return Refused(str(error), is_trainable=True)
            assert isinstance(host, RankHost)
            host.take_place(self._begin.place, self._scratch, self._line.meet, self._keep)
            self._host = host
        return Ready()

    def train(self, order: Train) -> Finished | Dropped:
        """Trains its part of a segment."""
        assert self._host is not None
        self._heading = f"segment {segment_name(order.lease.segment.id)}"
        try:
            return Finished(self._host.train_part(order.lease, self._here(order)))
        except Aborted:
            return Dropped()
        except CheckpointError as error:
            return Dropped(str(error))
        except UnstoppableError as error:
            return Finished(Trained(Status.FAILED, error=str(error)), is_last=True)

    def save(self, order: Save) -> Saved:
        """Writes its part of a checkpoint."""
        assert self._host is not None
        is_seen = order.folder.is_dir()  # else it is a mirror of a store, on the worker's machine
        folder = order.folder if is_seen else self._scratch / "sent"
        part = part_of(folder, self._begin.place.rank)
        try:
            saved = self._host.save_part(part, order.midway)
            for piece in () if is_seen else pieces_of(part):
                self._line.send(piece)
            return saved
        except Exception as error:  # noqa: BLE001  (the user's save_checkpoint may raise anything)
            traceback.print_exc()
            return Saved(None, in_words(error))
        finally:
            if not is_seen:
                shutil.rmtree(folder, ignore_errors=True)

    def _keep(self) -> Path | None:
        """Has all ranks save in the midst of a segment.

        Raises:
            TrainableError: one of them could not.
        """
        self._line.send(Change())
        order = self._line.receive()
        assert isinstance(order, Save)
        self._line.send(self.save(order))
        kept: Kept = self._line.receive()
        if kept.error:
            raise TrainableError(f"its configuration could not be changed: {kept.error}")
        return kept.folder

    def _here(self, order: Train) -> Path | None:
        """Where the checkpoint to begin from lies on this machine, which may have to fetch it.

        Raises:
            CheckpointError: it cannot be had.
        """
        if order.checkpoint is None or order.checkpoint.is_dir() or order.lease.checkpoint is None:
            return order.checkpoint
        return checkpoints_of(self._begin.job.here).verified(order.lease.checkpoint)

    def drop(self) -> Ready | Finished:
        """Ends the live trial; says so where its function goes on."""
        assert self._host is not None
        try:
            self._host.drop()
        except UnstoppableError as error:
            return Finished(Trained(Status.FAILED, error=str(error)), is_last=True)
        return Ready()


def main() -> None:
    """A rank on the worker's own machine: address and key come through stdin."""
    from multiprocessing.connection import Client

    address, key = cloudpickle.loads(sys.stdin.buffer.read())
    connection = Client(address, authkey=key)
    serve(connection, Where(socket.gethostname(), address[0], os.getpid()))


if __name__ == "__main__":
    main()
