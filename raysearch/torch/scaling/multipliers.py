"""Multipliers of an optimizer's values that hold for a group of parameters while the optimizer steps.

A group carries them under `KEY`, so they are saved and loaded with the optimizer. They lie within those of
a search (see `raysearch.torch.step_watch`): that multiplies and notes the group's own value first, and takes
it back last.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from raysearch.torch.step_watch import is_within_step

KEY = "raysearch_scaling"
_handles: list[Any] = []
_stepping: weakref.WeakKeyDictionary[torch.optim.Optimizer, Step] = weakref.WeakKeyDictionary()


class Step:
    """What groups held before the step that an optimizer is taking."""

    __slots__ = ("depth", "undo")

    def __init__(self) -> None:
        self.undo: list[tuple[dict[str, Any], str, Any, Any]] = []
        self.depth = 1

    def take_back(self) -> None:
        """Gives the groups their own values; what the step itself wrote keeps its change."""
        for group, key, old, during in self.undo:
            if group.get(key) is during:
                group[key] = old
            elif during:
                group[key] = group[key] * (old / during)
        self.undo.clear()


def install() -> None:
    """Has torch call this module around every step: last of all before it, first of all after it."""
    before: Any = torch_optimizer._global_optimizer_pre_hooks
    after: Any = torch_optimizer._global_optimizer_post_hooks
    if not _handles or _handles[0].id not in before or _handles[1].id not in after:
        _handles[:] = [
            torch_optimizer.register_optimizer_step_pre_hook(_before),
            torch_optimizer.register_optimizer_step_post_hook(_after),
        ]
    before.move_to_end(_handles[0].id)
    after.move_to_end(_handles[1].id, last=False)


def _before(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
    groups: list[dict[str, Any]] = optimizer.param_groups
    if not any(KEY in group for group in groups):
        return
    step = _stepping.get(optimizer)
    if step is not None and is_within_step(optimizer):
        step.depth += 1
        return
    if step is not None:
        step.take_back()  # a step that raised left its multipliers
    step = _stepping[optimizer] = Step()
    for group in groups:
        for key, factor in group.get(KEY, {}).items():
            if factor != 1.0 and group.get(key) is not None:
                old = group[key]
                group[key] = old * factor
                step.undo.append((group, key, old, group[key]))


def _after(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
    step = _stepping.get(optimizer)
    if step is None:
        return
    step.depth -= 1
    if not step.depth:
        step.take_back()
        del _stepping[optimizer]
