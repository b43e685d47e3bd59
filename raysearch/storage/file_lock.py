"""A lock file that one process at a time holds, and that names it: `{"pid": 12, "host": "node1", "at": ...}`.

It is let go of when its process closes it, or ends in whatever way.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock file; `at` is Unix time by its clock, 0 where the file does not say."""

    pid: int
    host: str
    at: float = 0.0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == socket.gethostname()

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended."""
        return self.is_here and not _is_running(self.pid)

    def to_json(self) -> str:
        """What stands in the file."""
        return json.dumps(dataclasses.asdict(self))


class LockedError(Exception):
    """Another process holds the lock; the text says which."""


def this_process() -> Owner:
    """This process as the owner of what it takes now."""
    return Owner(os.getpid(), socket.gethostname(), time.time())


def take(lock: Path) -> int:
    """Takes the lock, and names this process in it; returns the file, which is the lock while it is open.

    Raises:
        LockedError: another process holds it.
        OSError: the file cannot be written.
    """
    fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, this_process().to_json().encode(), 0)
    except BlockingIOError as error:
        owner = owner_in(os.pread(fd, 4096, 0))
        os.close(fd)
        raise LockedError(str(owner or "another process")) from error
    except OSError:
        os.close(fd)
        raise
    return fd


def owner_of(lock: Path) -> Owner | None:
    """Who holds the lock; None if nobody does.

    It is tried only where its last owner may be alive, so that a process that is about to take it does
    not find ours.
    """
    try:
        owner = owner_in(lock.read_bytes())
    except OSError:
        return None
    if owner is None or owner.is_gone:
        return None
    return owner if _is_locked(lock) else None


def owner_in(content: bytes) -> Owner | None:
    """The owner that a lock file names; None where it names none."""
    try:
        said = json.loads(content)
        return Owner(int(said["pid"]), str(said["host"]), float(said.get("at", 0.0)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_locked(lock: Path) -> bool:
    fd = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
