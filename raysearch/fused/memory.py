"""How much memory is left, so that packs stop growing before the machine kills a process."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
NO_MEMORY = ("out of memory", "can't allocate memory")
CGROUP = Path("/sys/fs/cgroup")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MAPPED_FROM = 64 << 20  # bytes: tensors from this size on are given back to the system at once
KEPT = 256 << 20  # of what is free at the end of the heap


def free_bytes(device: torch.device) -> int | None:
    """What a device, or this machine or container, has left; None where nothing says so."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
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


def peak_bytes(device: torch.device) -> int:
    """The most that this process has held so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _available(meminfo: Path) -> int | None:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _left_in_group(folder: Path) -> int | None:
    """Of a container's limit (cgroup v2), what is not in use."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return int(limit) - int(used) if limit.isdigit() and used.isdigit() else None


def is_out_of_memory(error: BaseException) -> bool:
    """True if it says that memory ran out, on a GPU or not."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)
