"""The coordinator's door: a socket on which workers' turns come in without the cost of an actor call.

An actor call costs Ray some 0.6 ms of the coordinator's time, several times what the search does with it.
So a worker asks the actor once where its door is, and then sends its turns through it, as `frames`. Nothing
is unpickled before both sides have proved that they know a token, which only goes through Ray, and nothing
whose code is not made with it. Whatever is wrong with a door (a firewall, a coordinator that was started
again, TLS asked of Ray), the turn goes to the actor as a call; a turn that comes twice counts once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import resource
import secrets
import select
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from raysearch.engine.messages import Answer, Link, Reply, Turn
from raysearch.executors.tune.frames import HEAD, Frames, Kind, TooLargeError

NONCE_BYTES = 32
CONNECT_S = 3.0  # a firewall that drops packets is not waited for longer
PATIENCE_S = 30.0  # for a reply; the coordinator answers within seconds, or is gone
AGAIN_S = 60.0  # between two attempts to use a door that could not be reached
BACKLOG = 1024  # workers that may come at the same moment
LINGER_S = 10.0  # time for the proof of a connection, after which it is closed
STRANGERS = 2 * BACKLOG  # connections that have proved nothing yet; with one more the oldest is closed
FRAME_S = 30.0  # from a frame's first byte to its last, after which its sender is dropped

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


# ---- the coordinator's side


async def open_door(host: str, exchange: Exchange) -> Address:
    """Listens on a free port of `host` from now on. Raises OSError if it cannot."""
    token = secrets.token_bytes(NONCE_BYTES)
    loop = asyncio.get_running_loop()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each worker's connection is an open file
    strangers: dict[_Visit, None] = {}
    server = await loop.create_server(lambda: _Visit(token, exchange, strangers), host, 0, backlog=BACKLOG)
    return Address(host, server.sockets[0].getsockname()[1], token)


class _Visit(asyncio.Protocol):
    """One worker's connection. When it is lost, the exchange under way is dropped, and with it its leases."""

    def __init__(self, token: bytes, exchange: Exchange, strangers: dict[_Visit, None]) -> None:
        """`strangers` are the visitors of this door that have proved nothing yet, the oldest first."""
        self._token = token
        self._exchange = exchange
        self._strangers = strangers
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._buffer = bytearray()
        self._turns: Frames | None = None  # None until the visitor is known
        self._replies: Frames | None = None
        self._unfinished: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._strangers[self] = None
        if len(self._strangers) > STRANGERS:  # or they would take every file that this process may open
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest._transport.abort()
        transport.write(self._nonce)
        asyncio.get_running_loop().call_later(LINGER_S, self._close_unless_known)

    def connection_lost(self, exc: Exception | None) -> None:
        self._strangers.pop(self, None)
        self._is_whole()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        turns = self._turns or self._knows()
        if turns is None or not self._buffer:
            return
        try:
            turn = self._next(turns)
        except Exception:  # noqa: BLE001  (what a visitor sends is no reason to end; the worker calls the actor)
            self._transport.abort()
            return
        if turn is not None:
            self._task = asyncio.get_running_loop().create_task(self._answer(turn))

    def _next(self, turns: Frames) -> Turn | None:
        """Takes the next turn off the buffer; None while it is not there as a whole.

        Raises:
            ConnectionAbortedError: what is there is none, or comes before the last one was answered.
        """
        size = len(self._buffer)
        length = turns.length(self._buffer) if size >= HEAD.size else None
        if length is None or size < HEAD.size + length:
            if self._unfinished is None:
                self._unfinished = asyncio.get_running_loop().call_later(FRAME_S, self._transport.abort)
            return None
        self._is_whole()
        if size > HEAD.size + length or (self._task is not None and not self._task.done()):
            raise ConnectionAbortedError("a turn came before the last one was answered")
        with memoryview(self._buffer) as view:
            turn = turns.opened(self._buffer, view[HEAD.size :])
        self._buffer.clear()
        if not isinstance(turn, Turn):
            raise ConnectionAbortedError(f"{type(turn).__name__} came in place of a turn")
        return turn

    def _is_whole(self) -> None:
        if self._unfinished is not None:
            self._unfinished.cancel()
            self._unfinished = None

    def _knows(self) -> Frames | None:
        """Takes the visitor's proof and nonce off the buffer, once they are there, and proves in turn."""
        if len(self._buffer) < 2 * NONCE_BYTES:
            return None
        given, nonce = bytes(self._buffer[:NONCE_BYTES]), bytes(self._buffer[NONCE_BYTES : 2 * NONCE_BYTES])
        del self._buffer[: 2 * NONCE_BYTES]
        if not hmac.compare_digest(given, proof(self._token, self._nonce, b"worker")):
            self._transport.abort()
            return None
        self._strangers.pop(self, None)
        self._turns = Frames(Kind.TURN, self._token, self._nonce + nonce)
        self._replies = Frames(Kind.REPLY, self._token, self._nonce + nonce)
        self._transport.write(proof(self._token, nonce, b"coordinator"))
        return self._turns

    def _close_unless_known(self) -> None:
        if self._turns is None:
            self._transport.abort()

    async def _answer(self, turn: Turn) -> None:
        assert self._replies is not None
        try:
            frame = self._replies.packed(await self._exchange(turn))
        except Exception:  # the worker then calls the actor, and gets its error
            self._transport.abort()
            raise
        self._transport.write(frame)


# ---- the worker's side


class DoorLink:
    """A link through the door, and by actor calls where that does not work."""

    def __init__(self, find: Finds, calls: Link) -> None:
        self._find = find
        self.calls = calls
        self._wire: Wire | None = None
        self._try_at = 0.0
        self.is_waiting = False  # for a reply through the door

    def send(self, turn: Turn) -> Answer:
        """Starts an exchange: by a call while the door has not answered the one before."""
        if self.is_waiting:
            return self.calls.send(turn)
        if self._wire is None and time.monotonic() >= self._try_at:
            self._connect()
        if self._wire is not None:
            try:
                self._wire.send(turn)
                self.is_waiting = True
                return DoorAnswer(self, self._wire, turn)
            except TooLargeError:
                return self.calls.send(turn)
            except OSError:
                self.hang_up()
        return self.calls.send(turn)

    def hang_up(self) -> None:
        """Closes what cannot be used any more; the next turn looks for the door anew."""
        self.is_waiting = False
        if self._wire is not None:
            self._wire.socket.close()
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

    def __init__(self, link: DoorLink, wire: Wire, turn: Turn) -> None:
        self._link = link
        self._wire = wire
        self._turn = turn

    def ready(self) -> bool:
        """True if an answer has begun to arrive, or the door was closed."""
        return bool(select.select([self._wire.socket], [], [], 0)[0])

    def get(self) -> Reply:
        """The answer; waits for it."""
        try:
            reply = self._wire.reply()
            self._link.is_waiting = False
            return reply
        except OSError:
            self._link.hang_up()
            return self._link.calls.send(self._turn).get()


@dataclass(frozen=True, slots=True)
class Wire:
    """A worker's connection through the door."""

    socket: socket.socket
    turns: Frames
    replies: Frames

    def send(self, turn: Turn) -> None:
        """Sends a turn. Raises TooLargeError, or OSError if the door was closed."""
        self.socket.sendall(self.turns.packed(turn))

    def reply(self) -> Reply:
        """The reply to the last turn; waits for it. Raises OSError if none comes that can be trusted."""
        head = _received(self.socket, HEAD.size)
        body = _received(self.socket, self.replies.length(head))
        return self.replies.opened(head, body)  # type: ignore[no-any-return]


def knock(address: Address) -> Wire:
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
    turns, replies = (Frames(kind, address.token, theirs + mine) for kind in (Kind.TURN, Kind.REPLY))
    return Wire(wire, turns, replies)


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
