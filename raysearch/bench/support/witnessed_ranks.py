"""The training of `witnessed`, of which each of several processes does a part."""

from __future__ import annotations

import random
import time
from typing import Any

import torch
import torch.distributed as dist

from raysearch.bench.support.witnessed import TRACE_BITS, Witnessed


class WitnessedRanks(Witnessed):
    """Least squares: each rank has every n-th row, and the gradient is their sum.

    The trace is over the random numbers of all ranks. `ranks_differ` is the largest difference of weights
    between ranks: 0.0 as long as all have begun from the same checkpoint and used the same values.
    """

    def step(self) -> dict[str, float]:
        """One step of descent, and the loss over all rows."""
        time.sleep(self.config.get("seconds", 0.0))
        rank, size = dist.get_rank(), dist.get_world_size()
        inputs, targets = self._inputs[rank::size], self._targets[rank::size]
        gradient = _sum(inputs.T @ (inputs @ self._weights - targets))
        self._weights = self._weights - self.config["lr"] / self._limit * gradient / 64
        drawn = _sum([random.getrandbits(TRACE_BITS)], torch.int64)
        self._trace = (self._trace * 31 + int(drawn[0])) % 2**TRACE_BITS
        errors = inputs @ self._weights - targets
        loss = float(_sum([float(errors @ errors)])[0]) / 64
        most, least = torch.from_numpy(self._weights.copy()), torch.from_numpy(self._weights.copy())
        dist.all_reduce(most, dist.ReduceOp.MAX)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        return {"loss": loss, "trace": float(self._trace), "ranks_differ": float((most - least).max())}


def _sum(values: Any, kind: torch.dtype = torch.float64) -> Any:
    """The sum over all ranks, as an array."""
    total = torch.as_tensor(values, dtype=kind).clone()
    dist.all_reduce(total)
    return total.numpy()
