"""The coordinator: a Search in a Ray actor on the head node.

Workers pull from it. Exchanges that arrive while the journal is being flushed are made durable
together by the next flush. When the actor dies, Ray starts it again: it replays the journal, waits
for workers to claim what they hold, and goes on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import resource
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray import cloudpickle

from raysearch.core.segment import Cause, Outcome
from raysearch.engine.fair_share import Claim
from raysearch.engine.faults import Loss
from raysearch.engine.messages import BEAT_S, WITH_ITS_NODE, Death, Dismissal, Lease, Reply, Turn
from raysearch.engine.snapshot import CoordinatorFacts, Snapshot
from raysearch.engine.wind_down import Ended
from raysearch.engine.workers import Overdue
from raysearch.errors import CheckpointError, JournalBusyError, JournalError, RaysearchError, StoreError
from raysearch.executors.tune.commit import GroupCommit
from raysearch.executors.tune.node_watch import NodeWatch
from raysearch.executors.tune.socket_link import Address, is_allowed, open_door
from raysearch.run.session import Session, Setup
from raysearch.storage.marks import mark
from raysearch.storage.retry import patiently
from raysearch.worker.job import Job

BEAT_MOST_S = 20.0  # the same of one among thousands; well below SILENCE_S
BEATS_PER_S = 500  # of all workers together
IDLE_S = 1.0  # how long a worker without work is kept waiting before it asks again
GRACE_S = 4.0  # after a restart: time for workers to claim what they hold before new leases
PAUSE_S = 10.0  # a longer gap between two looks at the workers is the coordinator's own
COLLECT_S = 20.0  # between two collections of checkpoints
PIECE_BYTES = 64 << 10  # of an argument; Ray keeps those below 100 kB with the actor
INLINED_BYTES = 4 << 20  # of all arguments; Ray keeps 10 MB
CAUSES = {
    Death.ALONE: Cause.PROCESS_DIED,
    Death.OUT_OF_MEMORY: Cause.MEMORY_KILL,
    Death.WITH_NODE: Cause.NODE_LOST,
    Death.UNCLEAR: Cause.UNREACHABLE,
}


class Coordinator:
    """The actor; all methods but the journal's flush run on its event loop."""

    def __init__(self, *pieces: Any) -> None:
        """`pieces`: as `start_coordinator` makes them."""
        mark("coordinator: process is up")
        setup, job = of_pieces(pieces)
        self._job = job
        self._claim = setup.claim
        self._session = _opened(setup)
        self._search = self._session.search
        self._attendance = self._search.attendance
        self._handout = self._search.handout
        self._queue = self._search.queue
        self._lifetime = self._search.lifetime
        self._warnings = self._search.warnings
        self._commit = GroupCommit(self._search, self._session.journal, setup.spec.storage_timeout_s, job.run)
        self._nodes = NodeWatch(self._warnings.add)
        self._life = f"{os.getpid()}-{time.time_ns()}"
        self._ready_at = time.monotonic() + (GRACE_S if was_restarted() else 0.0)
        self._handles: dict[str, bytes | None] = {}  # pickled: reading one loads all of Tune
        self._epoch = 0
        self._actors: dict[str, str] = {}  # Ray's id of each worker's process
        self._dead: set[str] = set()  # those that Tune gave up
        self._watch: asyncio.Task[None] | None = None
        self._closed = False
        self._door: asyncio.Task[Address] | None = None
        gc.collect()
        gc.freeze()  # what is there stays; looking through it again and again made pauses of 0.1 s
        self._cpu_before = time.process_time()
        mark("coordinator: run is open")

    # ---- workers

    async def hello(
        self, worker: str, handle: bytes | None, node: str = "", level: int = 0, actor: str = ""
    ) -> tuple[Job, str, int]:
        """A worker's process has started.

        Returns:
            the job, which life of the coordinator this is, and the process's epoch: greater than that of all
            before, also in earlier lives; 0 where it is not wanted, since Tune has given it up meanwhile.
        """
        if actor and actor in self._dead:
            return self._job, self._life, 0
        self._watching()
        self._nodes.begin(node)
        self._epoch = epoch = max(time.time_ns(), self._epoch + 1)
        self._handles[worker], self._actors[worker] = handle, actor

        def greeted() -> list[Outcome]:
            lost = self._attendance.hello(worker, time.time(), node, level)
            self._attendance.recognise(worker, epoch)
            return lost

        await self._commit.durably(greeted)
        return self._job, self._life, epoch

    async def door(self) -> Address | None:
        """Where turns come in at less cost than by calls of `exchange`; None if there is no such place."""
        if not is_allowed():
            return None
        if self._door is None:
            host = ray.util.get_node_ip_address()
            self._door = asyncio.get_running_loop().create_task(open_door(host, self.exchange))
        try:
            return await asyncio.shield(self._door)
        except OSError as error:
            self._warnings.add(
                f"workers exchange by actor calls, which are slower: no port to listen on ({error})"
            )
            return None

    async def exchange(self, turn: Turn) -> Reply:
        """A worker's turn: outcomes in, leases out. Waits a moment rather than answer with nothing."""
        search, changed = self._search, self._commit.changed
        for name, segment, cause in turn.unreadable:
            search.checkpoint_lost(name, segment, cause)
        is_over = not self._attendance.recognise(turn.worker, turn.epoch)
        if turn.outcomes:
            await self._commit.durably(
                lambda: search.accept(turn.worker, turn.outcomes, time.time(), is_over)
            )
        if is_over:
            return Reply(stop=True)
        if turn.leaving:
            await self._left(turn.worker, turn.leaving)
            return Reply(stop=True)
        if (wait := self._ready_at - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        deadline = time.monotonic() + IDLE_S
        while True:
            changed.clear()
            reply = self._lease(turn)
            left = deadline - time.monotonic()
            if reply.leases and self._queue:
                changed.set()  # something is left for other workers that wait
            if reply.leases or reply.stop or turn.holding or left <= 0:
                return reply
            try:
                await asyncio.wait_for(changed.wait(), left)
            except asyncio.TimeoutError:
                continue

    def _lease(self, turn: Turn) -> Reply:
        try:
            return self._search.lease(turn.worker, turn.want, time.time(), turn.holding)
        except RaysearchError as error:
            self._lifetime.fail(str(error))
        except Exception as error:  # noqa: BLE001  (a strategy or sampler that is not ours may raise anything)
            self._lifetime.fail(f"the strategy raised {type(error).__name__}: {error}")
        return Reply(stop=True)

    async def beat(
        self, worker: str, current: int | None, iteration: int, epoch: int = 0
    ) -> tuple[bool, str, Dismissal, float]:
        """A sign of life.

        Returns:
            should the worker stop, which life of the coordinator this is, whether and why it has to go,
            and seconds until the next one: of thousands of workers each is heard less often.
        """
        if not self._attendance.recognise(worker, epoch):
            return True, self._life, Dismissal.SUPERSEDED, BEAT_S
        stop = self._search.beat(worker, current, iteration, time.time())
        is_drained = self._nodes.is_draining(self._attendance.node_of(worker))
        wait_s = min(max(BEAT_S, len(self._attendance) / BEATS_PER_S), BEAT_MOST_S)
        return stop, self._life, Dismissal.DRAINED if is_drained else Dismissal.NONE, wait_s

    async def adopt(
        self,
        worker: str,
        handle: bytes | None,
        leases: Sequence[Lease],
        node: str = "",
        level: int = 0,
        epoch: int = 0,
        actor: str = "",
    ) -> None:
        """After a restart: a worker claims what it holds."""
        if not self._attendance.recognise(worker, epoch):
            return
        self._watching()
        self._nodes.begin(node)
        self._handles[worker], self._actors[worker] = handle, actor
        self._attendance.adopt(worker, leases, time.time(), node, level)

    async def died(
        self, worker: str, death: Death, words: str, actor: str = "", current: int | None = None
    ) -> None:
        """The driver saw that a worker's process is gone, or cannot be reached any more.

        Args:
            words: what is said of the death.
            current: the segment that it had in training, as far as the driver knows.
        """
        self._dead.add(actor)
        post = self._attendance.post_of(worker)
        loss = Loss(words, CAUSES[death], blame=death is not Death.UNCLEAR)
        was_killed = loss.cause is Cause.MEMORY_KILL
        if post is None and was_killed and current is not None:  # this process was ended as well
            await self._commit.durably(
                lambda: self._search.lose_forgotten(worker, current, time.time(), loss)
            )
        if post is None or (actor and self._actors.get(worker, actor) not in ("", actor)):
            return  # its successor said hello before the news of this death came
        if death is Death.WITH_NODE:
            await self._left(worker, words, Cause.NODE_LOST)
            return
        await self._commit.durably(lambda: self._attendance.lose(worker, time.time(), loss))
        if loss.blame:
            return
        if not await self._nodes.is_gone(post.node):
            self._attendance.blame(post.held, post.training)
        elif self._attendance.node_of(worker):  # Tune has started another process of that name meanwhile
            self._warnings.add(f"{worker} {WITH_ITS_NODE}")
        else:
            await self._left(worker, WITH_ITS_NODE, Cause.NODE_LOST)

    async def retire(self, workers: Sequence[str]) -> None:
        """These workers go when they have handed in what they hold."""
        self._attendance.retire(workers)
        self._commit.changed.set()

    async def _left(self, worker: str, how: str, cause: Cause = Cause.LEFT) -> None:
        self._handles.pop(worker, None)
        await self._commit.durably(lambda: self._attendance.leave(worker, time.time(), how, cause))

    async def refuse(self, worker: str, error: str) -> None:
        """A worker cannot start at all: the search ends with its error."""
        self._lifetime.fail(f"worker {worker} could not start: {error}")

    async def complain(self, worker: str, error: str) -> None:
        """A worker is about to die of an error that is no trial's; Tune starts it again."""
        self._warnings.add(f"{worker} was restarted after an error: {error}")

    async def remark(self, text: str) -> None:
        """A worker or the driver warns the user."""
        self._warnings.add(text)

    # ---- the driver

    async def status(self) -> Snapshot:
        """How the search stands, with what this process knows besides."""
        self._watching()
        now = time.time()
        facts = CoordinatorFacts(
            pid=os.getpid(),
            memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            cpu_s=time.process_time() - self._cpu_before,
            work=self._handout.work(),
            need=self._attendance.need(now),
        )
        return dataclasses.replace(self._search.status(now), coordinator=facts)

    async def claim(self) -> Claim | None:
        """What this search claims of the cluster beside others; None if it is ending."""
        if self._lifetime.over or self._lifetime.winding or self._claim is None:
            return None
        return self._claim.for_work(self._attendance.need(time.time()))

    async def stop(self, why: Ended) -> None:
        """Ends the search at the workers' next turns."""
        self._lifetime.stop(why)
        self._commit.changed.set()

    async def close(self) -> Snapshot:
        """Writes what is left to write and lets go of the journal; returns the last snapshot."""
        if self._watch is not None:
            self._watch.cancel()
        self._nodes.end()
        await self._commit.finish()
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._session.close, time.time())
        return await self.status()

    # ---- watching

    def _watching(self) -> None:
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_forever())

    async def _watch_forever(self) -> None:
        looked_at, collect_at = time.time(), time.monotonic() + COLLECT_S
        while True:
            await asyncio.sleep(0.5)
            now = time.time()
            if now - looked_at > PAUSE_S:  # this process slept or the clock was set: no fault of the workers
                self._attendance.excuse(now - looked_at)
            looked_at = now
            try:
                if self._session.look(now):
                    self._commit.changed.set()
                self._attendance.note_need(now)
                for overdue in self._attendance.overdue(now):
                    await self._replace(overdue)
                if time.monotonic() >= collect_at:
                    collect_at = time.monotonic() + COLLECT_S
                    self._search.collect()
            except Exception as error:  # noqa: BLE001  (the next look may succeed; without looks nothing is replaced)
                self._warnings.add(f"watching the workers failed: {type(error).__name__}: {error}")

    async def _replace(self, late: Overdue) -> None:
        """Takes a hanging or silent worker's leases away and kills its process; Tune starts another."""
        self._warnings.add(f"{late.worker} was replaced: {late.words}")
        handle = self._handles.pop(late.worker, None)  # of this process: a new one may say hello meanwhile
        loss = Loss(late.words, late.cause)
        await self._commit.durably(lambda: self._attendance.lose(late.worker, time.time(), loss))
        if handle is not None:
            await asyncio.to_thread(lambda: ray.kill(cloudpickle.loads(handle), no_restart=True))


def was_restarted() -> bool:
    """True in an actor that Ray started again after its death."""
    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def _opened(setup: Setup) -> Session:
    """The run, which was there a moment ago; waits a while for storage that fails just now."""
    return patiently(lambda: Session.open(setup, time.time()), setup.spec.storage_timeout_s, _is_of_storage)


def _is_of_storage(error: Exception) -> bool:
    """True for what may pass; not for a journal that is damaged or that another process has open."""
    if not isinstance(error, (JournalError, CheckpointError, StoreError, OSError)):
        return False
    causes = (error, error.__cause__)
    return not isinstance(error, JournalBusyError) and any(
        isinstance(e, (OSError, StoreError)) for e in causes
    )


def start_coordinator(name: str, setup: Setup, job: Job) -> tuple[Any, Any]:
    """(a handle of the coordinator actor, on this node, what to keep as long as Ray may start it again).

    Ray starts it again whenever it dies, from the same arguments: so they go with the actor itself. What is
    too large for that is in Ray's object store, where it stays as long as somebody keeps the second.
    """
    mark("driver: the cluster was checked, Tune is imported")
    node = ray.get_runtime_context().get_node_id()
    actor = ray.remote(Coordinator).options(
        name=name,
        namespace="raysearch",
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=4096,
        scheduling_strategy=ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False),
    )
    blob = cloudpickle.dumps((setup, job))
    if len(blob) <= INLINED_BYTES:
        return actor.remote(*in_pieces(blob)), None
    stored = ray.put(blob)
    return actor.remote([stored]), stored  # in a list, or Ray would drop it once the actor has begun


def in_pieces(blob: bytes) -> list[bytes]:
    """Arguments that Ray keeps with an actor, each of them small enough for that."""
    return [blob[at : at + PIECE_BYTES] for at in range(0, len(blob), PIECE_BYTES)]


def of_pieces(pieces: Sequence[Any]) -> tuple[Setup, Job]:
    """What `start_coordinator` was given, from the arguments of the actor."""
    is_stored = isinstance(pieces[0], list)
    found: tuple[Setup, Job] = cloudpickle.loads(ray.get(pieces[0][0]) if is_stored else b"".join(pieces))
    return found
