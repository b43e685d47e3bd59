"""The lock of a journal at a store: one process at a time writes, though a store has no locks.

A file names the holder and its last sign of life, renewed every few seconds. A holder whose process is
gone from this machine, or that gave no sign for EXPIRES_S, has lost it. Whoever takes it writes its
name, waits, and looks whether its name is still there. A holder that could not renew for RENEW_BY_S,
such as one that was cut off, looks again before it writes anything more, and writes nothing if another
name stands there. That holds as long as clocks differ by less than EXPIRES_S - RENEW_BY_S.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
import time
from dataclasses import dataclass

from raysearch.errors import JournalBusyError, JournalError, StoreError
from raysearch.storage.file_lock import Owner, this_process
from raysearch.storage.object_store import Store

KEY = "journal/lock"
BEAT_S = 10.0
RENEW_BY_S = 30.0
EXPIRES_S = 60.0
SETTLE_S = 0.5  # for another who takes it at the same moment to show


@dataclass(frozen=True, slots=True)
class Holder(Owner):
    """Who holds a journal at a store; `at` is its last sign of life, `life` differs each time it is taken."""

    life: str = ""

    def is_alive(self, now: float) -> bool:
        """False if it is known to be gone, or gave no sign of life for too long."""
        return not self.is_gone and now - self.at < EXPIRES_S


def holder_of(store: Store) -> Holder | None:
    """Who holds the journal of the run at `store`, alive or not; None if nobody does."""
    content = store.get(KEY)
    if content is None:
        return None
    try:
        said = json.loads(content)
        return Holder(int(said["pid"]), str(said["host"]), float(said["at"]), str(said["life"]))
    except (ValueError, KeyError, TypeError):
        return None


class Fence:
    """This process's hold on a journal, renewed by a thread until `release`."""

    def __init__(self, store: Store) -> None:
        """Takes it.

        Raises:
            JournalBusyError: another process has it; says which, and when it counts as dead.
            StoreError: the store does not answer.
        """
        self._store = store
        self._life = secrets.token_hex(8)
        self._lost = ""
        self._renewed_at = 0.0
        self._ended = threading.Event()
        self._take()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="fence")
        self._thread.start()

    def check(self) -> None:
        """Returns if this process may write.

        Raises:
            JournalError: another process took the journal over, or that cannot be ruled out now.
        """
        if not self._lost and time.monotonic() - self._renewed_at > RENEW_BY_S:
            try:
                self._renew()
            except StoreError as error:
                raise JournalError(f"the journal's lock cannot be renewed: {error}") from error
        if self._lost:
            raise JournalError(self._lost)

    def release(self) -> None:
        """Lets go. What cannot be deleted now expires by itself."""
        self._ended.set()
        self._thread.join()
        try:
            holder = holder_of(self._store)
            if holder is not None and holder.life == self._life:
                self._store.delete([KEY])
        except StoreError:
            return

    def _take(self) -> None:
        holder, now = holder_of(self._store), time.time()
        if holder is not None and holder.is_alive(now):
            raise JournalBusyError(
                f"{self._store.address}: {holder} has the journal open; its last sign of life was "
                f"{max(0.0, now - holder.at):.0f} s ago, and after {EXPIRES_S:g} s without it counts as dead"
            )
        self._write()
        self._ended.wait(SETTLE_S)
        self._look()
        if self._lost:
            raise JournalBusyError(self._lost)

    def _write(self) -> None:
        now = time.monotonic()
        said = {**dataclasses.asdict(this_process()), "life": self._life}
        self._store.put(KEY, json.dumps(said).encode())
        self._renewed_at = now

    def _look(self) -> None:
        holder = holder_of(self._store)
        if holder is not None and holder.life != self._life:
            self._lost = f"{self._store.address}: {holder} took the run over; this process writes no more"

    def _renew(self) -> None:
        self._look()
        if not self._lost:
            self._write()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S) and not self._lost:
            try:
                self._renew()
            except StoreError:  # tried again; `check` refuses to write when it was too long ago
                continue
