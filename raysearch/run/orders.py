"""Orders that people give a run: a file each, which the process that runs it answers by a file beside it.

    name = Orders(paths.orders).give({"kind": "nudge", "values": {"lr": 3e-4}})   # any process
    for name in orders.waiting():                          # the one that runs it
        orders.answer(name, True, "nudge lr 0.001 -> 0.0003")
    orders.answered(name)                                  # (True, "nudge lr ...")

An order waits until it is answered; if no process runs the run, until a resume.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.errors import RunError, SpecError
from raysearch.run.order_relay import OrderRelay
from raysearch.storage.atomic import read_text, replace_text
from raysearch.storage.checked_json import from_text, to_text
from raysearch.storage.mirror import mirror_at


def given_at(name: str) -> float:
    """Unix time at which an order of this name was given."""
    return int(name.partition("-")[0]) / 1e9


_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{6}")


class Orders:
    """The orders in a folder, which the first order makes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        mirror = mirror_at(folder.parent)
        self._post = OrderRelay(mirror, folder) if mirror is not None else None

    def give(self, order: Mapping[str, Any]) -> str:
        """Writes an order; returns its name. Raises RunError if it cannot be written."""
        name = f"{time.time_ns():020d}-{secrets.token_hex(3)}"  # sorted by time
        try:
            self._folder.mkdir(exist_ok=True)
            replace_text(self._order(name), to_text(order))
            if self._post is not None:
                self._post.send(self._order(name))
        except OSError as error:
            raise RunError(f"{self._folder}: the order cannot be written: {error.strerror}") from error
        return name

    def waiting(self) -> list[str]:
        """Names of the orders that have no answer, the oldest first; other files there are passed over."""
        if self._post is not None:
            self._post.carry()
        try:
            found = os.listdir(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name[:-5] for name in found if name.endswith(".json") and _NAME.fullmatch(name[:-5]))

    def close(self) -> None:
        """Sends the answers to the store of the run, if it has one; the relay then ends."""
        if self._post is not None:
            self._post.close()

    def read(self, name: str) -> dict[str, Any]:
        """The order. Raises SpecError if it cannot be read."""
        try:
            return from_text(read_text(self._order(name)))
        except (OSError, ValueError) as error:
            raise SpecError(f"the order {self._order(name)} cannot be read: {error}") from error

    def answer(self, name: str, accepted: bool, words: str) -> None:
        """Answers an order, which then waits no longer; if the disk fails, it waits for the next look."""
        try:
            replace_text(self._answer(name), to_text({"accepted": accepted, "words": words}))
            self._order(name).unlink(missing_ok=True)
        except OSError:
            return

    def withdraw(self, name: str) -> None:
        """Takes back an order without an answer; no process carries it out later."""
        self.answer(name, False, "taken back: nobody answered")
        if self._post is not None:
            self._post.delete(self._order(name))

    def answered(self, name: str) -> tuple[bool, str] | None:
        """(whether the run accepted it, its words); None while there is no answer.

        Raises:
            RunError: the answer cannot be read.
        """
        if self._post is not None:
            self._post.fetch(self._answer(name))
        try:
            said = from_text(read_text(self._answer(name)))
            return bool(said["accepted"]), str(said["words"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"the answer {self._answer(name)} cannot be read: {error}") from error

    def _order(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _answer(self, name: str) -> Path:
        return self._folder / f"{name}.answer"
