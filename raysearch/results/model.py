"""The trained model that a run hands over: where it is, and of which training.

A finish picks its winner by whole trainings on fresh seeds, so the model is one of those: that of a trial of
the search may have been trained for a rung only. Without a finish it is the one that the search trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.core.formatting import number
from raysearch.errors import CheckpointError
from raysearch.storage.checkpoints import checkpoints_of
from raysearch.storage.checkpoints.meta import read_meta
from raysearch.storage.paths import CHECKPOINT_META

if TYPE_CHECKING:
    from raysearch.results.run_rows import RunRows

DIGITS = 5


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model, in a folder as its trainable saved it.

    Attributes:
        path: the folder.
        iteration: after which it was saved.
        horizon: iterations of a whole training; None if the strategy does not say.
        value: the metric there; NaN if it is not known.
        seed: of its training, which the trainable finds under `seed_as`.
        of_seeds: of how many seeds of the finish it is the best; 0 for a model of the search.

    >>> model = results.best.model
    >>> model.iteration, model.horizon, model.of_seeds
    (9, 9, 3)
    """

    path: Path
    iteration: int
    horizon: int | None
    value: float
    seed: int
    of_seeds: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it was trained as long as a training lasts."""
        return self.horizon is None or self.iteration >= self.horizon

    def words(self, metric: str) -> str:
        """How long it was trained, and in which training.

        >>> results.best.model.words("loss")
        'trained 9 of 9 iterations, seed ... of the finish: loss 0.39567, the best of its 3 seeds'
        """
        trained = f"trained {reach(self.iteration, self.horizon)} iterations"
        if not self.of_seeds:
            return f"{trained}, in the search"
        seed = f"{trained}, seed {self.seed} of the finish"
        if math.isnan(self.value):
            return seed
        value = f"{seed}: {metric} {number(self.value, DIGITS)}"
        return value if self.of_seeds == 1 else f"{value}, the best of its {self.of_seeds} seeds"


def reach(iteration: int, horizon: int | None) -> str:
    """`9 of 27`: how far a training came; `9` where its whole length is not known.

    >>> reach(1000, 2000), reach(9, None)
    ('1,000 of 2,000', '9')
    """
    return f"{iteration:,}" if horizon is None else f"{iteration:,} of {horizon:,}"


def horizon_of(run: RunRows) -> int | None:
    """Iterations of a whole training; None if the strategy does not say, or less than was trained."""
    said, reached = run.horizon, run.segments.reached
    return None if said is not None and len(reached) and reached.max() > said else said


def model_of(run: RunRows, root: Path, row: int, of_seeds: int = 0) -> Model | None:
    """The model at the end of the segment in this row; None if no checkpoint of it is there."""
    segments = run.segments
    name = segments.table["checkpoint"][row].as_py()
    checkpoints = checkpoints_of(root)
    if name is None or not checkpoints.exists(name):
        return None
    path = checkpoints.path(name)
    start, reached = int(segments.integers("start")[row]), int(segments.reached[row])
    iteration = _saved_at(path, reached)
    first, stop = (int(ends[row]) for ends in segments.spans.get(segments.metric, ([0] * (row + 1),) * 2))
    at = first + iteration - start - 1
    value = float(segments.values[1][at]) if first <= at < stop else math.nan
    return Model(path, iteration, horizon_of(run), value, int(segments.integers("seed")[row]), of_seeds)


def _saved_at(path: Path, reached: int) -> int:
    """The iteration that the note beside a checkpoint says; where it has none, that of the segment's end."""
    try:
        return int(read_meta(path)["iteration"])
    except CheckpointError as error:
        if isinstance(error.__cause__, PermissionError):  # it may well be whole
            raise
        if not (path / CHECKPOINT_META).exists():
            return reached
        raise CheckpointError(
            f"{error}. Delete {path}, which a resume grows again where it needs it"
        ) from None
