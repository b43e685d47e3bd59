"""Metrics of several models of one structure at once, by a list of operations once that is proved equal."""

from __future__ import annotations

import torch
from torch import Tensor

from raysearch.core.error_text import in_words
from raysearch.core.library_errors import is_out_of_memory
from raysearch.fused.data import Batch, mapped
from raysearch.fused.graph_capture import written
from raysearch.fused.memory import let_go
from raysearch.fused.op_list import DIFFERENT, ROUNDING, agree, quickest
from raysearch.fused.traced_shapes import LATER, Shapes, TracedShape
from raysearch.fused.vmap_engine import Engine, Inputs

PATIENCE = 6  # batches run as written before a list for their shape pays


class Judge:
    """The metrics of some rows."""

    def __init__(self, shapes: Shapes, engine: Engine, inputs: Inputs) -> None:
        self._shapes, self._engine, self._inputs = shapes, engine, inputs

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """metric -> (models,) or (models, examples, ...). Raises the errors of the learner's method."""
        if self._shapes.refused:
            return self._engine.metrics(self._inputs, batch)
        given = self._given(batch)
        shape = self._shapes.shape(tuple(tuple(tensor.shape) for tensor in given))
        if shape.is_known:
            return self._listed(shape, given, batch)
        found = self._engine.metrics(self._inputs, batch)
        shape.seen += 1
        if shape.seen > PATIENCE:
            self._compare(shape, given, batch, found)
        return found

    def _given(self, batch: Batch) -> list[Tensor]:
        given = [*self._inputs.values, self._inputs.lifted]
        mapped(given.append, batch)
        return given

    def _listed(self, shape: TracedShape, given: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        assert shape.run is not None
        try:
            with torch.no_grad():
                return dict(zip(shape.names, shape.run(*given), strict=True))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._shapes.refused = in_words(error)
            return self._engine.metrics(self._inputs, batch)

    def _compare(
        self, shape: TracedShape, given: list[Tensor], batch: Batch, found: dict[str, Tensor]
    ) -> None:
        """Makes the list, and notes whether it gives the same metrics as the code as written."""
        try:
            if shape.run is None:
                shape.names = tuple(found)
                flat = written(lambda: tuple(self._engine.metrics(self._inputs, batch).values()), given)
                shape.run = quickest(flat, lambda: given)
            with torch.no_grad():
                mine = shape.run(*given)
            trouble = "" if agree(list(mine), list(found.values()), ROUNDING) else DIFFERENT
        except Exception as error:  # noqa: BLE001  (whatever torch raises for what it cannot write down)
            let_go(error)
            if is_out_of_memory(error):
                shape.seen -= LATER
                return
            trouble = in_words(error)
        self._shapes.refused = trouble
        shape.checked += 1
