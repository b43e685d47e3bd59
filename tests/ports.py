"""Ports for servers that cannot be told to take any."""

from __future__ import annotations

import random
import socket

# Below those that the kernel gives to whoever asks for any, above those of Ray's workers: nobody takes one
# in the time until the server does.
LEAST, MOST = 20_000, 32_000


def free_port() -> int:
    """A port of the loopback device that nobody listens at."""
    for port in random.SystemRandom().sample(range(LEAST, MOST), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port from {LEAST} to {MOST} is free")
