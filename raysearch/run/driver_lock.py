"""Who drives a run: the process of its launch or resume, from its first step to its end.

The journal is held only once a coordinator has it open, 5 to 20 s later; until then the driver's own lock
says that the run is starting, keeps a second driver away, and has orders wait for the coordinator.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from raysearch.errors import JournalBusyError, RunError, StoreError
from raysearch.storage import file_lock
from raysearch.storage.journal.journal import read_events
from raysearch.storage.mirror import mirror_at, shown
from raysearch.storage.paths import RunPaths

PATIENCE_S = 15.0  # with a driver that is just ending
POLL_S = 0.2
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)  # which waiting does not mend
FAR_S = 120.0  # a driver on another machine, of a run at a store, counts as starting for so long


@contextlib.contextmanager
def driving(root: Path) -> Iterator[float]:
    """This process drives the run as long as the block lasts; gives the Unix time since when.

    Raises:
        JournalBusyError: another process drives it; says which.
        RunError: the run's folder cannot be written.
    """
    lock = _taken(root)
    try:
        with _told(root):
            yield time.time()
    finally:
        os.close(lock)


def starter_of(root: Path) -> file_lock.Owner | None:
    """Who drives the run whose coordinator is still to come, or to come back; None if nobody does."""
    owner = file_lock.owner_of(RunPaths(root).driver) or _far_away(root)
    if owner is None:
        return None
    events = read_events(RunPaths(root).journal)
    return None if any(event.kind == "end" and event.at >= owner.at for event in events) else owner


def _taken(root: Path) -> int:
    """The lock, taken; waits a while for a driver that is just ending, and for storage that fails."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return file_lock.take(RunPaths(root).driver)
        except file_lock.LockedError as owner:
            if time.monotonic() > until:
                look = f"raysearch status {shown(root)} --watch"
                raise JournalBusyError(f"{shown(root)}: {owner} is running or starting it ({look})") from None
        except OSError as error:
            if error.errno in FORBIDDEN or time.monotonic() > until:
                raise RunError(
                    f"the run's folder {str(root)!r} cannot be written: {error.strerror or error}. Make "
                    "room, or allow this user to write there"
                ) from error
        time.sleep(POLL_S)


@contextlib.contextmanager
def _told(root: Path) -> Iterator[None]:
    """Tells other machines, where the run is at a store."""
    mirror = mirror_at(root)
    if mirror is None:
        yield
        return
    key = RunPaths(root).driver.name
    mirror.store.put(key, file_lock.this_process().to_json().encode())
    try:
        yield
    finally:
        with contextlib.suppress(StoreError):  # it expires by itself
            mirror.store.delete([key])


def _far_away(root: Path) -> file_lock.Owner | None:
    mirror = mirror_at(root)
    content = mirror.store.get(RunPaths(root).driver.name) if mirror is not None else None
    owner = file_lock.owner_in(content) if content is not None else None
    return owner if owner is not None and not owner.is_here and time.time() - owner.at < FAR_S else None
