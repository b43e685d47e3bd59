"""MLflow: an experiment of the search's name, a run for the search and one below it for each trial or member.

MLflow's own MLFLOW_TRACKING_URI says where. Runs carry the tag `raysearch.run`; runs that were sent earlier
under the same tag are deleted first, so that each is there once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from raysearch.results.results import Results
from raysearch.storage.journal.reading import read_events
from raysearch.tracking.rows import Feed, run_id

if TYPE_CHECKING:
    from raysearch.storage.paths import RunPaths

BATCH = 500  # metrics in one request; MLflow takes up to 1,000


class MLflow:
    """A sink; see raysearch.tracking.sinks."""

    def __init__(self, paths: RunPaths) -> None:
        self._client = MlflowClient()
        results = Results(paths.root)
        self._name = results.digest.name
        self._began = next((e.at for e in read_events(paths.journal) if e.kind == "start"), 0.0)
        self._identity = run_id(self._name, self._began, "search")
        found = self._client.get_experiment_by_name(self._name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(self._name)
        self._runs: dict[str, str] = {}
        self._waiting: dict[str, list[Any]] = {}
        self._forget()

    def log(self, feed: Feed, row: Mapping[str, Any], number: int) -> None:
        """Every number of a row as a metric, at its training iteration, or its number in the search's own run."""  # noqa: E501
        step = int(row.get("training_iteration", number))
        at = int(self._began * 1000) + number
        waiting = self._waiting.setdefault(self._run(feed), [])
        waiting += [
            Metric(_named(name), float(value), at, step)
            for name, value in row.items()
            if isinstance(value, (int, float))
            and not isinstance(value, bool)
            and name != "training_iteration"
        ]
        if len(waiting) >= BATCH:
            self._flush(self._run(feed))

    def end(self, feeds: Sequence[Feed]) -> None:
        """Sends configurations and summaries, and finishes the runs."""
        for feed in feeds:
            run = self._run(feed)
            self._flush(run)
            params = [Param(_named(name), str(value)[:6000]) for name, value in feed.config.items()]
            tags = [RunTag(f"raysearch.{_named(n)}", str(v)[:5000]) for n, v in feed.summary.items()]
            self._client.log_batch(run, params=params, tags=tags)
            self._client.set_terminated(run)

    def _run(self, feed: Feed) -> str:
        if feed.key not in self._runs:
            tags = {"raysearch.run": self._identity, "raysearch.kind": feed.kind, "mlflow.runName": feed.name}
            if feed.kind != "search" and "search" in self._runs:
                tags["mlflow.parentRunId"] = self._runs["search"]
            self._runs[feed.key] = self._client.create_run(self._experiment, tags=tags).info.run_id
        return self._runs[feed.key]

    def _flush(self, run: str) -> None:
        waiting = self._waiting.pop(run, [])
        for at in range(0, len(waiting), BATCH):
            self._client.log_batch(run, metrics=waiting[at : at + BATCH])

    def _forget(self) -> None:
        wanted = f"tags.`raysearch.run` = '{self._identity}'"
        for run in self._client.search_runs([self._experiment], wanted, max_results=50_000):
            self._client.delete_run(run.info.run_id)


def _named(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)[:250]


def make(paths: RunPaths) -> MLflow:
    """The sink of a run."""
    return MLflow(paths)
