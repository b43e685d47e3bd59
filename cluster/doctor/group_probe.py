"""A node's part in a process group that is tried. Sent to nodes by value: raysearch may be missing there."""

from __future__ import annotations

import datetime
from typing import Any

from raysearch.core import interfaces


class GroupProbe:
    """One process on a node, which meets those of other nodes in groups of gloo."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._store: Any = None
        interfaces.use_interface(address)

    def serve(self, size: int, seconds: float) -> int:
        """Keeps the store at which a group of so many will meet; returns its port, 0 without torch."""
        try:
            import torch.distributed

            dist: Any = torch.distributed
            patience = datetime.timedelta(seconds=seconds)
            self._store = dist.TCPStore(self._address, 0, size, True, patience, wait_for_workers=False)
        except ImportError:
            return 0
        port: int = self._store.port
        return port

    def meet(self, address: str, port: int, rank: int, size: int, seconds: float) -> str:
        """Adds numbers up with the others of a group; "" where the sum is right, else what went wrong."""
        try:
            import torch.distributed
        except ImportError:
            return "torch is not installed there"
        dist: Any = torch.distributed
        patience = datetime.timedelta(seconds=seconds)
        try:
            store = self._store if rank == 0 else dist.TCPStore(address, port, size, False, patience)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=patience)
            numbers = torch.full((1024,), float(rank + 1))
            dist.all_reduce(numbers)
            is_right = bool((numbers == size * (size + 1) / 2).all())
            return "" if is_right else "their sum was wrong"
        except Exception as error:  # noqa: BLE001  (torch has many kinds, and each is an answer)
            return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
            self._store = None
