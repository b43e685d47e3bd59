"""New hyper-parameters for an optimizer that is at work."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from raysearch.core.used_values import Wanted
from raysearch.torch import step_watch
from raysearch.torch.bindings import SAME

ALIASES = {"learning_rate": "lr"}
ROUNDING = 1e-12
BETAS = ("beta1", "beta2")
RATES_OF_GROUP = ("initial_lr", "max_lr", "min_lr")  # what schedulers keep in a group beside its `lr`
RATES_OF_SCHEDULER = ("base_lrs", "max_lrs", "min_lrs", "eta_min", "_last_lr")
_NOT_SETTINGS = ("params", *RATES_OF_GROUP)


def apply(
    optimizer: torch.optim.Optimizer, config: Mapping[str, Any], scheduler: Any = None
) -> tuple[str, ...]:
    """Gives an optimizer the values of `config`, and returns the names that were taken.

        def load_checkpoint(self, folder):
            ...
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            raysearch.torch.apply(self.optimizer, self.config, self.scheduler)

    Call it after `load_state_dict` of optimizer and scheduler, which bring back the values that were saved.
    Taken are lr (or learning_rate), weight_decay, momentum, betas (or beta1 and beta2), and whatever else the
    groups hold under the same name; entries that no group knows are passed over.

    A value is multiplied by the ratio of the new to the one that the checkpoint was saved under (outside of a
    search: to the first that is not zero, `initial_lr` before `lr`). So groups keep their ratios, what is
    zero stays zero, what a scheduler made of the value is kept, and an unchanged value is left alone. With
    the learning rate go `initial_lr` and the rates that the scheduler holds; without `scheduler` it is looked
    for among the objects of this process. A learning rate that is a tensor stays one.

    A search does this by itself at every step of the optimizer; a value that is applied
    here is not applied there again.

    >>> optimizer = torch.optim.AdamW(torch.nn.Linear(1, 1).parameters(), lr=0.1)
    >>> raysearch.torch.apply(optimizer, {"lr": 0.01, "beta2": 0.95, "layers": 3})
    ('lr', 'beta2')
    >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]
    (0.01, (0.9, 0.95))

    Raises:
        ValueError: a value is not a number where the optimizer has one.
    """
    taken = []
    for name, value in config.items():
        slot = ALIASES.get(name, name)
        if slot in _NOT_SETTINGS:
            continue
        if slot in BETAS and slot not in optimizer.param_groups[0]:
            is_taken = _set_beta(optimizer, name, BETAS.index(slot), value)
        else:
            is_taken = _set(optimizer, name, slot, value, scheduler)
        if is_taken:
            taken.append(name)
    return tuple(taken)


def _set(optimizer: torch.optim.Optimizer, name: str, slot: str, value: Any, scheduler: Any) -> bool:
    groups = [group for group in optimizer.param_groups if slot in group]
    if not groups:
        return False
    old = next((group[slot] for group in groups if group[slot] is not None), None)
    new = _checked(name, value, old)
    if not _is_number(old):
        for group in groups:
            group[slot] = new
        return True
    levels = [_level(group, slot) for group in groups]
    change = _change(optimizer, name, float(new), levels)
    if change is None:
        return True
    for group in groups:
        group[slot] = change(group[slot])
    if slot == "lr":
        _change_schedule(optimizer, change, scheduler)
    return True


def _set_beta(optimizer: torch.optim.Optimizer, name: str, place: int, value: Any) -> bool:
    groups = [group for group in optimizer.param_groups if "betas" in group]
    if not groups:
        return False
    new = _checked(BETAS[place], value, 0.9)
    change = _change(optimizer, name, float(new), [float(group["betas"][place]) for group in groups])
    for group in groups if change is not None else ():
        betas = list(group["betas"])
        betas[place] = change(betas[place])  # type: ignore[misc]
        group["betas"] = tuple(betas)
    return True


def _change(
    optimizer: torch.optim.Optimizer, name: str, new: float, levels: list[float]
) -> Callable[[Any], Any] | None:
    """What turns a value of before into one of now; None where there is nothing to change.

    Args:
        levels: each group's value, before its scheduler made something of it where it says so.
    """
    before = next((level for level in levels if level), None)
    wanted = _wanted(name)
    if wanted is not None and wanted[1].saved is not None:
        watch, hyper = wanted
        is_given = math.isclose(new, hyper.given, rel_tol=SAME)
        if is_given and not watch.settle(optimizer, hyper.name, before or 0.0):
            return None  # applied before
        new = hyper.asked if is_given else new
        if hyper.given == hyper.asked and any(math.isclose(level, new, rel_tol=SAME) for level in levels):
            return None  # built anew from the configuration
        before = hyper.saved or before
    if before is None:
        return None if not new else lambda value: _like(value, new)
    if math.isclose(new, before, rel_tol=ROUNDING):
        return None
    return lambda value: _scaled(value, before, new)


def _wanted(name: str) -> tuple[step_watch.StepWatch, Wanted] | None:
    """What the search that runs in this process knows of a hyper-parameter of this name."""
    watch = step_watch.current()
    if watch is None:
        return None
    found = [w for w in watch.wanted if w.name == name] or [
        w for w in watch.wanted if w.name.rpartition("/")[2] == name
    ]
    return (watch, found[0]) if len(found) == 1 else None


def _scaled(value: Any, before: float, new: float) -> Any:
    """`value` times new / before; a tensor is written to."""
    if isinstance(value, torch.Tensor):
        return value.mul_(new / before)
    return new if math.isclose(value, before, rel_tol=ROUNDING) else value * (new / before)


def _like(value: Any, new: float) -> Any:
    return value.fill_(new) if isinstance(value, torch.Tensor) else new


def _level(group: Mapping[str, Any], slot: str) -> float:
    return float(group.get("initial_lr", group[slot]) if slot == "lr" else group[slot])


# ---- schedulers


def _change_schedule(optimizer: torch.optim.Optimizer, change: Callable[[Any], Any], scheduler: Any) -> None:
    """Changes what schedulers keep in the groups, and what they keep themselves."""
    has_schedule = False
    for group in optimizer.param_groups:
        for key in RATES_OF_GROUP:
            if key in group:
                has_schedule = True
                group[key] = change(group[key])
    if scheduler is None and not has_schedule:
        return
    done: set[int] = set()
    for one in _within(scheduler) if scheduler is not None else _schedulers_of(optimizer):
        if id(one) not in done:
            done.add(id(one))
            _change_scheduler(one, change)


def _change_scheduler(scheduler: Any, change: Callable[[Any], Any]) -> None:
    for key in RATES_OF_SCHEDULER:
        held = vars(scheduler).get(key)
        if isinstance(held, list):
            setattr(scheduler, key, [change(_copied(rate)) for rate in held])
        elif _is_number(held):
            setattr(scheduler, key, change(held))


def _copied(rate: Any) -> Any:
    return rate.clone() if isinstance(rate, torch.Tensor) else rate


def _within(scheduler: Any) -> Iterator[Any]:
    """A scheduler and those in it: of a sequence, or of a framework's wrapper."""
    yield scheduler
    held = vars(scheduler)
    for inner in (*held.get("_schedulers", ()), held.get("scheduler")):
        if hasattr(inner, "__dict__"):
            yield from _within(inner)


def _schedulers_of(optimizer: torch.optim.Optimizer) -> list[Any]:
    """The torch schedulers that work on this optimizer, wherever they are kept."""
    return [
        one
        for one in gc.get_objects()
        if issubclass(type(one), LRScheduler) and vars(one).get("optimizer") is optimizer
    ]


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _checked(name: str, value: Any, old: Any) -> Any:
    if isinstance(old, (bool, str, tuple, list)) or old is None:
        return tuple(value) if isinstance(old, tuple) else value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} = {value!r} must be a number: the optimizer has {old!r}")
    return value
