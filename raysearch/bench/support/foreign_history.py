"""A task's history as Optuna leaves it: a study over a table, written by Optuna, read by `memory import`."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.executors.simulated import Table
from raysearch.interop.history import Asked, read_past
from raysearch.workflows.memory.importing import Meaning, record_from
from raysearch.workflows.memory.recall import Record

if TYPE_CHECKING:
    from raysearch.bench.support.optuna_rival import OptunaStudy

SEED = 1000  # of studies, beside those of the searches that begin from them


def foreign_record(name: str, table: Table, trials: int) -> Record:
    """The imported record of a study of so many trials: TPE, median pruner, one worker."""
    import optuna

    from raysearch.bench.support.optuna_rival import OptunaStudy

    study = OptunaStudy(table, SEED, optuna.pruners.MedianPruner())
    rows = {str(sorted(config.items())): row for row, config in enumerate(table.configs)}
    for trial in range(min(trials, len(table.configs))):
        config = study.propose(trial)
        if config is None:
            break
        curve = table.values[rows[str(sorted(config.items()))]]
        _train(study, trial, [float(v) for v in curve])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.log"
        study.write(str(file))
        past = read_past(file, Asked())
    meaning = Meaning(metric=table.metric, space=table.space, steps_per_iteration=1)
    return record_from(past, meaning, task=name, source="optuna", now=0.0).record


def _train(study: OptunaStudy, trial: int, curve: list[float]) -> None:
    for iteration, value in enumerate(curve, 1):
        if not math.isfinite(value):
            study.fail(trial)
            return
        if iteration < len(curve) and not study.goes_on(trial, iteration, value):
            return
    study.end(trial, len(curve), curve[-1])
