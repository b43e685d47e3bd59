"""torch.nn.functional as a pack needs it, in force while a model's loss or metrics are computed.

- Dropout draws from the model's own seed and takes a rate that differs from model to model.
- Cross-entropy takes a label smoothing that differs from model to model.
- The row of an embedding that stands for padding has no gradient.
- Convolution, pooling and attention of many models become one call over more channels or examples.
  torch's own rules for `vmap` copy convolutions into another memory layout first, and run attention on a
  CPU model by model.

A torch function mode puts them in, so they are reached however a model names them: as a module such as
`nn.Dropout`, as `F.dropout`, or by a name of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from raysearch.fused.batched_layers import LAYERS, Attention, is_batched
from raysearch.fused.rng import current

_CHANNEL_DROPOUTS = {functional.dropout1d: 1, functional.dropout2d: 2, functional.dropout3d: 3}
_attend: Callable[..., Any] = functional.scaled_dot_product_attention
_cross_entropy: Callable[..., Any] = functional.cross_entropy
_dropout: Callable[..., Any] = functional.dropout
_embedding: Callable[..., Any] = functional.embedding


class Replacing(TorchFunctionMode):
    """Inside, torch's functions are those of this module."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The replacement of `func`, or itself."""
        if func is functional.multi_head_attention_forward:  # it looks up dropout and attention itself
            with _in_place():
                return func(*args, **(kwargs or {}))
        return _REPLACED.get(func, func)(*args, **(kwargs or {}))


@contextmanager
def _in_place() -> Iterator[None]:
    names = {"dropout": _dropout, "scaled_dot_product_attention": _attend}
    for name, original in names.items():
        setattr(functional, name, _REPLACED[original])
    try:
        yield
    finally:
        for name, original in names.items():
            setattr(functional, name, original)


# ---- dropout and loss


def dropout(input: Tensor, p: float | Tensor = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """As torch's; draws by the key of the model."""
    return _thinned(_dropout, input, input.shape, p, training, inplace)


def _channel_dropout(original: Callable[..., Tensor], space: int) -> Callable[..., Tensor]:
    def dropout(
        input: Tensor, p: float | Tensor = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        shape = (*input.shape[: input.dim() - space], *[1] * space)
        return _thinned(original, input, shape, p, training, inplace)

    return dropout


def _thinned(
    original: Callable[..., Tensor],
    input: Tensor,
    shape: tuple[int, ...],
    p: float | Tensor,
    training: bool,
    inplace: bool,
) -> Tensor:
    if not training or (not isinstance(p, Tensor) and p == 0):
        return input
    draws = current()
    if draws is None:
        return original(input, p, training, inplace)
    if not isinstance(p, Tensor) and not 0 <= p <= 1:
        raise ValueError(f"dropout: p = {p} must lie between 0 and 1")
    kept = draws.kept(tuple(shape), p)
    room = 1 - p
    scale = torch.where(room > 0, 1 / room, 0.0) if isinstance(room, Tensor) else (1 / room if room else 0.0)
    return input * (kept * scale).to(input.dtype)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float | Tensor = 0.0,
) -> Tensor:
    """As torch's; the label smoothing may be a tensor (Szegedy et al. 2016, section 7).

    Raises:
        TypeError: a smoothing that is a tensor, with class weights or with shares as targets.
    """
    is_plain = weight is None and size_average is None and reduce is None and not target.is_floating_point()
    quick = is_plain and is_batched(input) and _is_small(input, target)
    if not quick and not isinstance(label_smoothing, Tensor):
        return _cross_entropy(  # type: ignore[no-any-return]
            input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
        )
    if not is_plain:
        raise TypeError(
            "a label smoothing that differs takes neither class weights nor targets that are shares"
        )
    counts = target != ignore_index
    known = target.where(counts, 0)
    losses = _smoothed(input, known, label_smoothing) * counts
    if reduction == "mean":  # of nothing it is no number, and like torch's passes no gradient on
        total = counts.sum()
        return (losses.sum() / total.clamp(min=1)).masked_fill(total == 0, float("nan"))
    return losses.sum() if reduction == "sum" else losses


def _smoothed(input: Tensor, target: Tensor, smoothing: float | Tensor) -> Tensor:
    """Losses without reduction, for classes in dimension 1.

    The logarithm of the sum is taken of whole tensors; torch's kernel for log_softmax is made for long rows
    and takes several times as long where there are few classes.
    """
    input = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
    losses = input.logsumexp(1) - input.gather(1, target.unsqueeze(1)).squeeze(1)
    if isinstance(smoothing, Tensor) or smoothing:
        losses = losses + smoothing * (input.gather(1, target.unsqueeze(1)).squeeze(1) - input.mean(1))
    return losses


SMALL = 64  # classes


def _is_small(input: Tensor, target: Tensor) -> bool:
    """True where torch's kernel, made for long rows, is several times slower than vectorised operations."""
    plain = input.dim() == 2 and input.shape[1] <= SMALL and target.dim() == 1
    return plain and input.device.type == "cpu" and input.dtype == torch.float32


# ---- embedding


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """As torch's, which under `vmap` forgets that the row of padding has no gradient.

    Raises:
        NotImplementedError: many models with a largest norm, or gradients scaled by frequency.
    """
    if not is_batched(weight):
        return _embedding(  # type: ignore[no-any-return]
            input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        )
    if max_norm is not None or scale_grad_by_freq:
        raise NotImplementedError("an embedding with max_norm or scale_grad_by_freq")
    found: Tensor = _embedding(input, weight)
    if padding_idx is None:
        return found
    padding = padding_idx % weight.shape[0]
    return torch.where((input == padding).unsqueeze(-1), found.detach(), found)


# ---- attention


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float | Tensor = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """As torch's; dropout draws by the key of the model, with a rate that may be a tensor."""
    thins = current() is not None and (isinstance(dropout_p, Tensor) or dropout_p > 0)
    if thins:
        return _attention_with_dropout(query, key, value, attn_mask, dropout_p, is_causal, scale)
    if is_batched(query) and query.dim() == 4:
        args = (query, key, value, attn_mask, is_causal, scale, enable_gqa)
        return Attention.apply(*args)  # type: ignore[no-untyped-call, no-any-return]
    found: Tensor = _attend(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )
    return found


def _attention_with_dropout(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    p: float | Tensor,
    is_causal: bool,
    scale: float | None,
) -> Tensor:
    scores = query @ key.transpose(-2, -1) * (scale if scale is not None else query.shape[-1] ** -0.5)
    if is_causal:
        allowed = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        scores = scores.masked_fill(~allowed, float("-inf"))
    if mask is not None:
        hidden = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, float("-inf")) if hidden else scores + mask
    return dropout(scores.softmax(-1), p) @ value


_REPLACED: dict[Any, Callable[..., Any]] = {
    _dropout: dropout,
    _cross_entropy: cross_entropy,
    _attend: attention,
    _embedding: embedding,
    **{original: _channel_dropout(original, space) for original, space in _CHANNEL_DROPOUTS.items()},
    **LAYERS,
}
