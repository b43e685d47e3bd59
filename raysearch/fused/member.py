"""Members of packs: one model in training as numbers, from a Learner and a configuration."""

from __future__ import annotations

import numpy as np

from raysearch.core.values import is_number
from raysearch.errors import TrainableError
from raysearch.fused.contract import Config, Describes, PackMember
from raysearch.fused.optimizers import Rule
from raysearch.fused.schedules import scales_of


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
