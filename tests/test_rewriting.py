"""Quicker operations in place of some: the same values, whatever the shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from raysearch.fused.lists import ROUNDING, agree, quickest
from raysearch.fused.recorder import written
from raysearch.fused.rewriting import quickened

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
    monkeypatch.setattr("raysearch.fused.lists.quickened", lambda flat: written(lambda: a * 2.001, [a]))
    torch.testing.assert_close(quickest(flat, lambda: [a])(a), a * 2)


def test_small_differences_of_large_numbers_agree_and_others_do_not() -> None:
    loss = torch.tensor([1e-4, 2.0])
    assert agree([loss + torch.tensor([1e-7, 0.0])], [loss], ROUNDING)
    assert not agree([loss + torch.tensor([1e-7, 0.0])], [loss])
    assert not agree([loss * 1.01], [loss], ROUNDING)
    assert not agree([torch.tensor([float("nan"), 2.0])], [loss], ROUNDING)
    assert agree([torch.zeros(3, 0)], [torch.zeros(3, 0)])
