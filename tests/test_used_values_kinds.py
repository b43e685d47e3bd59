"""Ways in which training code uses its hyper-parameters: what is recorded is what it trained with."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from torch import nn
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer
from training_lab import Lab, close

from raysearch.core.used_values import HELD, Wanted, ends_of, is_exponent, slot_of
from raysearch.torch.bindings import bind, is_made_of
from raysearch.worker.optimizer_values import OptimizerValues

Config = dict[str, Any]
Parameters = Iterator[nn.Parameter]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    return Lab(tmp_path)


class Linear(tune.Trainable):  # type: ignore[misc]
    """A linear model, restored with its optimizer; `seen` is what its last step was taken with."""

    make: Callable[[Parameters, Config], Optimizer]

    def setup(self, config: Config) -> None:
        torch.manual_seed(0)
        self.net = nn.Linear(3, 1)
        self.optimizer = type(self).make(self.net.parameters(), config)
        self.optimizer.register_step_pre_hook(self._see)

    def _see(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        group = optimizer.param_groups[0]
        betas = group.get("betas", (0.0, 0.0))
        self.seen = {
            "lr": float(group["lr"]),
            "weight_decay": float(group.get("weight_decay", 0.0)),
            "momentum": float(group.get("momentum", 0.0)),
            "beta1": float(betas[0]),
            "beta2": float(betas[1]),
        }

    def step(self) -> dict[str, float]:
        def closure() -> torch.Tensor:
            self.optimizer.zero_grad()
            loss = (self.net(torch.ones(4, 3)) ** 2).mean()
            loss.backward()
            return loss

        loss = self.optimizer.step(closure)
        return {"loss": float(loss.detach()), **self.seen}  # type: ignore[union-attr]

    def save_checkpoint(self, folder: str) -> None:
        torch.save([self.net.state_dict(), self.optimizer.state_dict()], Path(folder, "state"))

    def load_checkpoint(self, folder: str) -> None:
        net, optimizer = torch.load(Path(folder, "state"), weights_only=False)
        self.net.load_state_dict(net)
        self.optimizer.load_state_dict(optimizer)


def linear(make: Callable[[Parameters, Config], Optimizer]) -> type[Linear]:
    """A trainable that makes its optimizer so."""
    return type("Linear", (Linear,), {"make": staticmethod(make)})


def mutated(config: Config) -> Config:
    config["lr"] *= 2
    return config


def schedule_free(params: Parameters, config: Config) -> Optimizer:
    optimizer = pytest.importorskip("schedulefree").AdamWScheduleFree(params, lr=config["lr"])
    optimizer.train()
    return optimizer  # type: ignore[no-any-return]


Row = tuple[Callable[[Parameters, Config], Optimizer], Config, Config, dict[str, str], dict[str, float]]
# how the optimizer is made, two configurations after one another, the slots of the names under which values
# are recorded, and what the optimizer has under the second one
FOLLOWED: dict[str, Row] = {
    "nested": (
        lambda p, c: AdamW(p, lr=c["optim"]["lr"], weight_decay=c["optim"]["wd"]),
        {"optim": {"lr": 0.1, "wd": 0.02}},
        {"optim": {"lr": 0.05, "wd": 0.04}},
        {"optim/lr": "lr", "optim/wd": "weight_decay"},
        {"lr": 0.05, "weight_decay": 0.04},
    ),
    "dotted": (
        lambda p, c: AdamW(p, lr=c["optim.lr"], weight_decay=c["optim.wd"]),
        {"optim.lr": 0.1, "optim.wd": 0.02},
        {"optim.lr": 0.05, "optim.wd": 0.04},
        {"optim.lr": "lr", "optim.wd": "weight_decay"},
        {"lr": 0.05, "weight_decay": 0.04},
    ),
    "betas": (
        lambda p, c: Adam(p, lr=0.1, betas=tuple(c["betas"])),
        {"betas": (0.8, 0.9)},
        {"betas": (0.85, 0.95)},
        {"betas/0": "beta1", "betas/1": "beta2"},
        {"beta1": 0.85, "beta2": 0.95},
    ),
    "whole numbers": (lambda p, c: SGD(p, lr=c["lr"]), {"lr": 1}, {"lr": 2}, {"lr": "lr"}, {"lr": 2.0}),
    "numpy": (
        lambda p, c: SGD(p, lr=c["lr"]),
        {"lr": np.float32(0.5)},
        {"lr": np.float32(0.25)},
        {"lr": "lr"},
        {"lr": 0.25},
    ),
    "scaled with the batch": (
        lambda p, c: SGD(p, lr=c["lr"] * c["batch"] / 256),
        {"lr": 0.1, "batch": 32},
        {"lr": 0.2, "batch": 32},
        {"lr": "lr"},
        {"lr": 0.025},
    ),
    "scaled with its root": (
        lambda p, c: SGD(p, lr=c["lr"] * c["batch"] ** 0.5),
        {"lr": 0.1, "batch": 32},
        {"lr": 0.2, "batch": 32},
        {"lr": "lr"},
        {"lr": 0.2 * 32**0.5},
    ),
    "one value for two": (
        lambda p, c: AdamW(p, lr=c["lr"], weight_decay=c["weight_decay"]),
        {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.5},
        {"lr": "lr", "weight_decay": "weight_decay"},
        {"lr": 0.1, "weight_decay": 0.5},
    ),
    "a changed copy": (
        lambda p, c: SGD(p, lr=mutated(c)["lr"]),
        {"lr": 0.1},
        {"lr": 0.2},
        {"lr": "lr"},
        {"lr": 0.4},
    ),
    "closures": (lambda p, c: LBFGS(p, lr=c["lr"]), {"lr": 0.1}, {"lr": 0.2}, {"lr": "lr"}, {"lr": 0.2}),
    "schedule-free": (schedule_free, {"lr": 0.1}, {"lr": 0.2}, {"lr": "lr"}, {"lr": 0.2}),
}


@pytest.mark.parametrize("kind", FOLLOWED)
def test_a_nudge_reaches_the_optimizer_and_what_it_held_is_recorded(lab: Lab, kind: str) -> None:
    make, before, after, names, expected = FOLLOWED[kind]
    curve = lab.train(linear(make), (2, before), (4, after))
    assert {slot: curve[slot][-1] for slot in expected} == close(expected)
    for name, slot in names.items():
        held = [value.first for value in lab.used(name)]
        assert held == close(curve[slot]), name
    assert [piece.error for piece in lab.pieces] == ["", ""]


UNFOLLOWED: dict[str, tuple[Callable[[Parameters, Config], Optimizer], Config, Config, str]] = {
    "an odd name": (lambda p, c: SGD(p, lr=c["alpha"]), {"alpha": 0.07}, {"alpha": 0.03}, "lr = 0.07"),
    "an exponent": (lambda p, c: SGD(p, lr=10 ** c["log_lr"]), {"log_lr": -1}, {"log_lr": -2}, "lr = 0.1"),
    "a negative exponent": (
        lambda p, c: SGD(p, lr=10 ** -c["neg_lr"]),
        {"neg_lr": 2},
        {"neg_lr": 3},
        "lr = 0.01",
    ),
    "1 - it": (
        lambda p, c: SGD(p, lr=0.3, momentum=1 - c["friction"]),
        {"friction": 0.1},
        {"friction": 0.2},
        "momentum = 0.9",
    ),
    "momentum as a beta": (
        lambda p, c: Adam(p, lr=0.3, betas=(c["momentum"], 0.999)),
        {"momentum": 0.8},
        {"momentum": 0.85},
        "beta1 = 0.8",
    ),
}


@pytest.mark.parametrize("kind", UNFOLLOWED)
def test_a_restored_value_that_comes_of_the_one_before_is_left_alone_and_said(lab: Lab, kind: str) -> None:
    make, before, after, held = UNFOLLOWED[kind]
    curve = lab.train(linear(make), (1, before), (2, after))
    slot, value = held.split(" = ")
    assert curve[slot] == close([float(value)] * 2)
    assert lab.pieces[0].error == ""
    (name,) = before
    assert f"{name} = {before[name]:g} -> {after[name]:g} was asked for" in lab.pieces[1].error
    assert f"the optimizer still has {held}" in lab.pieces[1].error


def test_a_logarithm_is_no_multiple_of_the_rate() -> None:
    assert all(is_exponent(name) for name in ("log_lr", "optim.log10_lr", "lr_exp"))
    assert not any(is_exponent(name) for name in ("lr", "logit_lr", "head/lr", "expert_lr"))
    for name, value, rate in (("log_lr", -1.0, 0.1), ("neg_log_lr", 2.0, 0.01), ("lr", -2.0, 0.1)):
        assert bind([{"lr": (rate,)}], [Wanted(name, "lr", value, value)]) == {}


def test_a_value_made_of_a_hyper_parameter_is_recognised() -> None:
    assert is_made_of(0.9, 0.1)
    assert is_made_of(1e-3, -3.0)
    assert is_made_of(1e-3, 3.0)
    assert not is_made_of(0.9, 0.2)
    assert not is_made_of(0.0, 0.0)  # a zero says nothing
    assert not is_made_of(0.1, 1e9)


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        ("optim.wd", "weight_decay"),
        ("head/weight_decay_g", "weight_decay"),
        ("betas/1", "beta2"),
        ("optim/betas/0", "beta1"),
        ("optim.learning_rate", "lr"),
        ("lr_decay", "lr_decay"),
        ("bn_momentum", "bn_momentum"),
    ],
)
def test_names_stand_for_values_of_optimizers(name: str, slot: str) -> None:
    assert slot_of(name) == slot


def test_a_configuration_is_handed_out_in_the_form_that_it_had() -> None:
    config = {"a": {"betas": (0.9, 0.9), "x": [1, 2]}, "b/c": 0.5, "lr": 0.5}
    given = OptimizerValues().begin(config, {})
    assert given == close_in(config)
    assert given["a"]["betas"] is not config["a"]["betas"]  # type: ignore[index]
    note = {"given": {"a/betas/1": 0.8, "b/c": 0.25}, "places": []}
    given = OptimizerValues().begin(config, {"config": config, "optimizer": note})
    assert given == {"a": {"betas": (0.9, 0.8), "x": [1, 2]}, "b/c": 0.25, "lr": 0.5}


def close_in(config: Config) -> Config:
    """The same, compared but for rounding; lists as they are."""
    return {
        k: close_in(v) if isinstance(v, dict) else v if isinstance(v, list) else close(v)
        for k, v in config.items()
    }


def forking(config: Config) -> None:
    """Trains each iteration in a child of this process."""
    weight, optimizer = nn.Parameter(torch.ones(1)), None
    optimizer = SGD([weight], lr=config["lr"])
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            optimizer.load_state_dict(torch.load(Path(folder, "state"), weights_only=False))

    def train(results: Any) -> None:
        seen: list[float] = []
        optimizer.register_step_post_hook(lambda o, a, k: seen.append(o.param_groups[0]["lr"]))
        optimizer.register_step_pre_hook(lambda o, a, k: seen.append(o.param_groups[0]["lr"]))
        weight.grad = torch.ones(1)
        optimizer.step()
        results.put(seen)

    context = multiprocessing.get_context("fork")
    while True:
        results = context.SimpleQueue()
        child = context.Process(target=train, args=(results,))
        child.start()
        held = results.get()
        child.join()
        with tempfile.TemporaryDirectory() as folder:
            torch.save(optimizer.state_dict(), Path(folder, "state"))
            tune.report({"loss": 1.0, "lr": held[0]}, checkpoint=tune.Checkpoint.from_directory(folder))


def test_in_a_child_of_the_worker_nothing_is_multiplied_and_that_it_is_not_seen_is_said(lab: Lab) -> None:
    curve = lab.train(forking, (1, {"lr": 0.1}), (2, {"lr": 0.2}), (3, {"lr": 0.4}))
    assert curve["lr"] == [0.1] * 3
    assert [[*piece.used()] for piece in lab.pieces] == [[], [HELD + "lr"], [HELD + "lr"]]
    assert all(ends_of(piece.used(), HELD + "lr") is None for piece in lab.pieces)
    assert "no torch optimizer takes a step in this process" in lab.pieces[1].error
    assert "Where the trainable has other processes" in lab.pieces[1].error
