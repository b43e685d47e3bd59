"""What a node says of itself. This one module is sent to nodes by value: raysearch may be missing there.

So it imports nothing of raysearch at its top, takes and gives plain values, and answers in spite of failures.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import resource
import shutil
import socket
import time
from importlib import metadata
from typing import Any

PACKAGES = ("ray", "torch")
DRIVER = "driver"  # name of the driver's file
RAY_FILES = 65536  # up to which Ray raises a process's limit of open files by itself


def look(asked: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Everything that is asked, as plain values; an unknown fact is left out, or a text says why.

    Args:
        asked: `storage`, `token` and `name` (see `storage_seen`), `trainable` (a pickled `Shipped`), `folder`
            (on whose disk Ray keeps its files), `expected` (the hash of `data`).
        data: what came through the object store.
    """
    began = time.time()
    seen: dict[str, Any] = {
        "host": socket.gethostname(),
        "versions": {"python": platform.python_version(), **_packages()},
        "open_files": _open_files(),
        "shm_bytes": _free("/dev/shm")[1],
        "disk": _free(asked.get("folder") or "/tmp"),
        "memory_free": _memory_free(),
        "data_ok": hashlib.sha256(data).hexdigest() == asked["expected"],
    }
    if asked.get("storage"):
        seen["storage"] = storage_seen(asked["storage"], asked["token"], asked["name"])
    if asked.get("trainable"):
        seen["trainable"] = _trainable_error(asked["trainable"])
    return {**seen, "began": began, "ended": time.time()}


def storage_seen(storage: str, token: str, name: str) -> dict[str, Any]:
    """Looks for the driver's file at the storage, and writes one of its own beside it, named after the node.

    Returns `error`, None if both went well; `reads`: whether the driver's file is there; `free`: bytes.
    """
    try:
        if "://" in storage:
            from raysearch.storage.object_store import open_store

            store = open_store(storage)
            store.put(f"{token}-{name}", b"node")
            return {"error": None, "reads": store.has(f"{token}-{DRIVER}"), "free": None}
        folder = os.path.join(storage, token)
        if not os.path.exists(os.path.join(folder, DRIVER)):
            return {"error": None, "reads": False, "free": None}
        with open(os.path.join(folder, name), "w") as out:
            out.write("node")
            out.flush()
            os.fsync(out.fileno())
        return {"error": None, "reads": True, "free": shutil.disk_usage(storage).free}
    except Exception as error:  # noqa: BLE001  (any error of a file system is the answer)
        return {"error": f"{type(error).__name__}: {error}", "reads": False, "free": None}


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    with contextlib.suppress(ImportError):  # under whatever name it was installed
        from raysearch.core.version import __version__

        found["raysearch"] = __version__
    return found


def _trainable_error(pickled: bytes) -> str | None:
    """Why the trainable cannot be loaded here; None if it can."""
    try:
        pickle.loads(pickled).load()
    except Exception as error:  # noqa: BLE001  (a user's module may raise anything when it is imported)
        return f"{type(error).__name__}: {error}"
    return None


def _open_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return RAY_FILES if hard == resource.RLIM_INFINITY else min(hard, RAY_FILES)


def _free(folder: str) -> tuple[int, int]:
    """(free, total) bytes; zeros where there is no such folder."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return 0, 0
    return usage.free, usage.total


def _memory_free() -> int | None:
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
