"""Steps as flat lists of tensor operations: what is left of a step without vmap and autograd.

The first steps of some shape run as they are written. Then one is written down: every tensor operation
that vectorising, the backward pass and the update rule come to. On a CPU torch's script interpreter runs
that list, which takes a microsecond an operation where Python takes several; on other devices, and for
operations that the interpreter does not take, the list is run as it is. Nothing is compiled, unless the
Learner asks for it: see compiled.py.

A list is used only after it has given what the step as written gives, with several batches. Where it does
not, or where a step cannot be written down, steps run as they are written. Metrics are treated alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from raysearch.core.error_text import in_words
from raysearch.core.library_errors import is_out_of_memory
from raysearch.fused.compile_cache import Library, inputs_of, listed
from raysearch.fused.graph_capture import written
from raysearch.fused.memory import let_go
from raysearch.fused.op_list import DIFFERENT, ROUNDING, Run, agree, quickest
from raysearch.fused.packed_state import Rows
from raysearch.fused.plan import Moment
from raysearch.fused.traced_shapes import CHECKS, LATER, StepShapes, TracedShape

if TYPE_CHECKING:
    from raysearch.fused.step import Step, StepBlock

PATIENCE = 24  # steps as written before a shape is worth it: to write one down takes as long as 100


class Unfit(Exception):
    """A list failed, and is not used again; no weight has moved. The step can be taken as it is written."""


def rounded(models: int) -> int:
    """The next of the sizes that steps have: 1, 4, 16, 32, 64, and then 96, 128, 192, 256, ...

    Few: each has to be written down, and up to 16 small models take hardly longer than 4.
    """
    if models <= 16:
        return next(size for size in (1, 4, 16) if models <= size)
    power = 1 << (models - 1).bit_length()
    return power * 3 // 4 if power > 64 and models <= power * 3 // 4 else power


class Steps:
    """The steps of an iteration of some rows, in the quickest way there is."""

    def __init__(self, shapes: StepShapes, block: StepBlock, step: Step) -> None:
        self._shapes, self._block, self._step = shapes, block, step
        self._given = block.tensors()
        self._moments = block.moments()
        self._flat = tree_leaves(self._given)
        self._alike = (block.names, *self._given["limits"])

    def __call__(self, at: int) -> Tensor:
        """Takes a step; (models,) losses. Raises whatever the step as written raises."""
        moment = self._moments[at]
        if self._shapes.refused:
            return self._step(self._given, moment)
        shape = self._shapes.shape((self._alike, tuple(moment.examples.shape)))
        if shape.is_known:
            return self._quickly(shape, moment)
        if shape.seen >= PATIENCE:
            return self._compared(shape, moment)
        losses = self._step(self._given, moment)
        shape.seen += 1
        return losses

    def _quickly(self, shape: TracedShape, moment: Moment) -> Tensor:
        """By the list, or compiled."""
        shapes = self._shapes
        if shapes.wants(shape):
            self._compile(shape, moment)
        if shape.library is not None and not shapes.uncompiled:
            if shape.library.ready():
                way = self._compiled if shape.proved >= CHECKS else self._proved
                return way(shape, shape.library, moment)
            shapes.uncompiled = shape.library.trouble
        began = time.perf_counter()
        losses = self._listed(shape, moment)
        shape.spent_s += time.perf_counter() - began
        return losses

    def _compile(self, shape: TracedShape, moment: Moment) -> None:
        try:
            shape.library = Library(*listed(self._step, self._block, moment))
        except Exception as error:  # noqa: BLE001  (a home that is full or read only, a list that is no file)
            self._shapes.uncompiled = in_words(error)

    def _compiled(self, shape: TracedShape, library: Library, moment: Moment) -> Tensor:
        try:
            return library(inputs_of(self._block, moment))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._shapes.uncompiled = in_words(error)
            raise Unfit from error

    def _listed(self, shape: TracedShape, moment: Moment) -> Tensor:
        assert shape.run is not None
        try:
            with torch.no_grad():
                losses: Tensor = shape.run(*self._flat, *moment)
            return losses
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._shapes.refused = in_words(error)
            raise Unfit from error

    def _compared(self, shape: TracedShape, moment: Moment) -> Tensor:
        """Takes a step as written, and the same one by the list on a copy."""

        def listed_on(rows: Rows) -> Tensor:
            if shape.run is None:
                shape.run = traced(self._step, self._block, moment)
            with torch.no_grad():
                losses: Tensor = shape.run(*tree_leaves(self._block.tensors(rows)), *moment)
            return losses

        losses, trouble = self._both(lambda: self._step(self._given, moment), listed_on)
        if trouble is None:
            shape.seen -= LATER
        else:
            self._shapes.refused = trouble
            shape.checked += 1
        return losses

    def _proved(self, shape: TracedShape, library: Library, moment: Moment) -> Tensor:
        """Takes a step by the list, and the same one compiled on a copy."""

        def compiled_on(rows: Rows) -> Tensor:
            return library(inputs_of(self._block, moment, rows))

        losses, trouble = self._both(lambda: self._listed(shape, moment), compiled_on)
        if trouble is not None:
            self._shapes.uncompiled = trouble
            shape.proved += 1
        return losses

    def _both(self, known: Callable[[], Tensor], new: Callable[[Rows], Tensor]) -> tuple[Tensor, str | None]:
        """The losses of a step in the known way, and what is wrong with the new way, taken on a copy.

        None where memory does not suffice for both: the step has been taken all the same.
        """
        mine: Tensor | Exception
        try:
            rows = self._block.rows.copied(self._block.first, self._block.stop)
            mine = new(rows)
        except Exception as error:  # noqa: BLE001  (whatever torch raises for what it cannot do)
            let_go(error)
            mine = error
        losses = known()
        try:
            if isinstance(mine, Exception):
                raise mine
            ours, theirs = (_results(given) for given in (self._block.tensors(rows), self._given))
            return losses, "" if agree([mine, *ours], [losses, *theirs], ROUNDING) else DIFFERENT
        except Exception as error:  # noqa: BLE001  (as above)
            return losses, None if is_out_of_memory(error) else in_words(error)


def traced(step: Step, block: StepBlock, moment: Moment) -> Run:
    """A function of the block's tensors and the moment's that does what the step does to them.

    Raises:
        whatever torch raises for a step that cannot be written down; RuntimeError where it looks at values.
    """

    def copied() -> dict[str, Any]:
        return block.tensors(block.rows.copied(block.first, block.stop))

    given = copied()
    flat = written(lambda: step(given, moment), [*tree_leaves(given), *moment])
    return quickest(flat, lambda: (*tree_leaves(copied()), *moment))


def _results(given: dict[str, Any]) -> list[Tensor]:
    """What a step changes."""
    return [given["rows"][0], *given["vectors"].values(), *given["kept"]]
