"""Rewrites of a step's list of operations that run faster on a CPU.

Products of many small matrices come out quickest where the longer side of the result is the last one, and
sums and maxima where what they run over is not: torch's kernels then work on whole vectors. So a product
that is transposed afterwards is taken the other way round, which saves the copy; and one with a short last
side, such as logits of ten classes, is taken transposed, and what follows goes along in that order. The
largest of a few is found by comparing, as the kernel for it looks at one number after the other. And a
rectifier whose result goes into maxima or a pool comes after them, where there are fewer numbers left.
"""

from __future__ import annotations

import copy
import math
import operator
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

SHORT = 16  # a last side below this is shorter than a vector of a CPU
FEW = 64  # numbers of which the largest is found by comparing

_aten: Any = torch.ops.aten
_VIEWS = frozenset(
    {
        *(_aten.view.default, _aten._unsafe_view.default, _aten.permute.default, _aten.transpose.int),
        *(_aten.unbind.int, operator.getitem),
    }
)


def quickened(flat: GraphModule) -> GraphModule:
    """The same function of the same inputs, up to the order of sums; nodes say shape and type in `meta`.

    A view that needs another order in memory than there is now raises a RuntimeError when it is run.
    """
    graph = copy.deepcopy(flat.graph)
    for relu in graph.find_nodes(op="call_function", target=_aten.relu.default):
        _rectify_later(graph, relu)
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


def _rectify_later(graph: Graph, relu: Node) -> None:
    """max(relu(a), relu(b)) = relu(max(a, b)), where nothing else is used; what is no number stays so.

    The gradient is rectified before a pool spreads it, not afterwards: a window of which the largest is not
    positive passes nothing on either way.
    """
    derived, pools = _largest_of(relu)
    users = [(node, user) for node in derived for user in node.users if user not in derived | pools]
    spread = [user for _, user in users if user.target is _aten.max_pool2d_with_indices_backward.default]
    gates = [user for _, user in users if user.target is _aten.threshold_backward.default]
    ends = dict.fromkeys(node for node, user in users if user not in (*spread, *gates))
    if sum(_count(end) for end in ends) >= _count(relu):
        return
    if (spread or gates) and not (_is_gradient(relu, spread, gates) and len(pools) == len(ends) == 1):
        return
    relu.replace_all_uses_with(_argument(relu, 0))
    for end in ends:
        with graph.inserting_after(end):
            rectified = graph.call_function(_aten.relu.default, (end,))
        rectified.meta.update(end.meta)
        end.replace_all_uses_with(rectified, lambda user, new=rectified: user is not new)  # type: ignore[misc]
        for gate in gates:
            gradient = _argument(spread[0], 0)
            with graph.inserting_before(spread[0]):
                passed = graph.call_function(_aten.threshold_backward.default, (gradient, rectified, 0))
            passed.meta.update(gradient.meta)
            spread[0].update_arg(0, passed)
            gate.replace_all_uses_with(_argument(gate, 0))


def _largest_of(relu: Node) -> tuple[set[Node], set[Node]]:
    """(views and maxima of nothing but this, pools of it); what a pool found is among the former."""
    derived, pools = {relu}, set[Node]()
    for node in relu.graph.nodes:
        source = node.args[0] if node.args else None
        if node.target is _aten.max_pool2d_with_indices.default and source in derived:
            pools.add(node)
        elif (
            (node.target in _VIEWS and source in derived and not _is_pooled(source))
            or (node.target is operator.getitem and source in pools and node.args[1] == 0)
            or (node.target is _aten.maximum.default and derived.issuperset(node.args))
        ):
            derived.add(node)
    return derived, pools


def _is_pooled(node: Any) -> bool:
    return node.target is operator.getitem and node.args[0].target is _aten.max_pool2d_with_indices.default


def _is_gradient(relu: Node, spread: list[Node], gates: list[Node]) -> bool:
    """Whether a pool's gradient goes through nothing but views to the rectifier's."""
    if len(spread) != 1 or len(gates) != 1 or gates[0].args[1:] != (relu, 0):
        return False
    node = _argument(gates[0], 0)
    while node.target in _VIEWS and len(node.users) == 1:
        node = _argument(node, 0)
    return node is spread[0] and len(node.users) == 1


def _count(node: Node) -> int:
    return math.prod(node.meta["shape"])


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
