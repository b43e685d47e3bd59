"""A lock file that one process at a time holds; it names the process: `{"pid": 12, "host": "node1", ...}`.

The lock is free again once the process closes the file, or ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from raysearch.storage.liveness import owner_in, this_process


class LockedError(Exception):
    """Another process holds the lock; the text names it."""


def take(lock: Path) -> int:
    """Takes the lock and writes this process into it; returns the file, which holds the lock while open.

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
