"""The digits with Accelerate. Four lines are the search's: the import, the tracker, `log_with`, `resume`."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, random_split

from raysearch.integrations.accelerate import SearchTracker


def loaders() -> tuple[Any, Any]:
    """Batches to train with and to validate with; the same split in every trial."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    train, validation = random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size=32, shuffle=True), DataLoader(validation, batch_size=256)


def train(config: dict[str, Any]) -> None:
    """Trains for as many epochs as the strategy allows."""
    tracker = SearchTracker(config, metric="val_loss")
    accelerator = Accelerator(log_with=tracker, cpu=True)
    hidden = nn.Sequential(nn.Linear(64, config["hidden"]), nn.ReLU(), nn.Dropout(config["dropout"]))
    net = nn.Sequential(hidden, nn.Linear(config["hidden"], 10))
    optimizer = torch.optim.AdamW(net.parameters(), lr=config["lr"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["max_iterations"])
    net, optimizer, schedule, *batches = accelerator.prepare(net, optimizer, schedule, *loaders())
    accelerator.init_trackers("digits")
    for epoch in range(tracker.resume(accelerator), config["max_iterations"]):
        net.train()
        for images, labels in batches[0]:
            optimizer.zero_grad()
            accelerator.backward(cross_entropy(net(images), labels))
            optimizer.step()
        schedule.step()
        net.eval()
        with torch.no_grad():
            losses = [cross_entropy(net(images), labels) for images, labels in batches[1]]
        accelerator.log({"val_loss": float(torch.stack(losses).mean())}, step=epoch)
    accelerator.end_training()
