"""Ranks: the processes of a worker, as it speaks with them; who is gone or silent is noticed here."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ray import cloudpickle

from raysearch.core.segment import Cause, Status
from raysearch.errors import RaysearchError, TrainableError
from raysearch.worker.group.messages import (
    Alive,
    Begin,
    Dropped,
    Finished,
    Join,
    Piece,
    Refused,
    Saved,
    Store,
    Where,
    places,
)

if TYPE_CHECKING:
    from raysearch.worker.job import Job

START_S = 300.0  # for all ranks to start and to load torch and the trainable, on a machine with much to do
PATIENT_S = 15.0  # after which it is said that ranks are waited for
FROZEN_S = 20.0  # a rank that gives no sign of life for so long is taken for dead
GRACE_S = 3.0  # for the other ranks to come to an end by themselves, after one failed
CLOSE_S = 5.0
OWN_PAUSE_S = 5.0  # a longer gap between two looks at the ranks is this process's own


Say = Callable[[str], None]


class RankLostError(RaysearchError):
    """A rank is gone, or cannot be waited for any longer: the group must end.

    Attributes:
        cause: for the outcome of the segment in training.
    """

    def __init__(self, words: str, cause: Cause) -> None:
        super().__init__(words)
        self.cause = cause


class Starter(Protocol):
    """Starts the processes of ranks, and ends them.

    Attributes:
        count: of ranks.
        address: of this machine, where ranks can reach it.
    """

    count: int
    address: str

    def start(self, address: Any, key: bytes) -> None:
        """Starts processes that connect to `address`, where `key` lets them in."""

    def lost(self) -> str:
        """Why a process has ended that was to connect, in words; empty while all may still come."""

    def kill(self, here: Sequence[Where]) -> None:
        """Ends all processes at once; `here` are those on this machine that have connected."""


class Ranks:
    """The ranks of one group, all of which are connected."""

    def __init__(
        self, starter: Starter, job: Job, scratch: Path, log: str | None, frozen_s: float, say: Say
    ) -> None:
        """Starts the ranks and makes their process group; `say` hears what it waits for.

        Raises:
            RankLostError: they do not come up.
            TrainableError: the trainable cannot be loaded.
        """
        self._starter = starter
        self._timeout_s, self._frozen_s = job.timeout_s, frozen_s
        self._generation = 0
        self._ranks: list[Connection] = []
        self._found: list[Where] = []
        self._port = 0
        try:
            self._connect(say)
            for place, connection in zip(places(self._found), self._ranks, strict=True):
                here = scratch if self._is_here(place.rank) else None
                self._send(connection, Begin(place, job, here, log))
            store = self.answers({0}, START_S)[0]
            assert isinstance(store, Store)
            self._port = store.port
            self.renew()
        except BaseException:
            self.kill()
            raise

    @property
    def count(self) -> int:
        """How many ranks there are."""
        return len(self._ranks)

    @property
    def pids(self) -> list[int]:
        """The processes of the ranks, by rank."""
        return [where.pid for where in self._found]

    def tell(self, message: Any, ranks: Iterable[int] | None = None) -> None:
        """Sends a message to all ranks, or to these.

        Raises:
            RankLostError: one of them is gone.
        """
        for rank in range(self.count) if ranks is None else ranks:
            try:
                self._send(self._ranks[rank], message)
            except OSError as error:
                raise self._gone(rank) from error

    def answers(
        self,
        ranks: set[int] | None = None,
        patience_s: float | None = None,
        take: Callable[[int, Piece], None] | None = None,
    ) -> dict[int, Any]:
        """A message of each of these ranks, of all if None, in the order in which they came.

        Some are missing where one failed and the others did not come to an end soon after, or where one was
        there and the others were not within the group's timeout.

        Args:
            patience_s: for all of them; None: as long as it takes, up to the first.
            take: is given pieces of files that come before the answers.

        Raises:
            RankLostError: a rank is gone, or gives no sign of life.
        """
        awaited = set(range(self.count)) if ranks is None else ranks
        found: dict[int, Any] = {}
        now = looked_at = time.monotonic()
        heard = dict.fromkeys(range(self.count), now)
        until = now + patience_s if patience_s is not None else float("inf")
        while awaited - found.keys() and now < until:
            wait(self._ranks, min(1.0, max(0.0, until - now)))
            now = time.monotonic()
            if now - looked_at > OWN_PAUSE_S:
                heard = dict.fromkeys(heard, now)
            looked_at = now
            for rank, message in self._arrived():
                heard[rank] = now
                if isinstance(message, Piece) and take is not None:
                    take(rank, message)
                if isinstance(message, (Alive, Piece)):
                    continue
                if not found:
                    until = min(until, now + self._timeout_s)
                found[rank] = message
                if has_failed(message):
                    until = min(until, now + GRACE_S)
            self._check_heard(heard, now)
        return found

    def renew(self) -> None:
        """Makes the process group anew, in the processes that are there; no rank may be in training.

        Raises:
            RankLostError: they do not reach each other.
            TrainableError: the trainable cannot be loaded.
        """
        self._generation += 1
        self.tell(Join(self._port, self._generation))
        answers = self.answers(patience_s=START_S)
        for rank, answer in answers.items():
            if isinstance(answer, Refused):
                if answer.is_trainable:
                    raise TrainableError(answer.words)
                raise RankLostError(f"rank {rank}: {answer.words}", Cause.UNREACHABLE)
        if len(answers) < self.count:
            missing = ", ".join(str(r) for r in range(self.count) if r not in answers)
            raise RankLostError(
                f"no process group within {START_S:g} s: rank {missing} hangs", Cause.UNREACHABLE
            )

    def is_whole(self) -> bool:
        """Whether all ranks are there; what they said meanwhile is dropped."""
        try:
            for _ in self._arrived():
                pass
        except RankLostError:
            return False
        return True

    def kill(self) -> None:
        """Ends the processes of all ranks at once."""
        for connection in self._ranks:
            connection.close()
        self._starter.kill([where for rank, where in enumerate(self._found) if self._is_here(rank)])

    # ---- inside

    def _connect(self, say: Say) -> None:
        """Starts the processes, and waits until all have connected."""
        key = secrets.token_bytes(32)
        door = _Door(Listener((self._starter.address, 0), authkey=key))
        try:
            self._starter.start(door.address, key)
            self._wait_for_all(door, say)
        finally:
            door.close()
        came = sorted(door.came, key=lambda c: (c[0].address != self._starter.address, c[0].node, c[0].pid))
        self._found = [where for where, _ in came]
        self._ranks = [connection for _, connection in came]

    def _wait_for_all(self, door: _Door, say: Say) -> None:
        """Returns when all ranks have connected. Raises RankLostError where they do not."""
        count, began, has_said = self._starter.count, time.monotonic(), False
        while len(door.came) < count:
            waited, there = time.monotonic() - began, f"{len(door.came)} of {count}"
            if lost := self._starter.lost():
                raise RankLostError(f"a rank could not start: {lost}", Cause.PROCESS_DIED)
            if waited > START_S:
                raise RankLostError(f"{there} ranks started within {START_S:g} s", Cause.UNREACHABLE)
            if waited > PATIENT_S and not has_said:
                has_said = True
                say(f"a worker waits for room for its processes: {there} have started")
            door.news.wait(1.0)
            door.news.clear()

    def _is_here(self, rank: int) -> bool:
        return self._found[rank].address == self._starter.address

    def _send(self, connection: Connection, message: Any) -> None:
        connection.send_bytes(cloudpickle.dumps(message))

    def _arrived(self) -> Iterable[tuple[int, Any]]:
        """The messages that are there."""
        for rank, connection in enumerate(self._ranks):
            try:
                while connection.poll(0):
                    yield rank, cloudpickle.loads(connection.recv_bytes())
            except (EOFError, OSError) as error:
                raise self._gone(rank) from error

    def _gone(self, rank: int) -> RankLostError:
        where = self._found[rank]
        return RankLostError(f"the process of rank {rank} died ({self._named(where)})", Cause.PROCESS_DIED)

    def _check_heard(self, heard: dict[int, float], now: float) -> None:
        for rank, at in heard.items():
            if now - at > self._frozen_s:
                named = self._named(self._found[rank])
                text = f"rank {rank} gave no sign of life for {self._frozen_s:g} s ({named})"
                raise RankLostError(text, Cause.UNREACHABLE)

    @staticmethod
    def _named(where: Where) -> str:
        return f"process {where.pid} on {where.address}"


def has_failed(message: Any) -> bool:
    """Whether a rank's answer says that something went wrong there."""
    if isinstance(message, Finished):
        return message.trained.status is Status.FAILED
    if isinstance(message, Dropped):
        return bool(message.unreadable)
    return isinstance(message, Refused) or (isinstance(message, Saved) and bool(message.error))


class _Door:
    """Lets ranks in, in the background, until it is closed; whoever has not the key is turned away."""

    def __init__(self, listener: Listener) -> None:
        self.address: Any = listener.address
        self.came: list[tuple[Where, Connection]] = []
        self.news = threading.Event()
        self._listener, self._is_closed = listener, False
        self._thread = threading.Thread(target=self._let_in, daemon=True, name="ranks")
        self._thread.start()

    def close(self) -> None:
        """Lets nobody in any more."""
        self._is_closed = True
        with contextlib.suppress(OSError):  # wakes who waits there
            socket.create_connection(self.address, CLOSE_S).close()
        self._thread.join(CLOSE_S)
        self._listener.close()

    def _let_in(self) -> None:
        while not self._is_closed:
            try:
                connection = self._listener.accept()
                where: Where = cloudpickle.loads(connection.recv_bytes())
            except (AuthenticationError, EOFError, OSError):
                continue
            self.came.append((where, connection))
            self.news.set()
