"""The lock of a run's driver: the process of its launch or resume, from its first step to its end.

The coordinator opens the journal 5 to 20 s later. Until then the driver's lock shows that the run is
starting, keeps a second driver away, and makes orders wait for the coordinator. `liveness` reads it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from raysearch.errors import JournalBusyError, RunError, StoreError
from raysearch.run.liveness import stopped
from raysearch.storage import file_lock
from raysearch.storage.liveness import this_process
from raysearch.storage.mirror import mirror_at, shown
from raysearch.storage.paths import RunPaths

PATIENCE_S = 15.0  # for a driver that is ending
POLL_S = 0.2
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)  # errors that waiting does not mend


@contextlib.contextmanager
def driving(root: Path) -> Iterator[float]:
    """Makes this process the driver of the run for the block; gives the Unix time at which it became so.

    Raises:
        JournalBusyError: another process drives it; names that process.
        RunError: the run's folder cannot be written.
    """
    lock = _taken(root)
    try:
        with _announced(root):
            yield time.time()
    finally:
        os.close(lock)


def _taken(root: Path) -> int:
    """The lock, taken; waits up to PATIENCE_S for a driver that is ending, and for storage that fails."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return file_lock.take(RunPaths(root).driver)
        except file_lock.LockedError as owner:
            if time.monotonic() > until or stopped(root):
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
def _announced(root: Path) -> Iterator[None]:
    """Names this process as the driver at the run's store for the block, for other machines to see."""
    mirror = mirror_at(root)
    if mirror is None:
        yield
        return
    key = RunPaths(root).driver.name
    mirror.store.put(key, this_process().to_json().encode())
    try:
        yield
    finally:
        with contextlib.suppress(StoreError):  # it expires by itself
            mirror.store.delete([key])
