"""Compiles one list of operations: `python -m raysearch.fused.compile_worker LIBRARY`, see compile_cache.py.

The list comes through stdin, from the process that started this one. An error is the last line on stderr.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
import warnings
from pathlib import Path

import torch


def main(library: Path) -> None:
    """Writes the library, unless another process does or has done it."""
    os.nice(10)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(library.parent / "inductor"))
    with library.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return
        steps, inputs, threads = pickle.load(sys.stdin.buffer)
        torch.set_num_threads(threads)
        made = library.with_name(f"{library.stem}.{os.getpid()}.pt2")
        with torch.no_grad():
            exported = torch.export.export(steps, tuple(inputs))
            torch._inductor.aoti_compile_and_package(exported, package_path=str(made))
        made.replace(library)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        main(Path(sys.argv[1]))
    except Exception as error:  # noqa: BLE001  (whatever the compiler raises: training goes on without)
        lines = str(error).strip().splitlines()
        sys.exit(f"{type(error).__name__}: {lines[0] if lines else ''}")
