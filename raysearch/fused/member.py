"""One model in training as numbers: its configuration, rule, seed and age; and the contract of a Learner."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from torch import Tensor, nn

from raysearch.core.library_errors import NUMPY_ARRAY_AS_TRUTH
from raysearch.core.values import is_number
from raysearch.errors import TrainableError
from raysearch.fused.optimizers import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

Config = Mapping[str, Any]
Report: TypeAlias = dict[str, Any]
WHERE = "numpy.where(steps < 3, 1.0, 0.1), for one"


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


def member(learner: Describes, config: Config, seed: int, at: int = 0) -> PackMember:
    """A member for this configuration.

    The schedule is called once, so that an error in it fails this model alone and not its pack.

    Raises:
        SpecError: the configuration names an unknown optimizer, or a value that the optimizer does not take.
        TrainableError: a batch size below 1, no schedule or rule, a norm, decay or seed out of its range.
    """
    if not -(2**63) <= seed < 2**63:
        raise TrainableError(f"seed: {seed} must be less than 2^63, and no less than -2^63")
    scales_of(learner, np.zeros(2, dtype=np.int64), config)
    rule, clip, ema = learner.optimizer(config), learner.clip(config), learner.ema(config)
    if not isinstance(rule, Rule):
        raise TrainableError(
            f"optimizer returned a {type(rule).__name__}: return a rule of raysearch.torch (SGD, Adam, "
            "AdamW, Lion), or one derived from raysearch.torch.Rule"
        )
    if clip is not None and (not is_number(clip) or not clip >= 0):
        raise TrainableError(f"clip_norm: {clip!r} must be a number, 0 (no limit) or more")
    if ema is not None and (not is_number(ema) or not 0 <= ema < 1):
        raise TrainableError(f"ema_decay: {ema!r} must be a number, at least 0 and below 1")
    size = learner.batch_size_of(config)
    if size < 1:
        raise TrainableError(f"batch_size: {size} must be at least 1")
    return PackMember(seed, config, at, rule, size, clip, ema)


def steps_of(learner: Describes, batch_size: int, examples: int) -> int:
    """Optimizer steps in an iteration: `learner.steps`, or one pass over the examples."""
    if learner.steps is not None:
        return learner.steps
    return max(1, examples // batch_size) if learner.drop_last else -(-examples // batch_size)


def scales_of(learner: Describes, steps: NDArray[np.int64], config: Config) -> NDArray[np.float64]:
    try:
        found = learner.schedule(steps, config)
    except ValueError as error:
        if not NUMPY_ARRAY_AS_TRUTH.is_in(error):
            raise
        raise TrainableError(
            f"schedule: {error}. It is asked for many steps at once, an array: {WHERE}"
        ) from None
    if found is not None:  # which would be no number, as an array
        with contextlib.suppress(TypeError, ValueError):
            return np.broadcast_to(np.asarray(found, dtype=np.float64), steps.shape)
    raise TrainableError(
        f"schedule returned a {type(found).__name__} of shape {np.shape(found)} for {len(steps)} steps: "
        f"return a number, or one for each step: {WHERE}"
    )
