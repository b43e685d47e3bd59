"""Orders and answers on their way through a store, for a run whose folder here is a mirror.

Whoever gives an order puts it into the store and looks there for the answer. Whoever runs the search has
a thread that fetches orders into its own mirror, where they are taken in as ever, and sends the answers.
"""

from __future__ import annotations

import threading
from pathlib import Path

from raysearch.errors import StoreError
from raysearch.storage.mirror import Mirror

LOOK_S = 3.0  # between two looks for orders
ORDER, ANSWER = ".json", ".answer"


class OrderRelay:
    """Carries files of one folder of a run between its mirror and the store."""

    def __init__(self, mirror: Mirror, folder: Path) -> None:
        self._store = mirror.store.under(folder.name)
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def send(self, path: Path) -> None:
        """Puts a file into the store. Raises StoreError."""
        self._store.put_file(path.name, path)

    def fetch(self, path: Path) -> None:
        """Fetches a file, unless it is here or there is none yet. Raises StoreError."""
        if not path.exists():
            self._store.fetch(path.name, path)

    def delete(self, path: Path) -> None:
        """Deletes a file at the store, if it is there. Raises StoreError."""
        self._store.delete([path.name])

    def carry(self) -> None:
        """Starts to fetch orders and send answers, until `close`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._carry, daemon=True, name="post")
            self._thread.start()

    def close(self) -> None:
        """Ends the relay, after a last round."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        try:
            self.round()
        except (StoreError, OSError):  # an answer that is here is sent when the run is resumed
            return

    def _carry(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self.round()
            except (StoreError, OSError):  # away for now: the next round may find it
                continue

    def round(self) -> None:
        """Fetches the orders that have no answer here, and sends the answers to those that are there.

        Raises:
            StoreError: the store does not answer.
        """
        for name in self._store.listing():
            if not name.endswith(ORDER):
                continue
            answer = self._folder / f"{name.removesuffix(ORDER)}{ANSWER}"
            if answer.exists():
                self.send(answer)
                self._store.delete([name])
            else:
                self._folder.mkdir(exist_ok=True)
                self.fetch(self._folder / name)
