"""Validation losses in fixed parts, so that two trainings are compared in pairs."""

from __future__ import annotations

from torch import Tensor


def parts(losses: Tensor, n: int = 16) -> dict[int, float]:
    """The mean loss of each of `n` groups of neighbours among the validation examples, by number.

    Report it beside the metric, as `{metric}_parts`: panda then takes the gain of a nudge in pairs, which
    is far less noisy than the difference of two means. The examples must come in the same order each time.

    Args:
        losses: of each example; any shape, at least one element.
        n: how many groups; there are fewer where there are fewer examples.

    Raises:
        ValueError: there are no losses, or n is below 1.

    >>> raysearch.torch.parts(torch.tensor([1.0, 3.0, 5.0, 7.0]), n=2)
    {0: 2.0, 1: 6.0}
    """
    flat = losses.detach().flatten().float()
    if n < 1 or not len(flat):
        raise ValueError(f"cannot make {n} parts of {len(flat)} losses: both must be at least 1")
    groups = flat.tensor_split(min(n, len(flat)))
    return {number: group.mean().item() for number, group in enumerate(groups)}
