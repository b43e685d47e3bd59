"""Optuna's TPE and its pruners as a rival on tables: a study in memory, asked and told epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna

from raysearch.core.segment import Config, Mode
from raysearch.executors.simulated import Table, UnusedRows
from raysearch.interop.write_space import config_to_optuna, optuna_to_config, to_optuna

States = optuna.trial.TrialState


class RowsOfStudy(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """An Optuna sampler whose suggestions are moved to the nearest row not yet used.

    So the study knows the values that were trained.
    """

    def __init__(
        self, inner: optuna.samplers.BaseSampler, table: Table, take: Callable[[Config], Any]
    ) -> None:
        self._inner = inner
        self._space = table.space
        self._distributions = to_optuna(table.space)
        self._take = take

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, Any]:
        """The whole space, so that all values are suggested, and moved, together."""
        return self._distributions

    def sample_relative(self, study: optuna.Study, trial: Any, search_space: Any) -> dict[str, Any]:
        """The values of the row."""
        self._inner.before_trial(study, trial)
        asked = {n: self._inner.sample_independent(study, trial, n, d) for n, d in search_space.items()}
        config = self._take(optuna_to_config(self._space, asked))
        return config_to_optuna(self._space, config)

    def sample_independent(self, study: optuna.Study, trial: Any, name: str, distribution: Any) -> Any:
        """Not asked for: all values are suggested together."""
        return self._inner.sample_independent(study, trial, name, distribution)

    def after_trial(self, study: optuna.Study, trial: Any, state: Any, values: Any) -> None:
        """Passes it on."""
        self._inner.after_trial(study, trial, state, values)


class OptunaStudy:
    """The points and the scheduler of a study: TPE with a constant liar, and a pruner."""

    def __init__(self, table: Table, seed: int, pruner: optuna.pruners.BasePruner) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = table.space
        self._distributions = to_optuna(table.space)
        self._rows = UnusedRows(table)
        tpe = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        directions: dict[Mode, str] = {"min": "minimize", "max": "maximize"}
        self._study = optuna.create_study(
            sampler=RowsOfStudy(tpe, table, self._rows.take), pruner=pruner, direction=directions[table.mode]
        )
        self._trials: dict[int, optuna.Trial] = {}
        self._last: dict[int, float] = {}

    def propose(self, trial: int) -> Config | None:
        """The row nearest to what the sampler suggests; None when all were used."""
        if self._rows.is_empty:
            return None
        self._trials[trial] = self._study.ask(self._distributions)
        return optuna_to_config(self._space, self._trials[trial].params)

    def begin(self, trial: int) -> None:
        """Known by `propose`."""

    def goes_on(self, trial: int, iteration: int, value: float) -> bool:
        """Whether the pruner lets the trial go on."""
        asked = self._trials[trial]
        asked.report(value, iteration)
        if asked.should_prune():
            self._study.tell(self._trials.pop(trial), state=States.PRUNED)
            return False
        return True

    def end(self, trial: int, iteration: int, value: float) -> None:
        """The trial was trained to the end."""
        self._trials[trial].report(value, iteration)
        self._study.tell(self._trials.pop(trial), value)

    def write(self, file: str) -> None:
        """Writes the study into a journal file of Optuna's, under the name `history`."""
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(file))
        optuna.copy_study(
            from_study_name=self._study.study_name,
            from_storage=self._study._storage,
            to_storage=storage,
            to_study_name="history",
        )

    def fail(self, trial: int) -> None:
        """The trial diverged or failed."""
        self._study.tell(self._trials.pop(trial), state=States.FAIL)
