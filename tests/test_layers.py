"""Layers of many models in one call: what torch's own give model by model, gradients included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import vmap
from torch.nn import functional

from raysearch.fused.torch_overrides import Replacing

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
MODELS = 3


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def replaced(function: Callable[..., Tensor], *args: Tensor, dims: tuple[int | None, ...]) -> Tensor:
    """`function` of all models at once, with the layers of a pack."""

    def inside(*own: Tensor) -> Tensor:
        with Replacing():
            return function(*own)

    return vmap(inside, in_dims=dims)(*args)


def one_by_one(function: Callable[..., Tensor], *args: Tensor, dims: tuple[int | None, ...]) -> Tensor:
    """`function` of each model by itself, with torch's own layers."""
    own = [[a if d is None else a[i] for a, d in zip(args, dims, strict=True)] for i in range(MODELS)]
    return torch.stack([function(*each) for each in own])


def alike(function: Callable[..., Tensor], *args: Tensor, dims: tuple[int | None, ...]) -> None:
    """Asserts that both ways give the same values and, for the same weighting of them, the same gradients."""
    found = []
    for way in (replaced, one_by_one):
        leaves = [a.clone().requires_grad_() for a in args]
        out = way(function, *leaves, dims=dims)
        (out * drawn(*out.shape, seed=9)).sum().backward()
        found.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """Settings of a convolution whose input is large enough for its kernel."""
    space, groups = draw(st.integers(1, 3)), draw(st.sampled_from((1, 1, 2)))
    each = st.tuples(*[st.integers(1, 3)] * space)
    kernel, dilation = draw(each), draw(st.one_of(st.integers(1, 2), st.tuples(*[st.integers(1, 2)] * space)))
    numbers = st.one_of(st.integers(0, 2), st.tuples(*[st.integers(0, 2)] * space))
    padding = draw(st.one_of(numbers, st.sampled_from(("same", "valid"))))
    stride: Any = 1 if padding == "same" else draw(st.one_of(st.integers(1, 3), each))
    return {
        "kernel": kernel,
        "sizes": draw(st.tuples(*[st.integers(5, 7)] * space)),
        "channels": (groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))),
        "examples": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "shared": draw(st.booleans()),
        "settings": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    }


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch's, where one side gets more
@settings(max_examples=80)
@given(drawn_as=convolutions())
def test_convolutions_of_many_models_are_those_of_each_gradients_included(drawn_as: dict[str, Any]) -> None:
    (taken, given_), kernel = drawn_as["channels"], drawn_as["kernel"]
    lead = () if drawn_as["shared"] else (MODELS,)
    x = drawn(*lead, drawn_as["examples"], taken, *drawn_as["sizes"], seed=1)
    weight = drawn(MODELS, given_, taken // drawn_as["settings"]["groups"], *kernel, seed=2)
    bias = [drawn(MODELS, given_, seed=3)] if drawn_as["bias"] else []

    def convolve(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        one = CONVOLUTIONS[len(kernel)]
        return one(x, weight, bias[0] if bias else None, **drawn_as["settings"])

    alike(convolve, x, weight, *bias, dims=(None if drawn_as["shared"] else 0, 0, *[0 for _ in bias]))


@settings(max_examples=60)
@given(
    kernel=st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    stride=st.sampled_from((None, 1, 2, (2, 1))),
    ceil=st.booleans(),
    sizes=st.tuples(st.integers(4, 7), st.integers(4, 7)),
    kind=st.sampled_from((functional.max_pool2d, functional.avg_pool2d)),
)
def test_pools_of_many_models_are_those_of_each_gradients_included(
    kernel: Any, stride: Any, ceil: bool, sizes: tuple[int, int], kind: Callable[..., Tensor]
) -> None:
    images = drawn(MODELS, 2, 3, *sizes).relu()  # with ties, of which the first one has the gradient

    def pooled(x: Tensor) -> Tensor:
        return kind(x, kernel, stride=stride, ceil_mode=ceil)

    alike(pooled, images, dims=(0,))
    quick = replaced(pooled, images, dims=(0,))  # without gradients another way is taken
    torch.testing.assert_close(quick, one_by_one(pooled, images, dims=(0,)))


def test_a_module_that_pools_reaches_the_pool_of_many_models() -> None:
    laid = drawn(2, 6, 6, MODELS, 4).permute(3, 0, 4, 1, 2)  # as a convolution leaves it
    pooled = replaced(torch.nn.MaxPool2d(2), laid, dims=(0,))
    assert torch.equal(pooled, one_by_one(torch.nn.MaxPool2d(2), laid, dims=(0,)))
    assert pooled.permute(1, 3, 4, 0, 2).is_contiguous()


def test_what_was_not_a_number_stays_so_in_a_pool_without_gradients() -> None:
    images = drawn(MODELS, 1, 1, 4, 4)
    images[1, 0, 0, 2, 3] = float("nan")
    pooled = replaced(lambda x: functional.max_pool2d(x, 2), images, dims=(0,))
    assert pooled.isnan().nonzero().tolist() == [[1, 0, 0, 1, 1]]


def test_images_stay_in_one_layout_through_a_network() -> None:
    weight, images = drawn(MODELS, 4, 2, 3, 3), drawn(MODELS, 2, 2, 6, 6)

    def layers(x: Tensor, w: Tensor) -> Tensor:
        return functional.max_pool2d(functional.conv2d(x, w, padding=1).relu(), 2)

    out = replaced(layers, images, weight.requires_grad_(), dims=(0, 0))
    assert out.permute(1, 3, 4, 0, 2).is_contiguous()
