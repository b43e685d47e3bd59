"""The coordinator: a Search in a Ray actor on the head node.

Workers pull from it. Exchanges that arrive while the journal is being flushed are made durable
together by the next flush. When the actor dies, Ray starts it again: it replays the journal, waits
for workers to say what they hold, and goes on.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import cloudpickle

from raysearch.cluster.capacity import alive, draining
from raysearch.core.segment import Outcome
from raysearch.engine.fair_share import Claim
from raysearch.engine.leases import Overdue
from raysearch.engine.memory_retry import MEMORY_KILL
from raysearch.engine.messages import SUPERSEDED, WITH_ITS_NODE, Death, Lease, Reply, Turn
from raysearch.errors import CheckpointError, JournalBusyError, JournalError, RaysearchError, StoreError
from raysearch.executors.tune.socket_link import Address, is_allowed, open_door
from raysearch.run.session import Session, Setup
from raysearch.storage.atomic import patiently, waits
from raysearch.worker.job import Job

DRAINED = "left its node, which is being drained"
BEAT_S = 2.0  # between two signs of life of a worker
BEAT_MOST_S = 20.0  # the same of one among thousands; well below engine.SILENCE_S
BEATS_PER_S = 500  # of all workers together
IDLE_S = 1.0  # how long a worker without work is kept waiting before it asks again
GRACE_S = 4.0  # after a restart: time for workers to say what they hold before leases are given out
VERDICT_S = 60.0  # how long Ray may take to see that a node is dead
NODES_S = 1.0  # between two looks for nodes that are about to go
PAUSE_S = 10.0  # a longer gap between two looks at the workers is the coordinator's own
COLLECT_S = 20.0  # between two collections of checkpoints


class Coordinator:
    """The actor; all methods but the journal's flush run on its event loop."""

    def __init__(self, setup: Setup, job: Job) -> None:
        self._job = job
        self._claim = setup.claim
        self._patience_s = setup.spec.storage_timeout_s
        self._session = _opened(setup)
        self._search = self._session.search
        self._life = f"{os.getpid()}-{time.time_ns()}"
        self._ready_at = time.monotonic() + (GRACE_S if self._restarted() else 0.0)
        self._waiting: list[tuple[Callable[[], list[Outcome]], asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._handles: dict[str, bytes | None] = {}  # pickled: who reads one loads all of Tune
        self._epoch = 0
        self._actors: dict[str, str] = {}  # Ray's id of each worker's process
        self._dead: set[str] = set()  # those that Tune gave up
        self._watch: asyncio.Task[None] | None = None
        self._watch_nodes: asyncio.Task[None] | None = None
        self._draining: set[str] = set()
        self._alive: set[str] = set()
        self._closed = False
        self._door: asyncio.Task[Address] | None = None
        gc.collect()
        gc.freeze()  # what is there stays; looking through it again and again made pauses of 0.1 s
        self._cpu_before = time.process_time()

    def _restarted(self) -> bool:
        return bool(ray.get_runtime_context().was_current_actor_reconstructed)

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
        self._watching_nodes(node)
        self._epoch = epoch = max(time.time_ns(), self._epoch + 1)
        self._handles[worker], self._actors[worker] = handle, actor
        await self._durably(lambda: self._greeted(worker, node, level, epoch))
        return self._job, self._life, epoch

    def _greeted(self, worker: str, node: str, level: int, epoch: int) -> list[Outcome]:
        lost = self._search.hello(worker, time.time(), node, level)
        self._search.leases.recognise(worker, epoch)
        return lost

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
            self._search.warn(
                f"workers exchange by actor calls, which are slower: no port to listen on ({error})"
            )
            return None

    async def exchange(self, turn: Turn) -> Reply:
        """A worker's turn: outcomes in, leases out. Waits a moment rather than answer with nothing."""
        for name, segment, cause in turn.unreadable:
            self._search.checkpoint_lost(name, segment, cause)
        is_over = not self._search.leases.recognise(turn.worker, turn.epoch)
        if turn.outcomes:
            await self._durably(lambda: self._search.accept(turn.worker, turn.outcomes, time.time(), is_over))
        if is_over:
            return Reply(stop=True)
        if turn.leaving:
            await self._left(turn.worker, turn.leaving)
            return Reply(stop=True)
        if (wait := self._ready_at - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        deadline = time.monotonic() + IDLE_S
        while True:
            self._changed.clear()
            reply = self._lease(turn)
            left = deadline - time.monotonic()
            if reply.leases and self._search.leases.waiting:
                self._changed.set()  # something is left for others who wait
            if reply.leases or reply.stop or turn.holding or left <= 0:
                return reply
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except asyncio.TimeoutError:
                continue

    def _lease(self, turn: Turn) -> Reply:
        try:
            return self._search.lease(turn.worker, turn.want, time.time(), turn.holding)
        except RaysearchError as error:
            self._search.fail(str(error))
        except Exception as error:  # noqa: BLE001  (a strategy or sampler that is not ours may raise anything)
            self._search.fail(f"the strategy raised {type(error).__name__}: {error}")
        return Reply(stop=True)

    async def beat(
        self, worker: str, current: int | None, iteration: int, epoch: int = 0
    ) -> tuple[bool, str, str, float]:
        """A sign of life.

        Returns:
            should the worker stop, which life of the coordinator this is, why it has to go or nothing,
            and seconds until the next one: thousands of workers are heard of less often.
        """
        if not self._search.leases.recognise(worker, epoch):
            return True, self._life, SUPERSEDED, BEAT_S
        stop = self._search.beat(worker, current, iteration, time.time())
        state = self._search.leases.workers.get(worker)
        is_drained = state is not None and state.node in self._draining
        wait_s = min(max(BEAT_S, len(self._search.leases.workers) / BEATS_PER_S), BEAT_MOST_S)
        return stop, self._life, DRAINED if is_drained else "", wait_s

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
        """After a restart: a worker says what it holds."""
        if not self._search.leases.recognise(worker, epoch):
            return
        self._watching()
        self._watching_nodes(node)
        self._handles[worker], self._actors[worker] = handle, actor
        self._search.adopt(worker, leases, time.time(), node, level)

    async def died(
        self, worker: str, death: Death, cause: str, actor: str = "", current: int | None = None
    ) -> None:
        """The driver saw that a worker's process is gone, or cannot be reached any more.

        Args:
            current: the segment that it had in training, as far as the driver knows.
        """
        self._dead.add(actor)
        state = self._search.leases.workers.get(worker)
        if state is None and cause == MEMORY_KILL and current is not None:  # this process was ended as well
            forgotten = functools.partial(self._search.lose_forgotten, worker, current, time.time(), cause)
            await self._durably(forgotten)
        if state is None or (actor and self._actors.get(worker, actor) not in ("", actor)):
            return  # the next one has said hello before this was heard
        if death is Death.WITH_NODE:
            await self._left(worker, cause)
            return
        blame = death is Death.ALONE
        node, held, current = state.node, list(state.leases), state.current
        await self._durably(lambda: self._search.lose(worker, time.time(), cause, blame=blame))
        if blame:
            return
        if not await self._is_gone(node):
            self._search.blame(held, current)
        elif state.node:  # Tune has started another process of that name meanwhile
            self._search.warn(f"{worker} {WITH_ITS_NODE}")
        else:
            await self._left(worker, WITH_ITS_NODE)

    async def _is_gone(self, node: str) -> bool:
        """Whether the node is declared dead; Ray takes a while to notice."""
        until = time.monotonic() + VERDICT_S
        while node in self._alive and time.monotonic() < until:
            await asyncio.sleep(NODES_S)
        return node not in self._alive

    async def retire(self, workers: Sequence[str]) -> None:
        """These workers go when they have handed in what they hold."""
        self._search.retire(workers)
        self._changed.set()

    async def _left(self, worker: str, how: str) -> None:
        self._handles.pop(worker, None)
        await self._durably(lambda: self._search.leave(worker, time.time(), how))

    async def refuse(self, worker: str, error: str) -> None:
        """A worker cannot start at all: the search ends with its error."""
        self._search.fail(f"worker {worker} could not start: {error}")

    async def complain(self, worker: str, error: str) -> None:
        """A worker is about to die of an error that is no trial's; Tune starts it again."""
        self._search.warn(f"{worker} was restarted after an error: {error}")

    async def remark(self, text: str) -> None:
        """Something that the user should know, said by a worker."""
        self._search.warn(text)

    # ---- the driver

    async def status(self) -> dict[str, Any]:
        """A snapshot; see Search.status. `pid`, `memory_mb` (peak) and `cpu_s` are this process's.

        `cpu_s` counts from when the run was opened. `work` is how many segments are open by the share they
        need, where some need more than the ordinary one; `need` how many workers there is work for, if that
        is fewer than there may be.
        """
        self._watching()
        cpu_s = time.process_time() - self._cpu_before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        work = self._search.leases.work() if self._search.growth.levels else {}
        need = self._search.leases.need(time.time())
        own = {"pid": os.getpid(), "memory_mb": peak, "cpu_s": cpu_s, "work": work, "need": need}
        return {**self._search.status(time.time()), **own}

    async def claim(self) -> Claim | None:
        """What this search claims of the cluster beside others; None if it is ending."""
        if self._search.over or self._search.winding or self._claim is None:
            return None
        return self._claim.for_work(self._search.leases.need(time.time()))

    async def stop(self, why: str) -> None:
        """Ends the search at the workers' next turns."""
        self._search.stop(why)
        self._changed.set()

    async def close(self) -> dict[str, Any]:
        """Writes what is left to write and lets go of the journal; returns the last snapshot."""
        for task in (self._watch, self._watch_nodes):
            if task is not None:
                task.cancel()
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait([self._flushing])
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._session.close, time.time())
        return await self.status()

    # ---- durable before acknowledged

    async def _durably(self, accept: Callable[[], list[Outcome]]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((accept, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._settle([accept() for accept, _ in batch])
            except Exception as error:  # noqa: BLE001  (nobody may be left waiting, whatever it was)
                self._search.fail(f"outcomes could not be taken in: {type(error).__name__}: {error}")
            for _, done in batch:
                if not done.done():  # its worker hung up
                    done.set_result(None)
            self._changed.set()

    async def _settle(self, accepted: list[list[Outcome]]) -> None:
        together = [outcome for part in accepted for outcome in part]
        if together and not await self._written(together):
            self._search.forget(together)
            return
        for part in accepted:
            self._record(part)

    def _record(self, outcomes: list[Outcome]) -> None:
        try:
            self._search.record(outcomes)
        except RaysearchError as error:
            self._search.fail(str(error))
        except Exception as error:  # noqa: BLE001  (a strategy or sampler that is not ours may raise anything)
            self._search.fail(f"the strategy raised {type(error).__name__}: {error}")

    async def _written(self, outcomes: list[Outcome]) -> bool:
        """Appends to the journal; on a full disk makes room and tries again before it gives up."""
        for wait in (*waits(self._patience_s), None):
            try:
                await asyncio.to_thread(self._session.journal.append, outcomes)
                return True
            except (JournalError, OSError) as error:
                if wait is None:
                    self._search.fail(
                        f"the journal cannot be written: {error}. Every acknowledged outcome is in it; make "
                        f"room and go on with: raysearch resume {self._job.run}"
                    )
                    return False
                self._search.warn(f"the journal could not be written, trying again: {error}")
                self._search.collect()
                await asyncio.sleep(wait)
        return False

    # ---- watching

    def _watching(self) -> None:
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_forever())

    def _watching_nodes(self, node: str) -> None:
        self._alive.add(node)
        if node and self._watch_nodes is None:
            self._watch_nodes = asyncio.create_task(self._watch_nodes_forever())

    async def _watch_nodes_forever(self) -> None:
        while True:
            try:
                self._draining = await asyncio.to_thread(draining)
                self._alive = self._draining | (await asyncio.to_thread(alive)).keys()
            except Exception as error:  # noqa: BLE001  (Ray may be away for a while; it is asked again)
                self._search.warn(f"Ray did not say which nodes are drained: {type(error).__name__}")
            await asyncio.sleep(NODES_S)

    async def _watch_forever(self) -> None:
        looked_at, collect_at = time.time(), time.monotonic() + COLLECT_S
        while True:
            await asyncio.sleep(0.5)
            now = time.time()
            if now - looked_at > PAUSE_S:  # this process slept or the clock was set: no fault of the workers
                self._search.leases.excuse(now - looked_at)
            looked_at = now
            try:
                if self._session.look(now):
                    self._changed.set()
                for overdue in self._search.overdue(now):
                    await self._replace(overdue)
                if time.monotonic() >= collect_at:
                    collect_at = time.monotonic() + COLLECT_S
                    self._search.collect()
            except Exception as error:  # noqa: BLE001  (the next look may succeed; without looks nothing is replaced)
                self._search.warn(f"watching the workers failed: {type(error).__name__}: {error}")

    async def _replace(self, late: Overdue) -> None:
        """Takes a hanging or silent worker's leases away and kills its process; Tune starts another."""
        self._search.warn(f"{late.worker} was replaced: {late.cause}")
        handle = self._handles.pop(late.worker, None)  # of this process: a new one may say hello meanwhile
        await self._durably(lambda: self._search.lose(late.worker, time.time(), late.cause, late.stalled))
        if handle is not None:
            await asyncio.to_thread(lambda: ray.kill(cloudpickle.loads(handle), no_restart=True))


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


def start_coordinator(name: str, setup: Setup, job: Job) -> Any:
    """A handle of the coordinator actor, on this node, restarted by Ray whenever it dies."""
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
    return actor.remote(setup, job)
