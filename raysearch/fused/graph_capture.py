"""A function of tensors, captured as a graph of operations.

`make_fx` does the same, but takes a second to import, and handles shapes that change.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_aten = torch.ops.aten
_SAME = (_aten.detach.default, _aten.alias.default)
_SHAPED = (_aten.view.default, _aten._unsafe_view.default, _aten.expand.default)
_LOOKS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


def written(function: Callable[[], Any], inputs: Sequence[Tensor]) -> GraphModule:
    """A function of `inputs` that does the same operations. Runs `function`, which returns tensors, once.

    What it uses besides the inputs is kept as it is now. Nodes have the shape, dtype and device of their
    tensors in `meta`.

    Raises:
        RuntimeError: it looks at values, so that what it does may differ next time.
        whatever the function raises.
    """
    recorder = _Recorder(inputs)
    with recorder:
        result = function()
    graph = recorder.graph
    graph.output(tree_map(recorder.node, result))
    graph.eliminate_dead_code()
    return GraphModule(recorder.constants, graph)


class _Recorder(TorchDispatchMode):
    """Adds a node to the graph for every operation below vmap and autograd.

    Tensors are compared by identity, so all of them are held until the end.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph()
        self.constants = torch.nn.Module()
        self._held: list[Tensor] = []
        self._nodes: dict[int, Node] = {}
        for place, tensor in enumerate(inputs):
            self._note(tensor, self.graph.placeholder(f"given_{place}"))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and wrapping would import the compiler: a second and more

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and records it."""
        kwargs = kwargs or {}
        if _LOOKS & set(func.tags) and not _picks_by_number(func, args):
            raise RuntimeError(f"it looks at values ({func}), which differ from step to step")
        written_args = tree_map(self._written, args), tree_map(self._written, kwargs)
        out = func(*args, **kwargs)
        if _changes_nothing(func, args, out):
            self._note(out, written_args[0][0])
        else:
            self._note_all(out, self.graph.call_function(func, *written_args))
        return out

    def node(self, tensor: Tensor) -> Node:
        """The node of a tensor; a tensor from before the capture is a constant."""
        if id(tensor) not in self._nodes:
            name = f"constant_{len(self._held)}"
            self.constants.register_buffer(name, tensor)
            self._note(tensor, self.graph.get_attr(name))
        return self._nodes[id(tensor)]

    def _written(self, value: Any) -> Any:
        return self.node(value) if isinstance(value, Tensor) else value

    def _note(self, tensor: Tensor, node: Node) -> None:
        self._held.append(tensor)
        self._nodes[id(tensor)] = node
        node.meta.update(shape=tuple(tensor.shape), dtype=tensor.dtype, device=tensor.device)

    def _note_all(self, out: Any, node: Node) -> None:
        if isinstance(out, Tensor):
            self._note(out, node)
        elif isinstance(out, (tuple, list)):
            for place, one in enumerate(out):
                if isinstance(one, Tensor):
                    self._note(one, self.graph.call_function(operator.getitem, (node, place)))


def _picks_by_number(func: Any, args: Any) -> bool:
    """True for an index without masks, the one of these operations whose shapes may be known."""
    if func is not _aten.index.Tensor:
        return False
    return all(index is None or index.dtype not in (torch.bool, torch.uint8) for index in args[1])


def _changes_nothing(func: Any, args: Any, out: Any) -> bool:
    """True for detaching, views of the same shape, products with 1."""
    if func in _SAME:
        return True
    product = func is _aten.mul.Scalar and args[1] == 1 and args[0].dtype == out.dtype
    return product or (func in _SHAPED and args[0].shape == out.shape)
