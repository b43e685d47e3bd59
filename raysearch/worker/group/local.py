"""Ranks as child processes of the worker: for searches without a cluster (`executor: inline`)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from ray import cloudpickle

from raysearch.worker.group.messages import Where


class LocalRanks:
    """Starts each rank as a process on this machine."""

    def __init__(self, count: int, threads: int) -> None:
        """`threads`: that arithmetic takes in each rank."""
        self.count = count
        self.address = "127.0.0.1"
        self._threads = threads
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, address: Any, key: bytes) -> None:
        """Starts processes that connect to `address`, where `key` lets them in."""
        paths = os.pathsep.join(path for path in sys.path if path)
        env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(self._threads)}
        for _ in range(self.count):
            process = subprocess.Popen(
                [sys.executable, "-m", "raysearch.worker.group.rank"],
                stdin=subprocess.PIPE,
                env=env,
                start_new_session=True,
            )
            assert process.stdin is not None
            process.stdin.write(cloudpickle.dumps((address, key)))
            process.stdin.close()
            self._processes.append(process)

    def lost(self) -> str:
        """Why a process has ended that was to connect, in words; empty while all may still come."""
        codes = [process.poll() for process in self._processes]
        return next((f"its process ended with exit code {code}" for code in codes if code is not None), "")

    def kill(self, here: Sequence[Where]) -> None:
        """Ends all processes and what they started."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):  # the session it leads: its own children too
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes = []
