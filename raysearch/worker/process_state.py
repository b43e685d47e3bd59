"""What trials of one process share: its settings are put back between them, and what they leave is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from raysearch.worker.left_threads import LeftThreads
from raysearch.worker.process_settings import ProcessSettings
from raysearch.worker.torch_settings import TorchSettings

GOES_ON_TRAINED = (
    "this trial was to begin with a fresh model, and its optimizer's first step found the weights with "
    "which the trial before it had ended: the model lives longer than the trial, in a module or a class. "
    "Make it in the function, or in setup(); or set isolate: true: each trial has its own process then"
)
IS_NOT_RESET = (
    "reset_config returned True and left the trained weights of the trial before: it is not called any more, "
    "and each trial gets a new object. Make model and optimizer anew in reset_config, or return False"
)


class ProcessState:
    """Gives each trial of this process what the first one found, as far as that can be done.

    Attributes:
        strangers: threads that earlier trials left running.
    """

    def __init__(self) -> None:
        self._settings = ProcessSettings()
        self._torch = TorchSettings()
        self._threads = LeftThreads()
        self._has_first = False
        self.strangers: tuple[threading.Thread, ...] = ()

    def begin(self, is_function: bool) -> Iterator[str]:
        """A trial begins whose code is run from its beginning; yields remarks on those before it."""
        self._settings.note()
        self._torch.note()
        if self._has_first:
            yield from self._settings.put_back()
            yield from self._torch.put_back()
        self._has_first = True
        yield from self._threads.look(is_function)
        self.strangers = tuple(self._threads.left)
