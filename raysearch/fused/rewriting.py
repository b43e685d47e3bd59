"""A step's list of operations, with quicker ones in place of some, for a CPU.

Products of many small matrices come out quickest where the longer side of the result is the last one, and
sums and maxima where what they run over is not: torch's kernels then work on whole vectors. So a product
that is transposed afterwards is taken the other way round, which saves the copy; and one with a short last
side, such as logits of ten classes, is taken transposed, and what follows goes along in that order. The
largest of a few is found by comparing, as the kernel for it looks at one number after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch.fx import Graph, GraphModule, Node

SHORT = 16  # a last side below this is shorter than a vector of a CPU
FEW = 64  # numbers of which the largest is found by comparing

_aten: Any = torch.ops.aten
Change: TypeAlias = Callable[[Graph, Node], Node | None]


def quickened(flat: GraphModule) -> GraphModule:
    """The same function of the same inputs, up to the order of sums; nodes say shape and type in `meta`.

    A view that needs another order in memory than there is now raises a RuntimeError when it is run.
    """
    graph = copy.deepcopy(flat.graph)
    for change in (_turned, _narrow, _compared):
        for node in list(graph.nodes):
            if node.op == "call_function" and (new := change(graph, node)) is not None:
                new.meta.update(node.meta)
                node.replace_all_uses_with(new)
                graph.erase_node(node)
    _untwist(graph)
    graph.eliminate_dead_code()
    return GraphModule(flat, graph)


def _turned(graph: Graph, node: Node) -> Node | None:
    """(a b)' = b' a', for a product of which only the transposed is used."""
    if not _transposes(node):
        return None
    product = _argument(node, 0)
    if product.target is not _aten.bmm.default or len(product.users) > 1:
        return None
    return _product_turned(graph, product)


def _narrow(graph: Graph, node: Node) -> Node | None:
    """a b = (b' a')', for a product that is higher than wide, and not wide."""
    if node.target is not _aten.bmm.default:
        return None
    _, high, wide = node.meta["shape"]
    if wide >= SHORT or high <= wide:
        return None
    return _transposed(graph, _product_turned(graph, node), node)


def _compared(graph: Graph, node: Node) -> Node | None:
    """The place of the largest of a few: the first one that equals it; or of the first that is no number."""
    if node.target is not _aten.argmax.default or len(node.args) < 2 or node.args[1] is None:
        return None
    values, dim, keep = _argument(node, 0), node.args[1], bool(node.args[2:] and node.args[2])
    assert isinstance(dim, int)
    shape, dtype = values.meta["shape"], values.meta["dtype"]
    if not 1 < shape[dim] <= FEW or not dtype.is_floating_point:
        return None
    place = [1] * len(shape)
    place[dim] = shape[dim]
    with graph.inserting_before(node):
        largest = graph.call_function(_aten.amax.default, (values, [dim], True))
        is_it = graph.call_function(_aten.eq.Tensor, (values, largest))
        is_none = graph.call_function(_aten.ne.Tensor, (values, values))
        found = graph.call_function(_aten.logical_or.default, (is_it, is_none))
        on = {"dtype": torch.float32, "device": values.meta["device"]}
        numbers = graph.call_function(_aten.arange.default, (shape[dim],), on)
        numbers = graph.call_function(_aten.view.default, (numbers, place))
        none = graph.call_function(_aten.scalar_tensor.default, (shape[dim],), on)
        numbers = graph.call_function(_aten.where.self, (found, numbers, none))
        first = graph.call_function(_aten.amin.default, (numbers, [dim], keep))
        return graph.call_function(_aten._to_copy.default, (first,), {"dtype": torch.int64})


def _untwist(graph: Graph) -> None:
    """Transposing twice is doing nothing."""
    for node in list(graph.nodes):
        if _transposes(node) and _transposes(inner := _argument(node, 0)):
            node.replace_all_uses_with(_argument(inner, 0))


def _product_turned(graph: Graph, product: Node) -> Node:
    """b' a' for the product a b, and where that is taken: a step changes its tensors later on."""
    models, high, wide = product.meta["shape"]
    second, first = (_transposed(graph, _argument(product, place), product) for place in (0, 1))
    with graph.inserting_before(product):
        turned = graph.call_function(_aten.bmm.default, (first, second))
    turned.meta["shape"] = (models, wide, high)
    return turned


def _transposed(graph: Graph, matrices: Node, before: Node) -> Node:
    models, high, wide = matrices.meta["shape"]
    with graph.inserting_before(before):
        transposed = graph.call_function(_aten.transpose.int, (matrices, 1, 2))
    transposed.meta["shape"] = (models, wide, high)
    return transposed


def _transposes(node: Node) -> bool:
    """True for a stack of matrices with each of them transposed."""
    if node.target is not _aten.transpose.int or len(node.meta["shape"]) != 3:
        return False
    _, one, other = node.args
    return {one, other} in ({1, 2}, {-2, -1}, {1, -1}, {-2, 2})


def _argument(node: Node, place: int) -> Node:
    found = node.args[place]
    assert isinstance(found, Node)
    return found
