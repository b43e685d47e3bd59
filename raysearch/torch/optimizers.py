"""New hyper-parameters for an optimizer that is at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

ALIASES = {"learning_rate": "lr"}
BETAS = ("beta1", "beta2")
_NOT_SETTINGS = ("params", "initial_lr")


def apply(optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Sets what `config` says in every parameter group, and returns the names that were taken.

    Call it after `optimizer.load_state_dict`, which brings back the values that were saved. Taken are
    lr (or learning_rate), weight_decay, momentum, betas (or beta1 and beta2), and whatever else the groups
    hold under the same name; entries that no group knows are passed over. Groups whose learning rates
    differ keep their ratios to the first one's. A learning rate that is a tensor stays one.

    >>> optimizer = torch.optim.AdamW(torch.nn.Linear(1, 1).parameters(), lr=0.1)
    >>> raysearch.torch.apply(optimizer, {"lr": 0.01, "beta2": 0.95, "layers": 3})
    ('lr', 'beta2')
    >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]
    (0.01, (0.9, 0.95))

    Raises:
        ValueError: a value is not a number where the optimizer has one.
    """
    taken = [name for name, value in config.items() if _taken(optimizer, ALIASES.get(name, name), value)]
    return tuple(taken)


def _taken(optimizer: torch.optim.Optimizer, name: str, value: Any) -> bool:
    groups = optimizer.param_groups
    if name in BETAS and name not in groups[0]:
        return _set_beta(optimizer, BETAS.index(name), value)
    if name in _NOT_SETTINGS or not any(name in group for group in groups):
        return False
    first = groups[0].get(name)
    before = float(first) if name == "lr" and first is not None else 0.0
    for group in groups:
        if name not in group:
            continue
        ratio = float(group[name]) / before if before else 1.0
        _set(group, name, _checked(name, value, group[name]), ratio)
    return True


def _set(group: dict[str, Any], name: str, value: Any, ratio: float) -> None:
    if isinstance(group[name], torch.Tensor):
        group[name].fill_(value * ratio)
    else:
        group[name] = value * ratio if ratio != 1.0 else value


def _set_beta(optimizer: torch.optim.Optimizer, place: int, value: Any) -> bool:
    groups = [group for group in optimizer.param_groups if "betas" in group]
    for group in groups:
        betas = list(group["betas"])
        betas[place] = _checked(BETAS[place], value, 0.9)
        group["betas"] = tuple(betas)
    return bool(groups)


def _checked(name: str, value: Any, old: Any) -> Any:
    if isinstance(old, (bool, str, tuple, list)) or old is None:
        return tuple(value) if isinstance(old, tuple) else value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} = {value!r} must be a number: the optimizer has {old!r}")
    return value
