"""The coordinator's door: a socket on which workers' turns come in without the cost of an actor call.

An actor call costs Ray some 0.6 ms of the coordinator's time, several times what the search does with it.
So a worker asks the actor once where its door is, and then sends its turns through it: frames of a length
and a pickle. Nothing is unpickled before both sides have proved that they know a token, which only goes
through Ray. Whatever is wrong with a door (a firewall, a coordinator that was started again, TLS asked of
Ray), the turn goes to the actor as a call; a turn that comes twice counts once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import pickle
import resource
import secrets
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from raysearch.engine.messages import Answer, Link, Reply, Turn

NONCE_BYTES = 32
LENGTH = struct.Struct(">Q")
CONNECT_S = 3.0  # a firewall that drops packets is not waited for longer
PATIENCE_S = 30.0  # for a reply; the coordinator answers within seconds, or is gone
AGAIN_S = 60.0  # between two attempts to use a door that could not be reached
BACKLOG = 1024  # workers that may come at the same moment
LINGER_S = 10.0  # time for the proof of a connection, after which it is closed

Exchange = Callable[[Turn], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a door is, and what opens it."""

    host: str
    port: int
    token: bytes


class Finds(Protocol):
    """Asks the coordinator where its door is; None if it has none."""

    def __call__(self) -> Address | None: ...


def proof(token: bytes, nonce: bytes, side: bytes) -> bytes:
    """Proves to the side that chose the nonce that this side knows the token."""
    return hmac.digest(token, side + nonce, "sha256")


def packed(value: Any) -> bytes:
    """A frame."""
    data = pickle.dumps(value, 5)
    return LENGTH.pack(len(data)) + data


# ---- the coordinator's side


async def open_door(host: str, exchange: Exchange) -> Address:
    """Listens on a free port of `host` from now on. Raises OSError if it cannot."""
    token = secrets.token_bytes(NONCE_BYTES)
    loop = asyncio.get_running_loop()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each worker's connection is an open file
    server = await loop.create_server(lambda: _Visit(token, exchange), host, 0, backlog=BACKLOG)
    return Address(host, server.sockets[0].getsockname()[1], token)


class _Visit(asyncio.Protocol):
    """One worker's connection. When it is lost, the exchange under way is dropped, and with it its leases."""

    def __init__(self, token: bytes, exchange: Exchange) -> None:
        self._token = token
        self._exchange = exchange
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._buffer = bytearray()
        self._is_known = False
        self._task: asyncio.Task[None] | None = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._nonce)
        asyncio.get_running_loop().call_later(LINGER_S, self._close_unless_known)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_known and not self._knows():
            return
        if len(self._buffer) < LENGTH.size:
            return
        (length,) = LENGTH.unpack_from(self._buffer)
        if len(self._buffer) < LENGTH.size + length:
            return
        turn = pickle.loads(memoryview(self._buffer)[LENGTH.size : LENGTH.size + length])
        del self._buffer[: LENGTH.size + length]
        self._task = asyncio.get_running_loop().create_task(self._answer(turn))

    def _knows(self) -> bool:
        """Takes the visitor's proof and nonce off the buffer, once they are there, and proves in turn."""
        if len(self._buffer) < 2 * NONCE_BYTES:
            return False
        given, nonce = bytes(self._buffer[:NONCE_BYTES]), bytes(self._buffer[NONCE_BYTES : 2 * NONCE_BYTES])
        del self._buffer[: 2 * NONCE_BYTES]
        if not hmac.compare_digest(given, proof(self._token, self._nonce, b"worker")):
            self._transport.abort()
            return False
        self._is_known = True
        self._transport.write(proof(self._token, nonce, b"coordinator"))
        return True

    def _close_unless_known(self) -> None:
        if not self._is_known:
            self._transport.abort()

    async def _answer(self, turn: Turn) -> None:
        try:
            reply = await self._exchange(turn)
        except Exception:  # the worker then calls the actor, and gets its error
            self._transport.abort()
            raise
        self._transport.write(packed(reply))


# ---- the worker's side


class DoorLink:
    """A link through the door, and by actor calls where that does not work."""

    def __init__(self, find: Finds, calls: Link) -> None:
        self._find = find
        self.calls = calls
        self._wire: socket.socket | None = None
        self._try_at = 0.0

    def send(self, turn: Turn) -> Answer:
        """Starts an exchange."""
        if self._wire is None and time.monotonic() >= self._try_at:
            self._connect()
        if self._wire is not None:
            try:
                self._wire.sendall(packed(turn))
                return DoorAnswer(self, self._wire, turn)
            except OSError:
                self.hang_up()
        return self.calls.send(turn)

    def hang_up(self) -> None:
        """Closes what cannot be used any more; the next turn looks for the door anew."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _connect(self) -> None:
        try:
            address = self._find()
            self._wire = None if address is None else knock(address)
        except OSError:
            self._wire = None
        if self._wire is None:
            self._try_at = time.monotonic() + AGAIN_S


class DoorAnswer:
    """An exchange under way through the door; by actor calls if the door closes meanwhile."""

    def __init__(self, link: DoorLink, wire: socket.socket, turn: Turn) -> None:
        self._link = link
        self._wire = wire
        self._turn = turn

    def ready(self) -> bool:
        """True if an answer has begun to arrive, or the door was closed."""
        return bool(select.select([self._wire], [], [], 0)[0])

    def get(self) -> Reply:
        """The answer; waits for it."""
        try:
            (length,) = LENGTH.unpack(_received(self._wire, LENGTH.size))
            return pickle.loads(_received(self._wire, length))  # type: ignore[no-any-return]
        except OSError:
            self._link.hang_up()
            return self._link.calls.send(self._turn).get()


def knock(address: Address) -> socket.socket:
    """A connection through the door, both sides known to each other. Raises OSError if there is none."""
    wire = socket.create_connection((address.host, address.port), CONNECT_S)
    try:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs, mine = bytes(_received(wire, NONCE_BYTES)), secrets.token_bytes(NONCE_BYTES)
        wire.sendall(proof(address.token, theirs, b"worker") + mine)
        if not hmac.compare_digest(_received(wire, NONCE_BYTES), proof(address.token, mine, b"coordinator")):
            raise ConnectionRefusedError("the process that listens there does not know the token")
        wire.settimeout(PATIENCE_S)
    except BaseException:
        wire.close()
        raise
    return wire


def _received(wire: socket.socket, size: int) -> bytearray:
    """So many bytes. Raises OSError if they do not come, ConnectionResetError at the end of the stream."""
    data = bytearray(size)
    view, have = memoryview(data), 0
    while have < size:
        got = wire.recv_into(view[have:])
        if not got:
            raise ConnectionResetError("the door was closed")
        have += got
    return data


def is_allowed() -> bool:
    """False where Ray is configured to encrypt what goes over the network, which a door does not."""
    with contextlib.suppress(ValueError):
        return not int(os.environ.get("RAY_USE_TLS", "0") or 0)
    return False
