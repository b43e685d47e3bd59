"""The digits with Lightning. Three lines are the search's: the import, `callbacks`, `ckpt_path`."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, random_split

from raysearch.integrations.lightning import SearchCallback, resume_path


class Net(pl.LightningModule):
    """A perceptron for pictures of 8 x 8 pixels."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        hidden = nn.Sequential(nn.Linear(64, config["hidden"]), nn.ReLU(), nn.Dropout(config["dropout"]))
        self.net = nn.Sequential(hidden, nn.Linear(config["hidden"], 10))

    def training_step(self, batch: Any, index: int) -> Any:
        """The loss of a batch."""
        images, labels = batch
        return cross_entropy(self.net(images), labels)

    def validation_step(self, batch: Any, index: int) -> None:
        """Logs what the search compares."""
        images, labels = batch
        scores = self.net(images)
        self.log("val_loss", cross_entropy(scores, labels))
        self.log("val_accuracy", (scores.argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> Any:
        """AdamW, whose rate falls to zero over the training's whole length."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.config["lr"])
        return [optimizer], [
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.config["max_iterations"])
        ]


def loaders() -> tuple[Any, Any]:
    """Batches to train with and to validate with; the same split in every trial."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    train, validation = random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size=32, shuffle=True), DataLoader(validation, batch_size=256)


def train(config: dict[str, Any]) -> None:
    """Trains for as many epochs as the strategy allows."""
    train, validation = loaders()
    trainer = pl.Trainer(
        max_epochs=config["max_iterations"],
        callbacks=[SearchCallback(config)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(Net(config), train, validation, ckpt_path=resume_path())
