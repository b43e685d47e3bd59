"""Free memory, so that packs stop growing before the machine kills a process."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
import traceback
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MAPPED_FROM = 64 << 20  # bytes: tensors from this size on are given back to the system at once
KEPT = 256 << 20  # of what is free at the end of the heap


def free_bytes(device: torch.device) -> int | None:
    """Free bytes of a device, or of this machine or container; None if unknown.

    Of a GPU, what this process keeps and does not use counts too, and nothing beyond its share.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        used = torch.cuda.memory_allocated(device)
        share = torch.cuda.get_per_process_memory_fraction(device) * total
        return int(min(free + torch.cuda.memory_reserved(device) - used, share - used))
    limits = [limit for limit in (_available(MEMINFO), _left_in_group(CGROUP)) if limit is not None]
    return min(limits, default=None)


def keep_what_is_freed() -> bool:
    """Has the C library keep a step's memory for the next one; True if it does so.

    Else it gives tensors of a few megabytes back at once, and every step pays for pages that are new, which
    costs several times what adding two such tensors does.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # no glibc
        return False
    return bool(set_option(M_MMAP_THRESHOLD, MAPPED_FROM) and set_option(M_TRIM_THRESHOLD, KEPT))


def keep_to(share: float, device: torch.device) -> None:
    """Limits this process to a share of a GPU's memory, so that it cannot use its neighbours' share."""
    if device.type == "cuda" and 0 < share < 1:
        torch.cuda.set_per_process_memory_fraction(share, device)


class Meter:
    """The most memory that iterations took beyond that in use before them.

    Attributes:
        most: bytes. Not on a GPU, it is only known by how much this process' peak has grown.
    """

    def __init__(self, device: torch.device) -> None:
        self.most = 0
        self._device = device
        self._before = _peak_bytes(device)

    def begin(self) -> None:
        """Begins to measure an iteration."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)

    def end(self, rows: int) -> None:
        """Ends the iteration; `rows` are the bytes of the rows."""
        had = self._before + (0 if self._device.type == "cuda" else rows)
        self.most = max(self.most, _peak_bytes(self._device) - had)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _available(meminfo: Path) -> int | None:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _left_in_group(folder: Path) -> int | None:
    """Bytes left below a container's limit (cgroup v2)."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return int(limit) - int(used) if limit.isdigit() and used.isdigit() else None


def let_go(error: BaseException | None) -> None:
    """Frees the tensors of a failed step, which the error's traceback holds."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
