"""A small model under any optimizer and scheduler, and hosts that train it in segments."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.optim import lr_scheduler as schedulers

import raysearch.torch
from raysearch.core.segment import Segment, Status, segment_id
from raysearch.core.used_values import series_of
from raysearch.engine.messages import Lease
from raysearch.storage.checkpoints.meta import read_meta, write_meta
from raysearch.worker.host import Host
from raysearch.worker.reports import Trained

LENGTH, STEPS = 12, 3  # iterations of a training, optimizer steps in one
TOTAL = LENGTH * STEPS
LR = 0.0123

SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "constant": lambda o: None,
    "StepLR": lambda o: schedulers.StepLR(o, 7, 0.5),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [4, 11, 20], 0.3),
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda s: min(1.0, (s + 1) / 5) * 0.98**s),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, TOTAL, eta_min=1e-4),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 5, 2),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(
        o, float(o.param_groups[-1]["lr"]), total_steps=TOTAL + 1, cycle_momentum=not isinstance(o, Adagrad)
    ),
    "LinearLR": lambda o: schedulers.LinearLR(o, 0.2, total_iters=9),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, total_iters=6), schedulers.CosineAnnealingLR(o, TOTAL)], [6]
    ),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, factor=0.5, patience=4),
}
Groups = list[dict[str, Any]]
OPTIMIZERS: dict[str, Callable[[Groups, float], Optimizer]] = {
    "SGD": lambda groups, lr: SGD(groups, lr=lr, momentum=0.9),
    "Adam": lambda groups, lr: Adam(groups, lr=lr),
    "AdamW": lambda groups, lr: AdamW(groups, lr=lr),
    "AdamW foreach": lambda groups, lr: AdamW(groups, lr=lr, foreach=True),
    "AdamW fused": lambda groups, lr: AdamW(groups, lr=lr, fused=True),
    "AdamW tensor": lambda groups, lr: AdamW(groups, lr=torch.tensor(lr, dtype=torch.float64), foreach=False),
    "Adagrad": lambda groups, lr: Adagrad(groups, lr=lr),
    "nested": lambda groups, lr: Nested(groups, lr=lr),
}


class Nested(SGD):
    """An optimizer whose step calls the one that it is derived from: torch's hooks fire twice."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Training:
    """A small model, its optimizers and their schedulers; `rates` are what each step was taken with.

    `others` are the same for a `weight_decay` and a `momentum` of the configuration.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
        first, last = self.model[0].parameters(), self.model[2].parameters()
        lr = config["lr"]
        make = OPTIMIZERS[config.get("optimizer", "SGD")]
        more = {name: config[name] for name in ("weight_decay", "momentum") if name in config}
        if config.get("gan"):
            parts = (([*first], lr), ([*last], config["lr_d"]))
            self.optimizers = [make([{"params": params, **more}], rate) for params, rate in parts]
        else:
            groups = (
                [{"params": [*first], "lr": lr * 0.1, **more}, {"params": [*last], **more}]
                if config.get("groups")
                else []
            )
            self.optimizers = [make(groups or [{"params": [*self.model.parameters()], **more}], lr)]
        self.schedulers = [SCHEDULERS[config.get("scheduler", "constant")](o) for o in self.optimizers]
        self.rates: list[float] = []
        self.others: dict[str, list[float]] = {name: [] for name in more}
        self._has_seen = False
        for optimizer in self.optimizers:
            optimizer.register_step_pre_hook(self._seen)
        self.at = 0

    def _seen(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._has_seen:  # torch calls it twice for a step that lies within another one
            return
        self._has_seen = True
        self.rates.extend(float(group["lr"]) for group in optimizer.param_groups)
        for name, seen in self.others.items():
            seen.extend(float(group[name]) for group in optimizer.param_groups)

    def iterate(self) -> dict[str, float]:
        """One iteration; the loss, and the rate of every step in every group."""
        self.rates.clear()
        for seen in self.others.values():
            seen.clear()
        for _ in range(STEPS):
            generator = torch.Generator().manual_seed(self.at)
            x = torch.randn(16, 4, generator=generator)
            loss = ((self.model(x) - x.sum(1, keepdim=True)) ** 2).mean()
            self.model.zero_grad()
            loss.backward()
            for optimizer, scheduler in zip(self.optimizers, self.schedulers, strict=True):
                self._has_seen = False
                optimizer.step()
                if isinstance(scheduler, schedulers.ReduceLROnPlateau):
                    scheduler.step(1.0)
                elif scheduler is not None:
                    scheduler.step()
            self.at += 1
        noted = {"rate": self.rates, **self.others}
        return {
            "loss": float(loss.detach()),
            **{f"{name}{i}": value for name, values in noted.items() for i, value in enumerate(values)},
        }

    def save(self, file: Path) -> None:
        parts = [self.model, *self.optimizers, *[s for s in self.schedulers if s is not None]]
        torch.save([self.at, *[part.state_dict() for part in parts]], file)

    def load(self, file: Path) -> None:
        parts = [self.model, *self.optimizers, *[s for s in self.schedulers if s is not None]]
        self.at, *states = torch.load(file, weights_only=False)
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)


class Class(tune.Trainable):  # type: ignore[misc]
    """Applies nothing after a restore."""

    def setup(self, config: dict[str, Any]) -> None:
        self.training = Training(config)

    def step(self) -> dict[str, Any]:
        return self.training.iterate()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.training.save(Path(checkpoint_dir, "state.pt"))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.training.load(Path(checkpoint_dir, "state.pt"))


class Applying(Class):
    """Follows the README: apply after the states are loaded."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        for optimizer, scheduler in zip(self.training.optimizers, self.training.schedulers, strict=True):
            raysearch.torch.apply(optimizer, self.config, scheduler)


class Searching(Class):
    """Applies without naming the scheduler."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        for optimizer in self.training.optimizers:
            raysearch.torch.apply(optimizer, self.config)


class Reset(Class):
    """Is made once and given other configurations."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


def function(config: dict[str, Any]) -> None:
    """The same as a function."""
    training = Training(config)
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            training.load(Path(folder, "state.pt"))
    while True:
        metrics = training.iterate()
        with tempfile.TemporaryDirectory() as folder:
            training.save(Path(folder, "state.pt"))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


# ---- driving a host


Curve = dict[str, list[float]]


class Lab:
    """Trains pieces of one line, each on a new host that begins from the checkpoint of the one before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts = 0
        self.pieces: list[Trained] = []
        self.forgets = False  # checkpoints say nothing of optimizers, as those of version 0.1

    def train(self, trainable: Any, *pieces: tuple[int, dict[str, Any]], again: bool = False) -> Curve:
        """The curves of all pieces (stop, config) joined; `again`: one host for all."""
        checkpoint: Path | None = None
        parent: Segment | None = None
        self.pieces = []
        host = self._host(trainable)
        for number, (stop, config) in enumerate(pieces):
            start = 0 if parent is None else parent.stop
            above = None if parent is None else parent.id
            segment = Segment(segment_id(0, number), 0, above, config, start, stop, 7, "for a test")
            if not again:
                host.drop()
                host = self._host(trainable)
            name = None if checkpoint is None else str(checkpoint)
            lease = Lease(segment, name, segment.parent)
            trained = host.train(lease, checkpoint, lambda iteration: False)
            assert trained.status is Status.COMPLETED, trained.error
            self.pieces.append(trained)
            self._hosts += 1
            checkpoint = self._folder / f"checkpoint{self._hosts}"
            checkpoint.mkdir()
            assert host.save(checkpoint)
            if self.forgets:
                meta = read_meta(checkpoint)
                del meta["optimizer"]
                write_meta(checkpoint, meta)
            parent = segment
        host.drop()
        return {k: [v for piece in self.pieces for v in piece.curve[k]] for k in self.pieces[0].curve}

    def used(self, name: str) -> list[Any]:
        """What is recorded of a hyper-parameter over all pieces."""
        return [held for piece in self.pieces for held in series_of(piece.used(), name)]

    def _host(self, trainable: Any) -> Host:
        self._hosts += 1
        return Host(trainable, metric="loss", scratch=self._folder / f"scratch{self._hosts}")


def rates(curve: Curve) -> list[list[float]]:
    """The rates of each iteration, step by step and group by group."""
    names = [name for name in curve if name.startswith("rate")]
    return [[curve[name][i] for name in names] for i in range(len(curve["loss"]))]


def close(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-6, abs=1e-12)
