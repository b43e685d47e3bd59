"""One small model in each framework: with raysearch's lines, and trained by the framework alone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

LENGTH = 6  # epochs
X = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
Y = X.sum(1, keepdim=True)
os.environ.update(HF_HUB_OFFLINE="1", ACCELERATE_USE_CPU="true")


class Scaled:
    """Multiplies an optimizer's rates during its steps, by another factor in each epoch."""

    def __init__(self, factors: Sequence[float]) -> None:
        self.factors, self.epoch = factors, 0

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.register_step_pre_hook(lambda o, *_: self._multiply(o, self.factors[self.epoch]))
        optimizer.register_step_post_hook(lambda o, *_: self._multiply(o, 1 / self.factors[self.epoch]))

    def _multiply(self, optimizer: torch.optim.Optimizer, factor: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] *= factor


@contextlib.contextmanager
def killed_once(config: dict[str, Any]) -> Iterator[None]:
    """Kills this process after `kill_at` optimizer steps in it, unless the file `killed` says that it was."""

    def count(*_: Any) -> None:
        STEPS.append(1)
        if len(STEPS) == config["kill_at"] and not os.path.exists(config["killed"]):
            with open(config["killed"], "w"):
                os.kill(os.getpid(), signal.SIGKILL)

    hook = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        hook.remove()


STEPS: list[int] = []  # of optimizers in this process, while a trainable is one that is killed


def layers() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.2), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 1))


# ---- Lightning


def lightning_fit(config: dict[str, Any], path: str | None, callbacks: list[Any], seen: list[float]) -> None:
    import lightning.pytorch as pl

    class Net(pl.LightningModule):
        def __init__(self, lr: float) -> None:
            super().__init__()
            self.save_hyperparameters({"lr": lr, "of": torch.optim.AdamW})  # weights_only refuses a class
            self.net = layers()

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            return ((self.net(x) - y) ** 2).mean()

        def validation_step(self, batch: Any, index: int) -> None:
            x, y = batch
            self.log("val_loss", ((self.net(x) - y) ** 2).mean())

        def on_validation_epoch_end(self) -> None:
            if not self.trainer.sanity_checking:
                seen.append(float(self.trainer.callback_metrics["val_loss"]))

        def configure_optimizers(self) -> Any:
            optimizer = self.hparams.of(self.parameters(), lr=self.hparams.lr)
            return [optimizer], [
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)
            ]

    pl.seed_everything(5, verbose=False)
    data = torch.utils.data.TensorDataset(X, Y)
    batches = torch.utils.data.DataLoader(data, 8, shuffle=True), torch.utils.data.DataLoader(data, 16)
    trainer = pl.Trainer(
        max_epochs=config["max_iterations"], accelerator="cpu", callbacks=callbacks, logger=False,
        enable_checkpointing=False, default_root_dir=config["root"],
        **({"devices": config["devices"], "strategy": "ddp"} if "devices" in config else {}),
    )  # fmt: skip
    trainer.fit(Net(config["lr"]), *batches, ckpt_path=path)


def lightning(config: dict[str, Any]) -> None:
    from raysearch.integrations.lightning import SearchCallback, resume_path

    lightning_fit(config, resume_path(), [SearchCallback(config)], [])


def lightning_alone(config: dict[str, Any], factors: Sequence[float]) -> list[float]:
    import lightning.pytorch as pl

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    scaled, seen = Scaled(factors), []

    class Nudges(pl.Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            scaled.attach(trainer.optimizers[0])

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            scaled.epoch = trainer.current_epoch

    lightning_fit(config, None, [Nudges()], seen)
    return seen


def lightning_killed(config: dict[str, Any]) -> None:
    with killed_once(config):
        lightning(config)


# ---- Hugging Face


class Model(nn.Module):
    """What a Trainer trains."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = layers()

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        out = self.net(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


ROWS = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]


def huggingface_trainer(config: dict[str, Any], callbacks: list[Any], **more: Any) -> Any:
    import transformers

    args = transformers.TrainingArguments(
        config["root"], learning_rate=config["lr"], num_train_epochs=config["max_iterations"], seed=3,
        per_device_train_batch_size=8, lr_scheduler_type="cosine", warmup_steps=3, report_to=[], use_cpu=True,
        eval_strategy="steps", eval_steps=3, save_steps=5, disable_tqdm=True,
    )  # fmt: skip
    model = {} if "model_init" in more else {"model": Model()}
    return transformers.Trainer(
        args=args, train_dataset=ROWS, eval_dataset=ROWS, callbacks=callbacks, **model, **more
    )


def huggingface(config: dict[str, Any]) -> None:
    from raysearch.integrations.huggingface import SearchCallback, resume_path

    huggingface_trainer(config, [SearchCallback(config)]).train(resume_from_checkpoint=resume_path())


def huggingface_killed(config: dict[str, Any]) -> None:
    with killed_once(config):
        huggingface(config)


def huggingface_alone(config: dict[str, Any], factors: Sequence[float]) -> list[float]:
    import transformers

    scaled = Scaled(factors)

    class Nudges(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            args.eval_strategy, args.save_strategy = "epoch", "no"
            scaled.attach(getattr(more["optimizer"], "optimizer", more["optimizer"]))

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            scaled.epoch = round(state.epoch)

    trainer = huggingface_trainer(config, [Nudges()])
    trainer.train()
    return [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]


# ---- Accelerate


def accelerate_fit(config: dict[str, Any], tracker: Any, begin: Any, scaled: Scaled | None) -> None:
    """Epochs of a loop of one's own, which `begin` may have go on from a checkpoint."""
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    project = ProjectConfiguration(config["root"], automatic_checkpoint_naming=True)
    accelerator = Accelerator(log_with=tracker, cpu=True, project_config=project)
    net = layers()
    optimizer = torch.optim.AdamW(net.parameters(), lr=config["lr"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["max_iterations"])
    data = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)
    net, optimizer, schedule, data = accelerator.prepare(net, optimizer, schedule, data)
    accelerator.init_trackers("search")
    if scaled is not None:
        scaled.attach(optimizer.optimizer)
    for epoch in range(begin(accelerator), config["max_iterations"]):
        if scaled is not None:
            scaled.epoch = epoch
        net.train()
        for x, y in data:
            optimizer.zero_grad()
            loss = ((net(x) - y) ** 2).mean()
            accelerator.backward(loss)
            optimizer.step()
            accelerator.log({"train_loss": float(loss.detach())})
        schedule.step()
        net.eval()
        with torch.no_grad():
            accelerator.log({"val_loss": float(((net(X) - Y) ** 2).mean())}, step=epoch)


def accelerate(config: dict[str, Any]) -> None:
    from raysearch.integrations.accelerate import SearchTracker

    tracker = SearchTracker(config, metric="val_loss")
    accelerate_fit(config, tracker, tracker.resume, None)


def accelerate_alone(config: dict[str, Any], factors: Sequence[float]) -> list[float]:
    from accelerate.tracking import GeneralTracker

    class Seen(GeneralTracker):  # type: ignore[misc]
        name, requires_logging_directory = "seen", False

        def __init__(self) -> None:
            super().__init__()
            self.values: list[float] = []

        @property
        def tracker(self) -> None:
            return None

        def log(self, values: dict[str, Any], step: int | None = None, **more: Any) -> None:
            self.values += [values["val_loss"]] if "val_loss" in values else []

    seen = Seen()
    accelerate_fit(config, seen, lambda accelerator: 0, Scaled(factors))
    return seen.values
