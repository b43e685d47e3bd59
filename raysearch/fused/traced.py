"""Steps as flat lists of tensor operations: what is left of a step without vmap and autograd.

The first steps of some shape run as they are written. Then one is written down: every tensor operation
that vectorising, the backward pass and the update rule come to. On a CPU torch's script interpreter runs
that list, which takes a microsecond an operation where Python takes several; on other devices, and for
operations that the interpreter does not take, the list is run as it is. Nothing is compiled.

A list is used only after it has given what the step as written gives, with several batches. Where it does
not, or where a step cannot be written down, steps run as they are written. Metrics are treated alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves

from raysearch.fused.memory import is_out_of_memory
from raysearch.fused.recorder import written
from raysearch.fused.rewriting import quickened
from raysearch.fused.step import Block, Moment, Step

PATIENCE = 24  # steps as written before a shape is worth it: to write one down takes as long as 100
CHECKS = 2  # steps compared
TOLERANCE = 1e-5  # relative
ROUGHLY = 1e-3  # in single precision, where sums in another order end in other last digits,
ROUNDING = 1e-6  # of which more is left in a small difference of large numbers: the loss of who knows it all
MOST = 64  # shapes
DIFFERENT = "it came out different"

Run: TypeAlias = Callable[..., Any]


class Unfit(Exception):
    """A list failed, and is not used again; no weight has moved. The step can be taken as it is written."""


@dataclass(slots=True)
class Shape:
    """What runs with tensors of the same shapes: how often as written, how often compared, and the list.

    Attributes:
        names: of the metrics that the list gives.
    """

    seen: int = 0
    checked: int = 0
    run: Run | None = None
    names: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """True once the list has given what the code as written gives."""
        return self.run is not None and self.checked >= CHECKS


@dataclass(slots=True)
class Shapes:
    """What has been written down, by shape.

    Attributes:
        refused: why things run as they are written, in words; empty while nothing stands against a list.
    """

    refused: str = ""
    _shapes: dict[Hashable, Shape] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """True if there are lists in use."""
        return not self.refused and any(shape.is_known for shape in self._shapes.values())

    def shape(self, key: Hashable) -> Shape:
        """What there is for what is alike in all that a list fixes."""
        if key not in self._shapes and len(self._shapes) >= MOST:
            self._shapes.pop(next(iter(self._shapes)))
        return self._shapes.setdefault(key, Shape())


@dataclass(slots=True)
class Traces:
    """What has been written down for models of one structure: steps, and metrics."""

    steps: Shapes = field(default_factory=Shapes)
    metrics: Shapes = field(default_factory=Shapes)


def rounded(models: int) -> int:
    """The next of the sizes that steps have: powers of two, and from 64 on also one in between."""
    power = 1 << (models - 1).bit_length()
    return power * 3 // 4 if power > 64 and models <= power * 3 // 4 else power


class Steps:
    """The steps of an iteration of some rows, in the quickest way there is."""

    def __init__(self, shapes: Shapes, block: Block, step: Step) -> None:
        self._shapes, self._block, self._step = shapes, block, step
        self._given = block.tensors()
        self._flat = tree_leaves(self._given)
        self._alike = (block.names, *self._given["limits"])

    def __call__(self, at: int) -> Tensor:
        """Takes a step; (models,) losses. Raises whatever the step as written raises."""
        moment = self._block.moment(at)
        if self._shapes.refused:
            return self._step(self._given, moment)
        shape = self._shapes.shape((self._alike, tuple(moment.examples.shape)))
        if shape.run is not None and shape.is_known:
            return self._listed(shape.run, moment)
        if shape.seen >= PATIENCE:
            return self._compared(shape, moment)
        losses = self._step(self._given, moment)
        shape.seen += 1
        return losses

    def _listed(self, run: Run, moment: Moment) -> Tensor:
        try:
            with torch.no_grad():
                return run(*self._flat, *moment)  # type: ignore[no-any-return]
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._shapes.refused = in_words(error)
            raise Unfit from error

    def _compared(self, shape: Shape, moment: Moment) -> Tensor:
        """Takes a step as written, and the same one by the list on a copy."""
        given = self._copied()
        try:
            if shape.run is None:
                shape.run = self._written(moment)
            with torch.no_grad():
                mine = shape.run(*tree_leaves(given), *moment)
            trouble = ""
        except Exception as error:  # noqa: BLE001  (whatever torch raises for what it cannot write down)
            trouble = in_words(error)
        losses = self._step(self._given, moment)
        if not trouble and not agree([mine, *_results(given)], [losses, *_results(self._given)], ROUNDING):
            trouble = DIFFERENT
        self._shapes.refused = trouble
        shape.checked += 1
        return losses

    def _written(self, moment: Moment) -> Run:
        given = self._copied()
        flat = written(lambda: self._step(given, moment), [*tree_leaves(given), *moment])
        return quickest(flat, lambda: (*tree_leaves(self._copied()), *moment))

    def _copied(self) -> dict[str, Any]:
        return self._block.tensors(self._block.rows.copied(self._block.first, self._block.stop))


def quickest(flat: GraphModule, example: Callable[[], Sequence[Tensor]]) -> Run:
    """A function that does what the list says, on a CPU with quicker operations and without Python.

    Args:
        example: makes inputs, which may be changed.

    Raises:
        whatever torch raises for operations that cannot be done in this way.
    """
    if any(tensor.device.type != "cpu" for tensor in example()):
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
            if "JIT tracer" not in str(error):
                raise
            return flat
        return run


def in_words(error: Exception) -> str:
    """For a list that is not used."""
    return f"{type(error).__name__}: {error}"


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


def _results(given: dict[str, Any]) -> list[Tensor]:
    """What a step changes."""
    return [given["rows"][0], *given["vectors"].values(), *given["kept"]]


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
    one, other = (t.double().reshape(models, other.numel() // max(1, models)) for t in (one, other))
    whole = torch.isfinite(other)
    if not torch.equal(whole, torch.isfinite(one)):
        return False
    one, other = one.where(whole, 0.0), other.where(whole, 0.0)
    tolerance = ROUGHLY if rounding else TOLERANCE
    few = rounding * other.shape[1] ** 0.5 + 1e-30
    return bool(((one - other).norm(dim=1) <= tolerance * other.norm(dim=1) + few).all())
