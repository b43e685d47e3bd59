"""Simulated workers for `raysearch bench coordinator`, and the peer that does nothing but answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import numpy as np

from raysearch.core.segment import Outcome, Segment, Status, segment_id, segment_name
from raysearch.engine.messages import Lease, Reply, Turn
from raysearch.executors.tune.frames import HEAD
from raysearch.executors.tune.socket_link import Address, Wire, knock


class StubCoordinator:
    """Answers every turn with the next segment of the same trial."""

    def __init__(self) -> None:
        self._count = 0
        self._cpu_before = time.process_time()

    async def exchange(self, turn: Turn) -> Reply:
        """A reply as the coordinator's."""
        self._count += 1
        number = segment_id(self._count, 0)
        config = {"lr": 0.01 + 1e-9 * self._count, "width": 64}
        segment = Segment(number, self._count, None, config, 0, 1, self._count, "sampled at random")
        return Reply((Lease(segment),), bars={1: 0.1, 3: 0.1, 9: 0.1})

    async def cost(self) -> tuple[float, int]:
        """CPU seconds and exchanges so far."""
        return time.process_time() - self._cpu_before, max(1, self._count)


class Clients:
    """Some simulated workers in one process."""

    def __init__(self, actor: Any, door: Address | None, names: list[str]) -> None:
        self._actor = actor
        self._door = door
        self._wires: dict[str, tuple[Wire, asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self._held: dict[str, list[Lease]] = {name: [] for name in names}
        self._rng = np.random.default_rng(len(names))

    async def ready(self) -> None:
        """The process is there, each of its workers at the door."""
        if self._door is not None:
            for name in self._held:
                wire = knock(self._door)
                self._wires[name] = (wire, *await asyncio.open_connection(sock=wire.socket))

    async def saturate(self, seconds: float) -> list[float]:
        """Latencies, in seconds, of workers that never wait."""
        until = time.perf_counter() + seconds
        found: list[float] = []

        async def one(name: str) -> None:
            while (began := time.perf_counter()) < until:
                await self._exchange(name)
                found.append(time.perf_counter() - began)

        await asyncio.gather(*(one(name) for name in self._held))
        return found

    async def offer(self, seconds: float, interval_s: float) -> list[float]:
        """Latencies of workers each of which exchanges once an interval."""
        start = time.perf_counter()
        found: list[float] = []

        async def one(name: str, phase: float) -> None:
            due = start + phase * interval_s
            while due < start + seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await self._exchange(name)
                found.append(time.perf_counter() - due)
                due += interval_s

        phases = self._rng.random(len(self._held))
        await asyncio.gather(*(one(n, float(p)) for n, p in zip(self._held, phases, strict=True)))
        return found

    async def _exchange(self, name: str) -> None:
        outcomes = [self._outcome(lease.segment) for lease in self._held[name]]
        turn = Turn(name, outcomes, 1)
        if self._door is None:
            reply: Reply = await self._actor.exchange.remote(turn)
        else:
            wire, reader, writer = self._wires[name]
            writer.write(wire.turns.packed(turn))
            head = await reader.readexactly(HEAD.size)
            reply = wire.replies.opened(head, await reader.readexactly(wire.replies.length(head)))
        self._held[name] = [*reply.leases]

    def _outcome(self, segment: Segment) -> Outcome:
        values = [1.0 / (k + 1) + segment.config["lr"] for k in range(segment.start, segment.stop)]
        checkpoint = f"{segment_name(segment.id)}-{secrets.token_hex(4)}"
        return Outcome(segment, Status.COMPLETED, {"loss": values}, checkpoint, 0.5)
