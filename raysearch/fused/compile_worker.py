"""Compiles one list of operations: `python -m raysearch.fused.compile_worker LIBRARY DIGEST`, see compile_cache.py.

The list comes through stdin, from the process that started this one, which names the SHA-256 of it: nothing
else is unpickled. An error is the last line on stderr.
"""  # noqa: E501

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
import sys
import warnings
from pathlib import Path

import torch


def main(library: Path, digest: str) -> None:
    """Writes the library, unless another process does or has done it.

    Raises:
        ValueError: stdin has another content than the one of this SHA-256.
    """
    os.nice(10)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(library.parent / "inductor"))
    with library.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return
        content = sys.stdin.buffer.read()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("the list of operations is not the one that was sent")
        steps, inputs, threads = pickle.loads(content)
        torch.set_num_threads(threads)
        made = library.with_name(f"{library.stem}.{os.getpid()}.pt2")
        with torch.no_grad():
            exported = torch.export.export(steps, tuple(inputs))
            torch._inductor.aoti_compile_and_package(exported, package_path=str(made))
        made.replace(library)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except Exception as error:  # noqa: BLE001  (whatever the compiler raises: training goes on without)
        lines = str(error).strip().splitlines()
        sys.exit(f"{type(error).__name__}: {lines[0] if lines else ''}")
