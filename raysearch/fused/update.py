"""The update: gradients clipped, the rule applied, averaged weights moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from raysearch.fused.optimizers import Rule


@dataclass(frozen=True, slots=True)
class ModelRows:
    """Some models' rows: parameters, gradients and scratch (models, P), and the vectors beside them."""

    parameters: Tensor
    gradients: Tensor
    room: Tensor
    vectors: Mapping[str, Tensor]


@torch.no_grad()
def moved(
    rule: Rule,
    state: ModelRows,
    hyper: Mapping[str, Tensor],
    taken: Tensor,
    clip: Tensor | None,
    ema: Tensor | None,
) -> None:
    """Moves models along their gradients; `hyper` are columns (models, 1), `taken` counts this step too."""
    parameters, gradients = state.parameters, state.gradients
    if clip is not None:
        norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        gradients.mul_((clip / (norms + 1e-6)).clamp(max=1.0))
    slots = {name: state.vectors[name] for name in rule.slots}
    rule.update(parameters, gradients, slots, SimpleNamespace(**hyper), taken, state.room)
    if ema is not None:
        state.vectors["ema"].lerp_(parameters, (1 - ema).expand_as(parameters))
