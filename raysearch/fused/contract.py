"""What the fused trainer knows of a model: the contract of a Learner, and a model in training as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from torch import Tensor, nn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raysearch.fused.optimizers import Rule

Config = Mapping[str, Any]
Report: TypeAlias = dict[str, Any]


class Describes(Protocol):
    """What the fused trainer needs of a Learner: one model, its data options and its rule."""

    steps: int | None
    drop_last: bool
    evaluate_at_once: int
    paired: Mapping[str, int]
    precision: str
    compile: bool | str

    def model(self, config: Config) -> nn.Module: ...
    def loss(self, model: Any, batch: Any, config: Config) -> Tensor: ...
    def metrics(self, model: Any, batch: Any) -> Mapping[str, Tensor]: ...
    def optimizer(self, config: Config) -> Rule: ...
    def schedule(self, steps: NDArray[np.int64], config: Config) -> Any: ...
    def clip(self, config: Config) -> float | None: ...
    def ema(self, config: Config) -> float | None: ...
    def batch_size_of(self, config: Config) -> int: ...


@dataclass(slots=True)
class PackMember:
    """One model in training as numbers; its weights are in a row.

    Attributes:
        at: iterations trained.
    """

    seed: int
    config: Config
    at: int
    rule: Rule
    batch_size: int
    clip: float | None
    ema: float | None

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors beside the parameters."""
        return (*self.rule.slots, *(("ema",) if self.ema is not None else ()))
