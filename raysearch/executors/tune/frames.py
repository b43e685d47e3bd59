"""Frames of the coordinator's door: a value on its way over a connection, sealed and counted.

    head    kind of the frame, bytes of its body, and a code that proves who sent it
    body    the value, pickled

The code is a keyed BLAKE2b of the body, for this connection, this direction and this place in the order. So a
frame that was changed, repeated, left out or sent by somebody else is dropped before it is unpickled, and one
that claims to be longer than MOST_BYTES before it is read.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
import struct
from enum import Enum
from typing import Any

HEAD = struct.Struct(">4sI16s")
MOST_BYTES = 64 << 20  # of a body; what is larger goes by an actor call
_CODE_BYTES = 16
_COUNT = struct.Struct(">Q")


class Kind(Enum):
    """What a frame holds, and so in which direction it goes."""

    TURN = b"turn"
    REPLY = b"rply"


class TooLargeError(ValueError):
    """A value makes a frame that is longer than allowed."""


class Frames:
    """One direction of one connection; both sides have one, and call it for each frame in turn."""

    def __init__(self, kind: Kind, token: bytes, nonces: bytes) -> None:
        """`nonces` are those of both sides, so that no two connections have one key."""
        self._kind = kind.value
        self._key = hmac.digest(token, self._kind + nonces, "sha256")
        self._count = 0

    def packed(self, value: Any) -> bytes:
        """The next frame. Raises TooLargeError, and then counts none."""
        body = pickle.dumps(value, 5)
        if len(body) > MOST_BYTES:
            raise TooLargeError(f"a frame of {len(body)} bytes; at most {MOST_BYTES}")
        return HEAD.pack(self._kind, len(body), self._code(body)) + body

    def length(self, head: bytes | bytearray) -> int:
        """Bytes of the body behind a head. Raises ConnectionAbortedError for a head that is none."""
        kind, length, _ = HEAD.unpack_from(head)
        if kind != self._kind or length > MOST_BYTES:
            raise ConnectionAbortedError("what came is no frame of a raysearch of this version")
        return int(length)

    def opened(self, head: bytes | bytearray, body: bytes | bytearray | memoryview) -> Any:
        """The value of the next frame. Raises ConnectionAbortedError if the other side did not send it so."""
        if not hmac.compare_digest(HEAD.unpack_from(head)[2], self._code(body)):
            raise ConnectionAbortedError("a frame was changed on its way")
        return pickle.loads(body)

    def _code(self, body: bytes | bytearray | memoryview) -> bytes:
        salt = _COUNT.pack(self._count)
        self._count += 1
        return hashlib.blake2b(body, key=self._key, salt=salt, digest_size=_CODE_BYTES).digest()
