"""What has been written down as lists of operations, by the shapes of the tensors that a list fixes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from raysearch.fused.compile_cache import WORTH_S, Library
from raysearch.fused.op_list import Run

CHECKS = 2  # steps compared
MOST = 64  # shapes
LATER = 1000  # steps until one is compared again where memory ran out over it


@dataclass(slots=True)
class TracedShape:
    """What runs with tensors of the same shapes: how often as written, how often compared, and the list.

    Attributes:
        names: of the metrics that the list gives.
        spent_s: in steps by the list.
        proved: compiled steps that were compared.
        library: the step in compilation, or compiled.
    """

    seen: int = 0
    checked: int = 0
    run: Run | None = None
    names: tuple[str, ...] = ()
    spent_s: float = 0.0
    proved: int = 0
    library: Library | None = None

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
    _shapes: dict[Hashable, TracedShape] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """True if there are lists in use."""
        return not self.refused and any(shape.is_known for shape in self._shapes.values())

    def shape(self, key: Hashable) -> TracedShape:
        """What there is for what is alike in all that a list fixes."""
        if key not in self._shapes:
            if len(self._shapes) >= MOST:
                self._shapes.pop(next(iter(self._shapes)))
            self._shapes[key] = TracedShape()
        return self._shapes[key]


@dataclass(slots=True)
class StepShapes(Shapes):
    """The same of steps, which can be compiled too.

    Attributes:
        compile: as in `Learner`.
        uncompiled: why steps are not compiled though they should be, in words.
    """

    compile: bool | str = False
    uncompiled: str = ""

    @property
    def proven(self) -> bool:
        """True if compiled steps are in use."""
        return not self.uncompiled and any(shape.proved >= CHECKS for shape in self._shapes.values())

    def wants(self, shape: TracedShape) -> bool:
        """True if the steps of this shape should be compiled now, which are not; one after the other."""
        if not self.compile or self.uncompiled or shape.library is not None:
            return False
        if self.compile == "auto" and shape.spent_s < WORTH_S:
            return False
        return not any(each.library and each.library.is_busy() for each in self._shapes.values())


@dataclass(slots=True)
class Traces:
    """What has been written down for models of one structure: steps, and metrics."""

    steps: StepShapes = field(default_factory=StepShapes)
    metrics: Shapes = field(default_factory=Shapes)
