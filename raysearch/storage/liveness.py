"""Which process holds a lock: a lock file's, or that of a journal at a store.

    owner = owner_of(RunPaths(run).driver)      # process 4120 on gpu-3; None if no process holds it
    holder = holder_of(store)                   # may have ended: holder.is_alive(time.time())

These functions take no lock and change nothing.
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

from raysearch.storage.object_store import Store

STORE_KEY = "journal/lock"  # of a store's lock
EXPIRES_S = 60.0  # a holder at a store that did not renew its lock for so long counts as dead


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock; `at` is when it took the lock, Unix time of its clock, 0 if unknown."""

    pid: int
    host: str
    at: float = 0.0

    def __str__(self) -> str:
        stopped = f", which is stopped (kill -CONT {self.pid} lets it go on)" if self.is_stopped else ""
        return f"process {self.pid} on {self.host}{stopped}"

    @property
    def is_here(self) -> bool:
        """True if the process runs on this machine."""
        return self.host == socket.gethostname()

    @property
    def is_gone(self) -> bool:
        """True if the process ran on this machine and has ended."""
        return self.is_here and not _is_running(self.pid)

    @property
    def is_stopped(self) -> bool:
        """True if the process is on this machine and has been stopped, as by SIGSTOP: it does nothing."""
        return self.is_here and _state_of(self.pid) in ("T", "t")

    def to_json(self) -> str:
        """The content of the lock file."""
        return json.dumps(dataclasses.asdict(self))


@dataclass(frozen=True, slots=True)
class Holder(Owner):
    """The process that holds a journal at a store.

    Attributes:
        at: when it last renewed the lock, Unix time of its clock.
        life: a token, new each time that a process takes the lock.
    """

    life: str = ""

    def is_alive(self, now: float) -> bool:
        """False if the process has ended, or did not renew the lock for EXPIRES_S."""
        return not self.is_gone and now - self.at < EXPIRES_S


def this_process() -> Owner:
    """This process, as the owner of a lock that it takes now."""
    return Owner(os.getpid(), socket.gethostname(), time.time())


def owner_of(lock: Path) -> Owner | None:
    """The process that holds a lock file; None if no process does.

    The function tries the lock only if the last owner may be alive, so that another process that takes
    the lock at this moment does not find it held by us.
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
        fields = json.loads(content)
        return Owner(int(fields["pid"]), str(fields["host"]), float(fields.get("at", 0.0)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def holder_of(store: Store) -> Holder | None:
    """The process that the lock of the journal at `store` names, alive or not; None without a lock."""
    content = store.get(STORE_KEY)
    if content is None:
        return None
    try:
        fields = json.loads(content)
        return Holder(int(fields["pid"]), str(fields["host"]), float(fields["at"]), str(fields["life"]))
    except (ValueError, KeyError, TypeError):
        return None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _state_of(pid: int) -> str:
    """The letter of a process's state; empty where the system does not say it in /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return ""
    return fields.split()[0]


def _is_locked(lock: Path) -> bool:
    fd = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
