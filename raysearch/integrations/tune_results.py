"""What a search found, answering as Ray Tune's ResultGrid does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ray import tune

from raysearch.core.nested import flat_names
from raysearch.errors import RunError
from raysearch.storage.checkpoints import checkpoints_of

if TYPE_CHECKING:
    import pandas as pd

    from raysearch.results import Results


SCOPES: Mapping[str, Callable[[list[float]], float]] = {  # of a trial's values, lower is better
    "last": lambda values: values[-1],
    "all": min,
    "avg": statistics.fmean,
    "last-5-avg": lambda values: statistics.fmean(values[-5:]),
    "last-10-avg": lambda values: statistics.fmean(values[-10:]),
}


class Grid:
    """The trials of a search, each as Ray's own `Result`; `results` is what raysearch knows of it.

    Trials that the strategy stopped count as terminated, as Ray counts them. Of a population each model is
    one, with the history of the weights that it ended with.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self._curves = results.curves()
        self._found = [self._result(row) for row in results.trials(lines=True).itertuples()]

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: int) -> Any:
        return self._found[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._found)

    @property
    def errors(self) -> list[Exception]:
        """Of the trials that failed."""
        return [result.error for result in self._found if result.error is not None]

    @property
    def num_errors(self) -> int:
        """The number of trials that failed."""
        return len(self.errors)

    @property
    def num_terminated(self) -> int:
        """The number of the others."""
        return len(self) - self.num_errors

    @property
    def filesystem(self) -> Any:
        """The one in which `experiment_path` lies, as `pyarrow.fs` has it."""
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem()

    @property
    def experiment_path(self) -> str:
        """The folder of the run."""
        return str(self.results.path)

    def get_best_result(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Any:  # fmt: skip
        """The best trial, by the metric and mode of the search if not given.

        Args:
            scope: "last" compares last values, "all" each trial's best one, "avg" means, "last-5-avg" and
                "last-10-avg" those of the last values.

        Raises:
            ValueError: another scope.
            RuntimeError: no trial reported the metric.
        """
        return self._found[self.index_of_best(metric, mode, scope, filter_nan_and_inf)]

    def index_of_best(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> int:  # fmt: skip
        """The place of `get_best_result` among the trials. Raises what that raises."""
        metric, sign = metric or self.results.metric, 1 if (mode or self.results.mode) == "min" else -1
        if scope not in SCOPES:
            raise ValueError(f"scope={scope!r}: one of {', '.join(SCOPES)}")
        scored: list[tuple[float, int]] = []
        for index, result in enumerate(self._found):
            frame = result.metrics_dataframe
            values = [] if metric not in frame or result.error is not None else frame[metric].tolist()
            values = [sign * v for v in values if math.isfinite(v) or not filter_nan_and_inf]
            if values:
                scored.append((SCOPES[scope](values), index))
        if not scored:
            raise RuntimeError(f"no trial reported {metric!r}")
        return min(scored)[1]

    def get_dataframe(self, filter_metric: str | None = None, filter_mode: str | None = None) -> pd.DataFrame:
        """One row a trial: its last report, or the best by `filter_metric`; `config/...` are its values."""
        import pandas as pd

        rows = []
        for number, result in enumerate(self._found):
            frame, row = result.metrics_dataframe, {}
            if len(frame):
                at = len(frame) - 1
                if filter_metric is not None:
                    best = (
                        frame[filter_metric].idxmin if filter_mode == "min" else frame[filter_metric].idxmax
                    )
                    at = int(best())
                row = _row(frame, at)
            config = {f"config/{name}": value for name, value in flat_names(result.config, "/").items()}
            rows.append({**row, "trial_id": str(number), **config, "logdir": result.path})
        return pd.DataFrame(rows)

    def _result(self, row: Any) -> Any:
        curves = self._curves
        is_own = curves.trial == row.trial
        if self.results.raised is not None:
            is_own = curves.segment.isin(self.results.lineage(row.trial).id)
        own = curves[is_own].sort_values("iteration").reset_index(drop=True)
        frame = own.drop(columns=["trial", "segment"]).rename(columns={"iteration": "training_iteration"})
        config = {**self.results.spec.get("config", {}), **self.results.configs_by_trial()[row.trial]}
        last = _row(frame, -1) if len(frame) else {}
        store, name = checkpoints_of(self.results.path), row.checkpoint
        is_kept = isinstance(name, str) and bool(name) and store.exists(name)
        checkpoint = tune.Checkpoint(str(store.path(name))) if is_kept else None
        metrics = {**last, "config": config, "done": True, "trial_id": str(row.trial)}
        return tune.Result(
            metrics=metrics,
            checkpoint=checkpoint,
            error=RunError(row.error) if row.status == "failed" else None,
            path=str(self.results.path),
            metrics_dataframe=frame,
            best_checkpoints=[(checkpoint, metrics)] if checkpoint is not None else [],
        )


def _row(frame: pd.DataFrame, at: int) -> dict[str, Any]:
    """A row with each column's own type: `iloc[at]` of a frame makes its whole numbers floats."""
    values = {str(name): column.iloc[at] for name, column in frame.items()}
    return {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
