"""Lists of tensor operations: the fastest way to run one, and comparison with the code that it replaces."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves

from raysearch.core.library_errors import TORCH_NOT_TRACED, is_out_of_memory
from raysearch.fused.graph_rewrites import quickened

TOLERANCE = 1e-5  # relative
ROUGHLY = 1e-3  # in single precision, where sums in another order end in other last digits,
ROUNDING = 1e-6  # a loss near 0 is a small difference of large numbers, with relatively more rounding error
DIFFERENT = "it came out different"
AT_ONCE = 1 << 22  # values that are compared together

Run: TypeAlias = Callable[..., Any]


def quickest(flat: GraphModule, example: Callable[[], Sequence[Tensor]]) -> Run:
    """A function that runs the list, on a CPU with faster operations and without Python.

    Args:
        flat: with the device of each input in its `meta`, as `written` makes it.
        example: makes inputs, which may be changed.

    Raises:
        whatever torch raises for operations that cannot be done in this way.
    """
    if any(n.meta["device"].type != "cpu" for n in flat.graph.nodes if n.op == "placeholder"):
        return flat
    quick = quickened(flat)
    return _scripted(quick if _are_same(quick, flat, example) else flat, example())


def _are_same(quick: GraphModule, flat: GraphModule, example: Callable[[], Sequence[Tensor]]) -> bool:
    """Whether both lists do the same but for rounding, of which in double precision little is left."""
    twice = [[t.double() if t.dtype is torch.float32 else t.clone() for t in example()] for _ in range(2)]
    try:
        with torch.no_grad():
            first, second = (
                [*tree_leaves(run(*given)), *given] for run, given in zip((quick, flat), twice, strict=True)
            )
    except RuntimeError as error:  # a view of what lies in another order now, or a type that is fixed
        if is_out_of_memory(error):
            raise
        return False
    return agree(first, second)


def _scripted(flat: GraphModule, example: Sequence[Tensor]) -> Run:
    """The list for the script interpreter, or as it is where an operation of it cannot be there."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # that of the script interpreter
        try:
            run: Run = torch.jit.trace(_with_scripts(flat), tuple(example), check_trace=False)
        except RuntimeError as error:  # an operation with sizes that are optional, for one
            if not TORCH_NOT_TRACED.is_in(error):
                raise
            return flat
        return run


def _with_scripts(flat: GraphModule) -> GraphModule:
    """The same list with operations for which the interpreter has a form of its own.

    The gradient of a convolution's weights takes sizes of a bias that may be none, which can be scripted but
    not traced.
    """
    found = torch.ops.aten.convolution_backward.default
    nodes = [n for n in flat.graph.nodes if n.target is found and n.args[-1] == [False, True, False]]
    if not nodes:
        return flat
    graph = Graph()
    places: dict[Node, Node] = {}
    graph.output(graph.graph_copy(flat.graph, places))
    for node in (places[n] for n in nodes):
        grad, x, weight, _, stride, padding, dilation, *_, groups, _ = node.args
        (only,) = node.users  # the one gradient that was asked for
        with graph.inserting_after(node):
            args = (grad, x, weight, stride, padding, dilation, groups)
            only.replace_all_uses_with(graph.call_function(_by_script, args))
        graph.erase_node(only)
        graph.erase_node(node)
    return GraphModule(flat, graph)


def _by_script(*args: Any) -> Any:
    return _script()(*args)


@cache
def _script() -> Any:
    return torch.jit.script(_gradient_of_weights)


def _gradient_of_weights(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    none = [0] * len(stride)
    found: Tensor = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, none, groups, [False, True, False]
    )[1]
    return found


def agree(mine: Sequence[Tensor], theirs: Sequence[Tensor], rounding: float = 0.0) -> bool:
    """True where all values are as good as equal, model by model; what is not finite, in the same places.

    Args:
        rounding: by how much values near 0 may differ, each.
    """
    return all(_agrees(one, other, rounding) for one, other in zip(mine, theirs, strict=True))


def _agrees(one: Tensor, other: Tensor, rounding: float) -> bool:
    if not one.is_floating_point():
        return torch.equal(one, other)
    models = len(other) if other.dim() else 1
    one, other = (t.reshape(models, other.numel() // max(1, models)) for t in (one, other))
    some = max(1, AT_ONCE // max(1, other.shape[1]))
    return all(_rows_agree(*each, rounding) for each in zip(one.split(some), other.split(some), strict=True))


def _rows_agree(one: Tensor, other: Tensor, rounding: float) -> bool:
    one, other = one.double(), other.double()
    whole = torch.isfinite(other)
    if not torch.equal(whole, torch.isfinite(one)):
        return False
    one, other = one.where(whole, 0.0), other.where(whole, 0.0)
    tolerance = ROUGHLY if rounding else TOLERANCE
    few = rounding * other.shape[1] ** 0.5 + 1e-30
    return bool(((one - other).norm(dim=1) <= tolerance * other.norm(dim=1) + few).all())
