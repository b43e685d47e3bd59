"""The same property inside Lightning and Hugging Face's Trainer: see test_used_values."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from torch import nn
from training_lab import Curve, Lab, close, rates

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

LENGTH, STEPS = 6, 4  # epochs, optimizer steps in one
LR = 0.0123


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return Lab(tmp_path)


def watched(optimizer: torch.optim.Optimizer, seen: list[float]) -> torch.optim.Optimizer:
    """The optimizer, whose rate at each step is added to `seen`."""
    optimizer.register_step_pre_hook(
        lambda o, args, kwargs: seen.extend(float(group["lr"]) for group in o.param_groups)
    )
    return optimizer


def report(loss: float, seen: list[float], checkpoint: str) -> None:
    metrics = {"loss": loss, **{f"rate{i}": rate for i, rate in enumerate(seen)}}
    seen.clear()
    tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(checkpoint))


def lightning(config: dict[str, Any]) -> None:
    """Nothing is applied: the module builds its optimizer from the configuration, ckpt_path does the rest."""
    import lightning.pytorch as pl

    seen: list[float] = []

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))

        def training_step(self, batch: Any) -> Any:
            (x,) = batch
            self.loss = ((self.net(x) - x.sum(1, keepdim=True)) ** 2).mean()
            return self.loss

        def configure_optimizers(self) -> Any:
            optimizer = watched(torch.optim.AdamW(self.net.parameters(), lr=config["lr"]), seen)
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, LENGTH)]

    class Reporting(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            with tempfile.TemporaryDirectory() as folder:
                trainer.save_checkpoint(Path(folder, "model.ckpt"))
                report(float(module.loss.detach()), seen, folder)

    x = torch.randn(STEPS * 8, 4, generator=torch.Generator().manual_seed(1))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=8)
    checkpoint = tune.get_checkpoint()
    with tempfile.TemporaryDirectory() as folder:
        path = None
        if checkpoint is not None:
            path = checkpoint.to_directory(folder) + "/model.ckpt"
        trainer = pl.Trainer(
            max_epochs=LENGTH + 2,
            accelerator="cpu",
            callbacks=[Reporting()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(Module(), loader, ckpt_path=path, weights_only=False)


def hugging_face(kind: str) -> Any:
    """A function with Hugging Face's Trainer and its scheduler of this kind, with warm-up."""

    def train(config: dict[str, Any]) -> None:
        import transformers

        seen: list[float] = []

        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 1))

            def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
                out = self.net(x)
                return {"loss": ((out - labels) ** 2).mean(), "logits": out}

        class Saved(transformers.TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
                watched(getattr(more["optimizer"], "optimizer", more["optimizer"]), seen)

            def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
                folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
                report(float(state.global_step), seen, str(folder))

        x = torch.randn(STEPS * 8, 4, generator=torch.Generator().manual_seed(1))
        data = [{"x": row, "labels": row.sum().reshape(1)} for row in x]
        with tempfile.TemporaryDirectory() as output:
            args = _arguments(transformers, output, config, kind)
            trainer = transformers.Trainer(Model(), args, train_dataset=data, callbacks=[Saved()])
            checkpoint = tune.get_checkpoint()
            if checkpoint is None:
                trainer.train()
            else:
                with checkpoint.as_directory() as folder:
                    trainer.train(resume_from_checkpoint=folder)

    return train


def _arguments(transformers: Any, output: str, config: dict[str, Any], kind: str) -> Any:
    return transformers.TrainingArguments(
        output_dir=output,
        learning_rate=config["lr"],
        weight_decay=config["weight_decay"],
        num_train_epochs=LENGTH + 1,
        per_device_train_batch_size=8,
        lr_scheduler_type=kind,
        warmup_steps=5,
        save_strategy="epoch",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=3,
    )


def check(lab: Lab, trainable: Any, config: dict[str, Any]) -> None:
    whole = lab.train(trainable, (LENGTH, config))
    cut = lab.train(trainable, (2, config), (3, config), (LENGTH, config))
    assert cut == {name: close(values) for name, values in whole.items()}
    found: Curve = lab.train(
        trainable, (2, config), (4, {**config, "lr": 4 * LR}), (LENGTH, {**config, "lr": 4 * LR})
    )
    factors = [1.0] * 2 + [4.0] * (LENGTH - 2)
    expected = [[f * rate for rate in of] for f, of in zip(factors, rates(whole), strict=True)]
    assert rates(found) == [close(of) for of in expected]
    assert [(h.least, h.greatest) for h in lab.used("lr")] == [close((min(of), max(of))) for of in expected]
    assert not any(piece.error for piece in lab.pieces)


def test_lightning_cut_anywhere_gives_the_same_numbers_and_nudges_hold(lab: Lab) -> None:
    check(lab, lightning, {"lr": LR})


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_hugging_face_cut_anywhere_gives_the_same_numbers_and_nudges_hold(lab: Lab, kind: str) -> None:
    check(lab, hugging_face(kind), {"lr": LR, "weight_decay": 0.1})
