"""The digits in a plain training loop: no class, no framework but torch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from ray import tune
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy

import raysearch


def train(config: dict[str, Any]) -> None:
    """Trains and reports each epoch, with a checkpoint; the search says when to stop."""
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images / 16, labels, random_state=0)
    x, x_test, y, y_test = (torch.tensor(part, dtype=torch.float32) for part in split)
    y, y_test = y.long(), y_test.long()

    model = nn.Sequential(nn.Linear(64, config["hidden"]), nn.ReLU(), nn.Linear(config["hidden"], 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])
    first = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:  # the trial goes on from where it stopped
        state = torch.load(Path(checkpoint.path, "state.pt"))
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]

    for epoch in range(first, config["max_iterations"]):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(cross_entropy(model(x_test), y_test))
        with tempfile.TemporaryDirectory() as folder:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
            torch.save(state, Path(folder, "state.pt"))
            raysearch.report({"val_loss": loss}, checkpoint=folder)
