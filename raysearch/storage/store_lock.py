"""The lock of a journal at a store: one process at a time writes, though a store has no locks.

A file names the holder and when it last renewed the lock, which it does every BEAT_S. A holder whose process
has ended on this machine, or that did not renew for EXPIRES_S, has lost the lock. A process that takes the
lock writes its name, waits SETTLE_S, and reads whether its name is still there. A holder that could not renew
for RENEW_BY_S, as when the network was down, reads the name again before it writes to the journal, and stops
writing if the lock names another process. This is safe as long as clocks differ by less than
EXPIRES_S - RENEW_BY_S.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
import time

from raysearch.errors import JournalBusyError, JournalError, StoreError
from raysearch.storage.liveness import EXPIRES_S, STORE_KEY, holder_of, this_process
from raysearch.storage.object_store import Store

BEAT_S = 10.0
RENEW_BY_S = 30.0
SETTLE_S = 0.5  # in which another process that takes the lock too has written its name


class Fence:
    """The lock that this process holds on a journal; a thread renews it until `release`."""

    def __init__(self, store: Store) -> None:
        """Takes the lock.

        Raises:
            JournalBusyError: another process has the lock; names it, and says when it counts as dead.
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
            JournalError: another process took the journal over, or the store does not answer whether one did.
        """
        if not self._lost and time.monotonic() - self._renewed_at > RENEW_BY_S:
            try:
                self._renew()
            except StoreError as error:
                raise JournalError(f"the journal's lock cannot be renewed: {error}") from error
        if self._lost:
            raise JournalError(self._lost)

    def release(self) -> None:
        """Gives the lock back. A lock that cannot be deleted now expires by itself."""
        self._ended.set()
        self._thread.join()
        try:
            holder = holder_of(self._store)
            if holder is not None and holder.life == self._life:
                self._store.delete([STORE_KEY])
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
        content = {**dataclasses.asdict(this_process()), "life": self._life}
        self._store.put(STORE_KEY, json.dumps(content).encode())
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
