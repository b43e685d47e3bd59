"""How many steps an iteration has, and the factor of the learning rate at each."""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from raysearch.core.library_errors import NUMPY_ARRAY_AS_TRUTH
from raysearch.errors import TrainableError
from raysearch.fused.contract import Config, Describes

WHERE = "numpy.where(steps < 3, 1.0, 0.1), for one"


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
