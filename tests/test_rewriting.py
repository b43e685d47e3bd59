"""Quicker operations in place of some: the same values, whatever the shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from raysearch.fused.graph_capture import written
from raysearch.fused.graph_rewrites import quickened
from raysearch.fused.op_list import ROUNDING, agree, quickest

aten: Any = torch.ops.aten
sizes = st.integers(1, 24)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def operations(function: Callable[[], Any], inputs: Sequence[Tensor]) -> tuple[Any, list[Any]]:
    """The list with quicker operations, and what they are."""
    quick = quickened(written(function, inputs))
    return quick, [node.target for node in quick.graph.nodes if node.op == "call_function"]


@given(
    models=st.integers(1, 4), high=sizes, inner=sizes, wide=sizes, turned=st.booleans(), twice=st.booleans()
)
def test_products_come_out_the_same_in_whatever_order_they_are_taken(
    models: int, high: int, inner: int, wide: int, turned: bool, twice: bool
) -> None:
    a, b = drawn(models, high, inner), drawn(models, inner, wide, seed=1)

    def function() -> Tensor:
        product = torch.bmm(a, b)
        return product.mT.relu() + (product.mT if twice else 0) if turned else product.relu().sum(2)

    quick, _ = operations(function, [a, b])
    torch.testing.assert_close(quick(a, b), function())


def test_a_product_that_is_transposed_is_taken_the_other_way_round_and_not_transposed() -> None:
    a, b = drawn(3, 20, 30), drawn(3, 30, 40, seed=1)
    quick, targets = operations(lambda: torch.bmm(a.mT.contiguous().mT, b).mT.contiguous(), [a, b])
    assert targets.count(aten.bmm.default) == 1
    result = quick(a, b)
    torch.testing.assert_close(result, torch.bmm(a, b).mT.contiguous())
    assert (
        not any(t is aten.clone.default for t in targets[targets.index(aten.bmm.default) :])
        or result.is_contiguous()
    )


def test_a_product_is_taken_before_what_it_is_made_of_changes() -> None:
    a, b = drawn(2, 20, 20), drawn(2, 20, 20, seed=1)

    def function() -> Tensor:
        product = torch.bmm(a, b)
        a.zero_()
        return product.mT + 0

    kept = a.clone()
    expected = torch.bmm(a, b).mT + 0
    quick, _ = operations(function, [a, b])
    torch.testing.assert_close(quick(kept, b), expected)
    assert not kept.any()


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    dim=st.integers(-3, 2),
    keep=st.booleans(),
    values=st.lists(st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf"), -float("inf")]), min_size=1),
)
def test_the_place_of_the_largest_is_that_of_torch_for_ties_and_for_what_is_no_number(
    shape: list[int], dim: int, keep: bool, values: list[float]
) -> None:
    if not -len(shape) <= dim < len(shape):
        return
    count = int(torch.tensor(shape).prod())
    x = torch.tensor([values[i % len(values)] for i in range(count)]).reshape(shape)
    quick, targets = operations(lambda: x.argmax(dim, keep), [x])
    found = quick(x)
    assert (aten.argmax.default in targets) == (shape[dim] == 1)
    assert found.dtype is torch.int64
    assert torch.equal(found, x.argmax(dim, keep))


values = st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, -2.0, float("nan"), float("inf"), -float("inf")])


@given(
    numbers=st.lists(values, min_size=1, max_size=72),
    kernel=st.sampled_from([(2, 2, 0), (3, 1, 0), (2, 3, 0), (3, 2, 1)]),
)
def test_a_rectifier_before_a_pool_comes_after_it_with_the_same_values_and_gradients(
    numbers: list[float], kernel: tuple[int, int, int]
) -> None:
    x = torch.tensor([numbers[i % len(numbers)] for i in range(72)]).view(2, 1, 6, 6)
    leaf = x.clone().requires_grad_()

    def function() -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            pooled = torch.max_pool2d(leaf.view(1, 2, 6, 6).relu(), *kernel).flatten()
            weights = torch.arange(1.0, len(pooled) + 1)
            (gradient,) = torch.autograd.grad((pooled * weights).sum(), leaf)
        return pooled.detach(), gradient

    quick, targets = operations(function, [leaf])
    assert targets.index(aten.relu.default) > targets.index(aten.max_pool2d_with_indices.default)
    gate, spread = aten.threshold_backward.default, aten.max_pool2d_with_indices_backward.default
    assert targets.index(gate) < targets.index(spread)
    for found, expected in zip(quick(x), function(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@given(numbers=st.lists(values, min_size=1, max_size=24))
def test_a_rectifier_comes_after_maxima_of_what_it_gives(numbers: list[float]) -> None:
    x = torch.tensor([numbers[i % len(numbers)] for i in range(24)]).view(4, 6)

    def function() -> Tensor:
        first, second, third = x.relu().view(4, 2, 3).unbind(2)
        return torch.maximum(torch.maximum(first, second), third) + 1

    quick, targets = operations(function, [x])
    assert targets.index(aten.relu.default) > targets.index(aten.maximum.default)
    assert targets.count(aten.relu.default) == 1
    torch.testing.assert_close(quick(x), function(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (torch.max_pool2d(y := x.relu(), 2), y.sum()),
        lambda x: torch.maximum(x[..., :3].relu(), x[..., 3:]),
        lambda x: torch.maximum(*(y := x.relu()).view(1, 2, 18, 2).unbind(3)) - y.amin(),
        lambda x: x.relu().view(72),
        lambda x: torch.max_pool2d(x.relu(), 3, 1, 1),
    ],
)
def test_a_rectifier_stays_where_other_things_use_what_it_gives_or_nothing_is_saved(
    function: Callable[[Tensor], Any],
) -> None:
    x = drawn(1, 2, 6, 6)
    flat = written(lambda: function(x), [x])
    before = [node.target for node in flat.graph.nodes if node.op == "call_function"]
    quick, targets = operations(lambda: function(x), [x])
    assert targets == before
    torch.testing.assert_close(quick(x), function(x))


def test_a_list_whose_views_need_the_order_in_memory_that_was_is_used_as_it_is() -> None:
    a, b = drawn(3, 20, 8), drawn(3, 8, 4, seed=1)

    def function() -> Tensor:
        return torch.bmm(a, b).view(3, 80) * 2

    flat = written(function, [a, b])
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        quickened(flat)(a, b)
    torch.testing.assert_close(quickest(flat, lambda: [a, b])(a, b), function())


def test_a_rewriting_that_gives_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    a = drawn(3, 4)
    flat = written(lambda: a * 2, [a])
    monkeypatch.setattr("raysearch.fused.op_list.quickened", lambda flat: written(lambda: a * 2.001, [a]))
    torch.testing.assert_close(quickest(flat, lambda: [a])(a), a * 2)


def test_small_differences_of_large_numbers_agree_and_others_do_not() -> None:
    loss = torch.tensor([1e-4, 2.0])
    assert agree([loss + torch.tensor([1e-7, 0.0])], [loss], ROUNDING)
    assert not agree([loss + torch.tensor([1e-7, 0.0])], [loss])
    assert not agree([loss * 1.01], [loss], ROUNDING)
    assert not agree([torch.tensor([float("nan"), 2.0])], [loss], ROUNDING)
    assert agree([torch.zeros(3, 0)], [torch.zeros(3, 0)])
