"""Convolution, pooling and attention of many models as one call over more channels or examples.

torch's own rules for `vmap` copy convolutions and pools into another memory layout and back, and run
attention on a CPU model by model. Here images of many models stay, from the first convolution on, in one
layout in which all kernels are quick: example, row, column, model, channel. On a CPU their gradients come
back in it too. (Unfolded images and one matrix product for all models took two to three times as long as
oneDNN's grouped convolution in this layout.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_aten = torch.ops.aten
_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
_MAX_POOLS: tuple[Callable[..., Any], ...] = (torch.max_pool2d, functional.max_pool2d)
_MEAN_POOLS: tuple[Callable[..., Any], ...] = (functional.avg_pool2d, functional.adaptive_avg_pool2d)
_attend: Callable[..., Any] = functional.scaled_dot_product_attention


def is_batched(value: Any) -> bool:
    """True for a tensor that stands for one of several inside `vmap`."""
    return isinstance(value, Tensor) and torch._C._functorch.is_batchedtensor(value)


class _Vectorised(torch.autograd.Function):
    """A function with a rule of its own for `vmap`; never called outside of one."""

    @staticmethod
    def forward(*args: Any) -> Any:
        raise NotImplementedError("only for batched tensors")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        raise NotImplementedError("only for batched tensors")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("only for batched tensors")


# ---- convolution


class _Convolution(_Vectorised):
    @staticmethod
    def vmap(info: Any, dims: Any, convolve: Any, x: Tensor, weight: Tensor, bias: Any, *rest: Any) -> Any:
        """A grouped convolution with the models' channels side by side; of a shared input, a wider one."""
        models = info.batch_size
        *between, groups = rest
        weight = _channels_last(_stacked(weight, dims[2], models, 0).flatten(0, 1))
        bias = None if bias is None else _stacked(bias, dims[3], models, 0).flatten()
        if dims[1] is None and groups == 1:
            x, together = _channels_last(x), 1
        else:
            x, together = _channels_last(_stacked(x, dims[1], models, 1).flatten(1, 2)), groups * models
        if x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            y = _Apart.apply(convolve, x, weight, bias, *between, together)  # type: ignore[no-untyped-call]
        else:
            y = convolve(x, weight, bias, *between, together)
        return _laid(y.unflatten(1, (models, -1))), 1


class _Apart(torch.autograd.Function):
    """A convolution whose gradients are taken one by one, each by what is the quickest on a CPU.

    In oneDNN a bias doubles the time of the weights' gradient, and the input's takes twice as long as the
    transposed convolution that it is.
    """

    @staticmethod
    def forward(
        ctx: Any, convolve: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rest = rest
        y: Tensor = convolve(x, weight, bias, *rest)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.rest
        space = weight.dim() - 2
        stride, dilation = _each_way(stride, space), _each_way(dilation, space)
        padding = _padding(padding, weight.shape[2:], dilation)
        _, wants_x, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        found: list[Tensor | None] = [None, None, None]
        grad = _channels_last(grads[0])
        if wants_x:
            sizes = zip(x.shape[2:], grad.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True)
            more = [n - ((m - 1) * s - 2 * p + d * (k - 1) + 1) for n, m, s, p, d, k in sizes]
            found[0] = _aten.convolution(grad, weight, None, stride, padding, dilation, True, more, groups)
        if wants_weight:
            settings = (None, stride, padding, dilation, False, [0] * space, groups, [False, True, False])
            found[1] = _aten.convolution_backward(grad, x, weight, *settings)[1]
        if wants_bias:
            found[2] = grad.sum([0, *range(2, grad.dim())])
        return None, *found, None, None, None, None


def _each_way(value: Any, space: int) -> list[int]:
    given = [value] if isinstance(value, int) else list(value)
    return given * space if len(given) == 1 else given


def _padding(value: Any, kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """In numbers; "same" only where both sides have as much (see `_is_even`)."""
    if value == "valid":
        return [0] * len(kernel)
    if value == "same":
        return [d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)]
    return _each_way(value, len(kernel))


def _is_even(padding: Any, kernel: Sequence[int], dilation: Any) -> bool:
    if padding != "same":
        return True
    return all(d * (k - 1) % 2 == 0 for d, k in zip(_each_way(dilation, len(kernel)), kernel, strict=True))


def _convolution(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def convolve(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        args = (input, weight, bias, stride, padding, dilation, groups)
        fits = input.dim() == weight.dim() and _is_even(padding, weight.shape[2:], dilation)
        if is_batched(weight) and fits:
            return _Convolution.apply(original, *args)  # type: ignore[no-untyped-call, no-any-return]
        return original(*args)

    return convolve


# ---- pooling


class _Pool(_Vectorised):
    @staticmethod
    def vmap(info: Any, dims: Any, pool: Any, x: Tensor, args: tuple[Any, ...], settings: Any) -> Any:
        """The models' channels side by side."""
        x = x.movedim(dims[1], 1).flatten(1, 2)
        plain = x.device.type == "cpu" and not x.requires_grad and pool in _MAX_POOLS
        window = _window(x, *args, **settings) if plain else None
        y = pool(x, *args, **settings) if window is None else _largest(x, *window)
        return _laid(y.unflatten(1, (info.batch_size, -1))), 1


def _window(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[int, int] | None:
    """Height and width of the windows, if they lie side by side and none is cut."""
    kernel = _each_way(kernel_size, 2)
    side_by_side = stride is None or stride == [] or _each_way(stride, 2) == kernel
    plain = _each_way(padding, 2) == [0, 0] and _each_way(dilation, 2) == [1, 1]
    whole = all(size % k == 0 for size, k in zip(x.shape[2:], kernel, strict=True))
    return (kernel[0], kernel[1]) if side_by_side and plain and whole else None


def _largest(x: Tensor, height: int, width: int) -> Tensor:
    """Pooling by maxima of whole tensors, which takes less than half as long as torch's kernel."""
    across = x.unflatten(3, (-1, width)).unbind(4)
    narrow: Tensor = across[0]
    for column in across[1:]:
        narrow = torch.maximum(narrow, column)
    down = narrow.unflatten(2, (-1, height)).unbind(3)
    small: Tensor = down[0]
    for row in down[1:]:
        small = torch.maximum(small, row)
    return small


def _pool(original: Callable[..., Any]) -> Callable[..., Any]:
    def pool(input: Tensor, *args: Any, **settings: Any) -> Any:
        if is_batched(input) and input.dim() == 4:
            return _Pool.apply(original, input, args, settings)  # type: ignore[no-untyped-call]
        return original(input, *args, **settings)

    return pool


# ---- attention


class Attention(_Vectorised):
    """Arguments: query, key, value, mask, causal, scale, whether heads are shared."""

    @staticmethod
    def vmap(
        info: Any, dims: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, causal: bool, *rest: Any
    ) -> Any:
        """The models' examples one after the other."""
        models = info.batch_size
        q, k, v = (_stacked(t, d, models, 0) for t, d in zip((q, k, v), dims[:3], strict=True))
        if mask is not None and dims[3] is not None:
            mask = _stacked(mask, dims[3], models, 0)
            mask = mask.view(models, *[1] * (q.dim() - mask.dim()), *mask.shape[1:]).flatten(0, 1)
        lead = q.shape[1]
        flat = [t.flatten(0, 1) for t in (q, k, v)]
        y = _attend(*flat, attn_mask=mask, is_causal=causal, scale=rest[0], enable_gqa=rest[1])
        return y.unflatten(0, (models, lead)), 0


# ---- memory


class _Laid(torch.autograd.Function):
    """Itself; its gradient comes in the layout of images, whatever layout it was computed in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0].permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)


def _laid(y: Tensor) -> Tensor:
    """(examples, models, channels, ...); see `_Laid`, for images on a CPU."""
    if y.dim() != 5 or not y.requires_grad or y.device.type != "cpu":
        return y
    return _Laid.apply(y)  # type: ignore[no-untyped-call, no-any-return]


def _stacked(value: Tensor, dim: int | None, models: int, at: int) -> Tensor:
    """The models' dimension at `at`, also where they share the value."""
    if dim is not None:
        return value.movedim(dim, at)
    return value.unsqueeze(at).expand(*value.shape[:at], models, *value.shape[at:])


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


LAYERS: dict[Any, Callable[..., Any]] = {
    **{original: _convolution(original) for original in _CONVOLUTIONS},
    **{original: _pool(original) for original in (*_MAX_POOLS, *_MEAN_POOLS)},
}
