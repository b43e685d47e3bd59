"""Modules with a multiplier that depends on the model's size; `ScalingRules.initialise` sets it."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from raysearch.errors import SpecError


class Readout(nn.Linear):
    """A linear layer from the width of a model to its outputs, whose result is divided by the width's growth.

    Its weight is that of Tensor Programs V, table 8: the multiplier shrinks with the width, and neither the
    initial weights nor Adam's rate do. Needed where the weight is also that of the embedding; elsewhere
    `nn.Linear` does the same by table 3, with smaller weights and a smaller rate.

    Attributes:
        multiplier: of the result without its bias; 1 until `ScalingRules.initialise` has set it.

    >>> scaling.Readout(64, 10).multiplier
    1.0
    """

    multiplier: float = 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return nn.functional.linear(inputs * self.multiplier, self.weight, self.bias)


class Branch(nn.Module):
    """A branch beside a residual connection, `x + Branch(block)(x)`, divided by the depth's growth.

    Dey et al. 2025, table 1, with alpha = 1: the growth is how many more of such blocks the model has than
    its base. The blocks must lie in a list or a sequence, so that their names differ in a number alone.

    Attributes:
        multiplier: of the result; 1 until `ScalingRules.initialise` has set it.

    >>> block = scaling.Branch(torch.nn.Linear(4, 4))
    >>> block(torch.ones(1, 4)).shape, block.multiplier
    (torch.Size([1, 4]), 1.0)
    """

    multiplier: float = 1.0

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the module returns, times the multiplier."""
        result: Tensor = self.module(*args, **kwargs)
        return result * self.multiplier


def attention_scale(head: int, base_head: int) -> float:
    """What the products of queries and keys are multiplied by, where heads grow with the width.

    sqrt(base_head) / head: proportional to 1 / head, and 1 / sqrt(head) at the base (Tensor Programs V,
    section 4 and appendix B). Where a head stays as wide and there are more of them, nothing changes.

        scaled_dot_product_attention(q, k, v, scale=scaling.attention_scale(q.shape[-1], 16))

    >>> scaling.attention_scale(64, 16)
    0.0625

    Raises:
        SpecError: a width is below 1.
    """
    if head < 1 or base_head < 1:
        raise SpecError(f"heads of width {head} and {base_head}: both must be at least 1")
    return math.sqrt(base_head) / head
