"""The digits on two processes: DistributedDataParallel, as it is written for torchrun.

raysearch launch ddp_digits
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch.distributed as dist
from ray import tune
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from raysearch.examples.digits import problem
from raysearch.examples.training import Config, Training


class Part(Training):
    """One rank's part of a training: of each batch it takes its share, and gradients are averaged."""

    def __init__(self, config: Config) -> None:
        super().__init__(problem(), config)
        self.model = DistributedDataParallel(self.model)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        rank, ranks = dist.get_rank(), dist.get_world_size()
        for inputs, labels in super()._batches():  # the same order on all ranks: their seeds are the same
            whole = len(inputs) // ranks * ranks
            yield inputs[rank:whole:ranks], labels[rank:whole:ranks]


def train(config: dict[str, Any]) -> None:
    """Trains until it is stopped; all ranks report each epoch, rank 0 with a checkpoint to go on from."""
    dist.init_process_group("gloo")
    training = Part(config)
    first = 1
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            training.restore(folder)
            first = json.loads((Path(folder) / "epoch.json").read_text()) + 1
    for epoch in itertools.count(first):
        metrics = {"epoch": epoch, **training.iterate()}
        if dist.get_rank() > 0:
            tune.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as folder:
            training.save(folder)
            (Path(folder) / "epoch.json").write_text(json.dumps(epoch))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))
