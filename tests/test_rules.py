"""Update rules against torch.optim, many rows at once, each with its own hyper-parameters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raysearch.errors import SpecError
from raysearch.fused.optimizers import SGD, Adam, AdamW, Lion, Rule, rule_of

STEPS, SIZE = 60, 7
SETTINGS: list[tuple[type[Rule], Any, list[dict[str, Any]]]] = [
    (
        SGD,
        torch.optim.SGD,
        [
            {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
            {"lr": 0.3, "momentum": 0.0, "weight_decay": 0.0},
            {"lr": 0.01, "momentum": 0.99, "weight_decay": 0.1},
        ],
    ),
    (
        SGD,
        torch.optim.SGD,
        [{"lr": 0.05, "momentum": m, "weight_decay": 0.02, "nesterov": True} for m in (0.5, 0.95)],
    ),
    (
        Adam,
        torch.optim.Adam,
        [
            {"lr": 1e-2, "betas": (0.9, 0.999), "weight_decay": 0.1},
            {"lr": 1e-3, "betas": (0.5, 0.9), "eps": 1e-4},
        ],
    ),
    (
        AdamW,
        torch.optim.AdamW,
        [
            {"lr": 1e-2, "betas": (0.9, 0.999), "weight_decay": 0.3},
            {"lr": 1e-1, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.0},
        ],
    ),
]


def ours(rule: type[Rule], settings: dict[str, Any]) -> Rule:
    return rule_of({"optimizer": rule.__name__.lower(), **settings})


def run(rules: list[Rule], start: Tensor, gradients: Tensor) -> Tensor:
    """Where (models, P) parameters are after these (steps, models, P) gradients."""
    p, room = start.clone(), torch.empty_like(start)
    state = {name: torch.zeros_like(start) for name in rules[0].slots}
    columns = {k: torch.tensor([[r.numbers[k]] for r in rules]) for k in rules[0].numbers}
    for step, g in enumerate(gradients, 1):
        at = torch.full((len(rules), 1), float(step), dtype=torch.float64)
        rules[0].update(p, g.clone(), state, SimpleNamespace(**columns), at, room)
    return p


@pytest.mark.parametrize(("rule", "peer", "settings"), SETTINGS)
def test_a_rule_takes_the_steps_that_torch_takes(rule: type[Rule], peer: Any, settings: list[Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(settings), SIZE, generator=generator)
    gradients = torch.randn(STEPS, len(settings), SIZE, generator=generator)
    moved = run([ours(rule, s) for s in settings], start, gradients)
    for row, setting in enumerate(settings):
        parameter = torch.nn.Parameter(start[row].clone())
        optimizer = peer([parameter], **setting)
        for g in gradients[:, row]:
            parameter.grad = g.clone()
            optimizer.step()
        torch.testing.assert_close(moved[row], parameter.detach(), rtol=2e-5, atol=2e-6)


def test_lion_takes_the_steps_of_its_paper() -> None:
    generator = np.random.default_rng(0)
    start, gradients = generator.normal(size=(1, SIZE)), generator.normal(size=(STEPS, 1, SIZE))
    moved = run(
        [Lion(lr=0.01, weight_decay=0.1, beta1=0.8, beta2=0.95)],
        torch.tensor(start).float(),
        torch.tensor(gradients).float(),
    )
    p, m = start.copy(), np.zeros_like(start)
    for g in gradients:
        p = p - 0.01 * (np.sign(0.8 * m + 0.2 * g) + 0.1 * p)
        m = 0.95 * m + 0.05 * g
    np.testing.assert_allclose(moved, p, rtol=1e-4, atol=1e-5)


def test_a_configuration_names_its_rule_and_what_it_does_not_say_has_torchs_default() -> None:
    assert rule_of({"learning_rate": 0.5, "hidden": 3}) == AdamW(lr=0.5, weight_decay=1e-2)
    assert rule_of({"optimizer": "Adam", "betas": [0.5, 0.6]}) == Adam(beta1=0.5, beta2=0.6)
    assert rule_of({"optimizer": "sgd", "nesterov": True, "momentum": 0.5}).kind == (SGD, ("nesterov", True))
    assert rule_of({"optimizer": "lion"}) == Lion(lr=1e-4)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"optimizer": "adamv"}, "unknown optimizer 'adamv'; did you mean 'adam'"),
        ({"optimizer": "sgd", "lr": "fast"}, "lr: 'fast' must be a number for the optimizer sgd"),
        ({"momentum": 0.9, "optimizer": "sgd", "weight_decay": None}, "weight_decay: None must be a number"),
    ],
)
def test_a_wrong_setting_is_told(config: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        rule_of(config)
