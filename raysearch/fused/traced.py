"""Steps as flat lists of tensor operations: what is left of a step without vmap and autograd.

The first steps of some shape run as they are written. Then one is written down: every tensor operation
that vectorising, the backward pass and the update rule come to. On a CPU torch's script interpreter runs
that list, which takes a microsecond an operation where Python takes several; on other devices, and for
operations that the interpreter does not take, the list is run as it is. Nothing is compiled, unless the
Learner asks for it: see compiled.py.

A list is used only after it has given what the step as written gives, with several batches. Where it does
not, or where a step cannot be written down, steps run as they are written.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves

from raysearch.fused.compiled import WORTH_S, Library, inputs_of, listed
from raysearch.fused.memory import is_out_of_memory
from raysearch.fused.recorder import written
from raysearch.fused.rows import Rows
from raysearch.fused.step import Block, Moment, Step

PATIENCE = 24  # steps as written before a shape is worth it: to write one down takes as long as 100
CHECKS = 2  # steps compared
TOLERANCE = 1e-5  # relative; both do the same operations, so they differ by the order of sums at most
MOST = 64  # shapes

Run: TypeAlias = Callable[..., Tensor]


class Unfit(Exception):
    """A list failed, and is not used again; no weight has moved. The step can be taken as it is written."""


@dataclass(slots=True)
class _Shape:
    """Steps of one shape: how many have run as written, how many were compared, and the list.

    Attributes:
        spent_s: in steps by the list.
        proved: compiled steps that were compared.
        library: the step in compilation, or compiled.
    """

    seen: int = 0
    checked: int = 0
    run: Run | None = None
    spent_s: float = 0.0
    proved: int = 0
    library: Library | None = None


@dataclass(slots=True)
class Traces:
    """What has been written down for models of one structure.

    Attributes:
        refused: why steps run as they are written, in words; empty while nothing stands against it.
        compile: as in `Learner`.
        uncompiled: why steps are not compiled though they should be, in words.
    """

    refused: str = ""
    compile: bool | str = False
    uncompiled: str = ""
    _shapes: dict[Hashable, _Shape] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """True if there are lists in use."""
        return not self.refused and any(shape.checked >= CHECKS for shape in self._shapes.values())

    @property
    def proven(self) -> bool:
        """True if compiled steps are in use."""
        return not self.uncompiled and any(shape.proved >= CHECKS for shape in self._shapes.values())

    def wants(self, shape: _Shape) -> bool:
        """True if the steps of this shape should be compiled now, which are not; one after the other."""
        if not self.compile or self.uncompiled or shape.library is not None:
            return False
        if self.compile == "auto" and shape.spent_s < WORTH_S:
            return False
        return not any(each.library and each.library.is_busy() for each in self._shapes.values())

    def shape(self, key: Hashable) -> _Shape:
        """What there is for steps that are alike in all that a list fixes."""
        if key not in self._shapes and len(self._shapes) >= MOST:
            self._shapes.pop(next(iter(self._shapes)))
        return self._shapes.setdefault(key, _Shape())


def rounded(models: int) -> int:
    """The next of the sizes that steps have: powers of two, and from 64 on also one in between."""
    power = 1 << (models - 1).bit_length()
    return power * 3 // 4 if power > 64 and models <= power * 3 // 4 else power


class Steps:
    """The steps of an iteration of some rows, in the quickest way there is."""

    def __init__(self, traces: Traces, block: Block, step: Step) -> None:
        self._traces, self._block, self._step = traces, block, step
        self._given = block.tensors()
        self._flat = tree_leaves(self._given)
        self._alike = (block.names, *self._given["limits"])

    def __call__(self, at: int) -> Tensor:
        """Takes a step; (models,) losses. Raises whatever the step as written raises."""
        moment = self._block.moment(at)
        if self._traces.refused:
            return self._step(self._given, moment)
        shape = self._traces.shape((self._alike, tuple(moment.examples.shape)))
        if shape.run is not None and shape.checked >= CHECKS:
            return self._quickly(shape, moment)
        if shape.seen >= PATIENCE:
            return self._compared(shape, moment)
        losses = self._step(self._given, moment)
        shape.seen += 1
        return losses

    def _quickly(self, shape: _Shape, moment: Moment) -> Tensor:
        """By the list, or compiled."""
        traces = self._traces
        if traces.wants(shape):
            self._compile(shape, moment)
        if shape.library is not None and not traces.uncompiled:
            if shape.library.ready():
                way = self._compiled if shape.proved >= CHECKS else self._proved
                return way(shape, shape.library, moment)
            traces.uncompiled = shape.library.trouble
        began = time.perf_counter()
        losses = self._listed(shape, moment)
        shape.spent_s += time.perf_counter() - began
        return losses

    def _compile(self, shape: _Shape, moment: Moment) -> None:
        try:
            shape.library = Library(*listed(self._step, self._block, moment))
        except Exception as error:  # noqa: BLE001  (a home that is full or read only, a list that is no file)
            self._traces.uncompiled = f"{type(error).__name__}: {error}"

    def _compiled(self, shape: _Shape, library: Library, moment: Moment) -> Tensor:
        try:
            return library(inputs_of(self._block, moment))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._traces.uncompiled = f"{type(error).__name__}: {error}"
            raise Unfit from error

    def _listed(self, shape: _Shape, moment: Moment) -> Tensor:
        assert shape.run is not None
        try:
            with torch.no_grad():
                return shape.run(*self._flat, *moment)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._traces.refused = f"{type(error).__name__}: {error}"
            raise Unfit from error

    def _compared(self, shape: _Shape, moment: Moment) -> Tensor:
        """Takes a step as written, and the same one by the list on a copy."""

        def listed_on(rows: Rows) -> Tensor:
            if shape.run is None:
                shape.run = traced(self._step, self._block, moment)
            with torch.no_grad():
                return shape.run(*tree_leaves(self._block.tensors(rows)), *moment)

        losses, self._traces.refused = self._both(lambda: self._step(self._given, moment), listed_on)
        shape.checked += 1
        return losses

    def _proved(self, shape: _Shape, library: Library, moment: Moment) -> Tensor:
        """Takes a step by the list, and the same one compiled on a copy."""

        def compiled_on(rows: Rows) -> Tensor:
            return library(inputs_of(self._block, moment, rows))

        losses, self._traces.uncompiled = self._both(lambda: self._listed(shape, moment), compiled_on)
        shape.proved += 1
        return losses

    def _both(self, known: Callable[[], Tensor], new: Callable[[Rows], Tensor]) -> tuple[Tensor, str]:
        """The losses of a step in the known way, and what is wrong with the new way, taken on a copy."""
        rows = self._block.rows.copied(self._block.first, self._block.stop)
        trouble = ""
        try:
            mine = new(rows)
        except Exception as error:  # noqa: BLE001  (whatever torch raises for what it cannot do)
            trouble = f"{type(error).__name__}: {error}"
        losses = known()
        if not trouble:
            ours, theirs = (_results(given) for given in (self._block.tensors(rows), self._given))
            trouble = "" if _agree([mine, *ours], [losses, *theirs]) else "it came out different"
        return losses, trouble


def traced(step: Step, block: Block, moment: Moment) -> Run:
    """A function of the block's tensors and the moment's that does what the step does to them.

    Raises:
        whatever torch raises for a step that cannot be written down; RuntimeError where it looks at values.
    """
    given = block.tensors(block.rows.copied(block.first, block.stop))
    flat = written(lambda: step(given, moment), [*tree_leaves(given), *moment])
    if block.rows.device.type != "cpu":
        return flat
    example = (*tree_leaves(block.tensors(block.rows.copied(block.first, block.stop))), *moment)
    return _scripted(flat, example)


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


def _agree(mine: list[Tensor], theirs: list[Tensor]) -> bool:
    """True where all values are as good as equal, model by model; what is not finite, in the same places."""
    return all(_agrees(one, other) for one, other in zip(mine, theirs, strict=True))


def _agrees(one: Tensor, other: Tensor) -> bool:
    if not one.is_floating_point():
        return torch.equal(one, other)
    one, other = one.reshape(len(one), -1).double(), other.reshape(len(other), -1).double()
    whole = torch.isfinite(other)
    if not torch.equal(whole, torch.isfinite(one)):
        return False
    one, other = one.where(whole, 0.0), other.where(whole, 0.0)
    return bool(((one - other).norm(dim=1) <= TOLERANCE * other.norm(dim=1) + 1e-30).all())
