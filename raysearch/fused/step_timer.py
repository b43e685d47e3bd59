"""How long a step takes, also where operations are only queued when they are called."""

from __future__ import annotations

import math
import time

import torch


class Stopwatch:
    """Times the steps between its making and `seconds`.

    On a CPU the quickest of them counts, as other processes slow some. On a GPU a step returns when it is
    queued; so there it is what all of them took, from an idle device to an idle device, by their number.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._queues = device.type == "cuda"
        self._wait()
        self._began = self._last = time.perf_counter()
        self._steps, self._quickest = 0, math.inf

    def step(self, is_whole: bool) -> None:
        """A step was called. One that is not of a whole batch is no measure."""
        self._steps += 1
        now = time.perf_counter()
        if is_whole:
            self._quickest = min(self._quickest, now - self._last)
        self._last = now

    def seconds(self) -> float:
        """Of a step; infinite where none was of a whole batch."""
        if not self._queues or math.isinf(self._quickest):
            return self._quickest
        self._wait()
        return (time.perf_counter() - self._began) / self._steps

    def _wait(self) -> None:
        if self._queues:
            torch.cuda.synchronize(self._device)
