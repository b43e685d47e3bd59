"""Trainables of several processes, as they are under torchrun: a small network, and ones that go wrong."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ray import tune
from torch import nn
from torch.nn.parallel import DistributedDataParallel

ROWS = 64


class Net:
    """A network of two layers on eight features, an equal part of each batch on every rank."""

    def __init__(self, lr: float) -> None:
        if not dist.is_initialized():
            dist.init_process_group("gloo")
        torch.manual_seed(3)
        self.x = torch.randn(ROWS, 8)
        self.y = self.x.pow(2).sum(1, keepdim=True).sin()
        self.model = DistributedDataParallel(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        self.epoch = 0

    def train(self) -> float:
        """The mean loss of an epoch over all ranks."""
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(self.epoch))
        mine = order[dist.get_rank() :: dist.get_world_size()].split(8)
        total = torch.zeros(1)
        for rows in mine:
            loss = nn.functional.mse_loss(self.model(self.x[rows]), self.y[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        self.epoch += 1
        dist.all_reduce(total)
        return total.item() / len(mine) / dist.get_world_size()

    def spread(self) -> float:
        """How far the ranks' weights are from each other: 0 where all have used the same values."""
        weights = torch.cat([weight.detach().flatten() for weight in self.model.parameters()])
        most, least = weights.clone(), weights.clone()
        dist.all_reduce(most, dist.ReduceOp.MAX)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        return (most - least).max().item()

    def save(self, folder: str) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
        }
        torch.save(state, Path(folder, "net.pt"))

    def load(self, folder: str) -> None:
        state = torch.load(Path(folder, "net.pt"))
        self.model.load_state_dict(state["model"])
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        self.epoch = state["epoch"]


class Ddp(tune.Trainable):  # type: ignore[misc]
    """The network as a class; every rank saves."""

    def setup(self, config: dict[str, Any]) -> None:
        self.net = Net(config["lr"])

    def step(self) -> dict[str, Any]:
        return {"loss": self.net.train(), "process": float(os.getpid()), "draw": random.random()}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.net.save(checkpoint_dir)
        Path(checkpoint_dir, "rank").write_text(os.environ["RANK"])

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.net.load(checkpoint_dir)
        assert Path(checkpoint_dir, "rank").read_text() == os.environ["RANK"]


def ddp(config: dict[str, Any]) -> None:
    """The network as a function, which makes and takes down the process group itself; rank 0 saves.

    In epoch 2 rank 1 does what `fault` says, or until the file `marker` is there.
    """
    dist.init_process_group("gloo")
    net, rank = Net(config["lr"]), dist.get_rank()
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            net.load(folder)
    while net.epoch < config.get("length", 100):
        if seen := config.get("seen"):
            Path(seen, f"{rank}-{net.epoch}-{os.environ['GROUP_RANK']}{os.environ['LOCAL_RANK']}").touch()
            while Path(seen, "hold").exists() and net.epoch == 1:
                time.sleep(0.1)
        fault = config.get("fault", "") if rank == 1 and net.epoch == 1 and _is_first(config) else ""
        if fault == "return":
            return
        if fault:
            _go_wrong(fault)
        if config.get("alone"):
            net.epoch += 1
            tune.report({"loss": 1.0 / net.epoch})
            continue
        loss = net.train() * (math.nan if fault == "nan" else 1.0)
        metrics = {"loss": loss, "spread": net.spread()}
        if rank == 0:
            with tempfile.TemporaryDirectory() as folder:
                net.save(folder)
                tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))
        elif fault != "silent":
            tune.report({} if config.get("fault") == "bare" else metrics)
    dist.destroy_process_group()


def loop(config: dict[str, Any]) -> None:
    """A loop function for Ray Train's TorchTrainer; rank 0 saves."""
    import ray.train
    import ray.train.torch

    rank = ray.train.get_context().get_world_rank()
    torch.manual_seed(3)
    model = ray.train.torch.prepare_model(nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9)
    x = torch.randn(ROWS, 8)
    rows = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    batches = ray.train.torch.prepare_data_loader(torch.utils.data.DataLoader(rows, batch_size=8))
    first = 0
    if checkpoint := ray.train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            first, *states = torch.load(Path(folder, "state.pt"))
        model.load_state_dict(states[0])
        optimizer.load_state_dict(states[1])
    for epoch in range(first + 1, 5):
        for inputs, targets in batches:
            loss = nn.functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        metrics = {
            "loss": loss.item(),
            "size": ray.train.get_context().get_world_size(),
            "seen": len(batches),
        }
        with tempfile.TemporaryDirectory() as folder:
            states = [model.state_dict(), optimizer.state_dict()]
            torch.save([epoch, *states], Path(folder, "state.pt"))
            kept = ray.train.Checkpoint.from_directory(folder) if rank == 0 else None
            ray.train.report(metrics, checkpoint=kept)


def function(config: dict[str, Any]) -> None:
    """The function that the configuration names."""
    {"ddp": ddp, "loop": loop}[config.get("kind", "ddp")](config)


def lightning(config: dict[str, Any]) -> None:
    """The small model of `frameworks`, as a Lightning module under DDP."""
    import frameworks

    config["devices"] = dist.get_world_size()
    frameworks.lightning(config)


def huggingface(config: dict[str, Any]) -> None:
    """The small model of `frameworks`, with a transformers Trainer."""
    import frameworks

    frameworks.huggingface(config)


def _is_first(config: dict[str, Any]) -> bool:
    """Whether a fault that happens once has not happened."""
    if "marker" not in config:
        return True
    marker = Path(config["marker"])
    is_first = not marker.exists()
    marker.touch()
    return is_first


def _go_wrong(fault: str) -> None:
    if fault == "raise":
        raise ValueError("not on this rank")
    if fault in ("kill", "freeze"):
        os.kill(os.getpid(), signal.SIGKILL if fault == "kill" else signal.SIGSTOP)


if __name__ == "__main__":  # under torchrun: the losses of the whole training, from rank 0
    net = Net(float(sys.argv[1]))
    losses = [net.train() for _ in range(int(sys.argv[2]))]
    if dist.get_rank() == 0:
        print(json.dumps(losses))
    dist.destroy_process_group()
