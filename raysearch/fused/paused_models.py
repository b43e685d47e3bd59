"""Models that wait to be trained on, in this worker's memory; the oldest in files on its disk."""

from __future__ import annotations

import contextlib
import shutil
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from raysearch.fused.contract import Config
from raysearch.fused.packed_state import ModelRow
from raysearch.fused.structure import Structure

MEMORY_BYTES = 1 << 30
DISK_BYTES = 8 << 30


@dataclass(frozen=True, slots=True)
class Rested:
    """A model at the end of a segment.

    Attributes:
        lifted: its own values at the structure's lifted places.
        grown_s: seconds of training from a fresh model to here.
    """

    row: ModelRow
    seed: int
    at: int
    config: Config
    structure: Structure
    lifted: tuple[float, ...]
    grown_s: float


class Paused:
    """Rested models by the segment at whose end they stand. Those beyond both quotas are forgotten.

    What is forgotten is read from its checkpoint or grown again, as on any other worker.
    """

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_BYTES) -> None:
        self._folder = folder
        self._memory_bytes, self._disk_bytes = memory_bytes, disk_bytes
        self._here: OrderedDict[int, Rested] = OrderedDict()
        self._spilled: OrderedDict[int, tuple[Rested, int]] = OrderedDict()  # without its row, and its bytes
        self._here_bytes = self._spilled_bytes = 0

    def __contains__(self, segment: int) -> bool:
        return segment in self._here or segment in self._spilled

    def put(self, segment: int, rested: Rested) -> None:
        """Keeps a model; makes room by writing the oldest to the disk."""
        self._here[segment] = rested
        self._here_bytes += rested.row.nbytes
        while self._here_bytes > self._memory_bytes and len(self._here) > 1:
            self._spill(*self._here.popitem(last=False))

    def get(self, segment: int) -> Rested | None:
        """The model at the end of a segment; None if it is not here, or cannot be read any more."""
        if segment in self._here:
            self._here.move_to_end(segment)
            return self._here[segment]
        if segment not in self._spilled:
            return None
        rested, _ = self._spilled[segment]
        try:
            row = torch.load(self._file(segment), weights_only=True)
        except (OSError, RuntimeError, EOFError):
            self._forget(segment)
            return None
        return replace(rested, row=ModelRow(**row))

    def clear(self) -> None:
        """Forgets all of them."""
        self._here.clear()
        self._spilled.clear()
        self._here_bytes = self._spilled_bytes = 0
        shutil.rmtree(self._folder, ignore_errors=True)

    def _spill(self, segment: int, rested: Rested) -> None:
        row = rested.row
        self._here_bytes -= row.nbytes
        if row.nbytes > self._disk_bytes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            torch.save(
                {"parameters": row.parameters, "vectors": row.vectors, "kept": row.kept}, self._file(segment)
            )
        except (OSError, RuntimeError):  # a full disk: the model is read from its checkpoint or grown again
            self._remove(segment)
            return
        bare = replace(rested, row=ModelRow(torch.zeros(0), {}, {}))
        self._spilled[segment] = (bare, row.nbytes)
        self._spilled_bytes += row.nbytes
        while self._spilled_bytes > self._disk_bytes:
            self._forget(next(iter(self._spilled)))

    def _forget(self, segment: int) -> None:
        _, size = self._spilled.pop(segment)
        self._spilled_bytes -= size
        self._remove(segment)

    def _remove(self, segment: int) -> None:
        with contextlib.suppress(OSError):
            self._file(segment).unlink()

    def _file(self, segment: int) -> Path:
        return self._folder / f"{segment}.pt"
