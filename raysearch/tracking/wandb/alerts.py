"""`notify: {wandb: true}`: messages as alerts of the search's own run, by the process that owns it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from raysearch.errors import RaysearchError, first_line
from raysearch.tracking.notify.deliver import Undelivered
from raysearch.tracking.notify.message import Message
from raysearch.tracking.notify.process import Teller
from raysearch.tracking.notify.watch import Watch
from raysearch.tracking.wandb.client import Unreachable

if TYPE_CHECKING:
    from raysearch.tracking.wandb.sender import Sender

TITLE = "raysearch: {kind}"


class Alerts:
    """Watches a run, and has W&B send what there is to tell; nothing where the spec does not ask for it."""

    def __init__(self, sender: Sender, now: float) -> None:
        spec = sender.results.spec
        notify = spec.get("notify") or {}
        self._sender = sender
        self._asked = bool(notify.get("wandb"))
        noted = sender.paths.tracking / "notified-wandb.json"
        self._teller = Teller(notify, {"W&B": self._alert}, noted)
        self._watch = Watch(sender.paths.root, spec, now)

    def look(self) -> None:
        """Hands on what is new."""
        if not self._asked:
            return
        try:
            for message in self._watch.look(time.time()):
                self._teller.tell(message, time.time())
        except RaysearchError as error:
            print(f"{time.strftime('%F %T')} {first_line(str(error))}")
        self._teller.hand_on()

    def _alert(self, message: Message) -> None:
        try:
            self._sender.alert(TITLE.format(kind=message.kind), message.text)
        except Unreachable as error:
            raise Undelivered(str(error)) from None
