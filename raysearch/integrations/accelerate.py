"""Accelerate: a loop of one's own reports what it logs to the search, and goes on from its saved state.

    from raysearch.integrations.accelerate import SearchTracker

    def train(config):
        tracker = SearchTracker(config, metric="val_loss")
        accelerator = Accelerator(log_with=tracker)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        accelerator.init_trackers("search")
        for epoch in range(tracker.resume(accelerator), config["max_iterations"]):
            ...
            accelerator.log({"val_loss": loss}, step=epoch)

Called outside a search, `train` is what it was: the tracker does nothing, `resume` returns 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import accelerate
from accelerate.tracking import GeneralTracker

from raysearch.errors import TrainableError
from raysearch.integrations import session

__all__ = ["SearchTracker"]

PROCESSES = (
    "the Accelerator trains in {count} processes, and a trial has {have}: give it as many in "
    "`workers.processes`"
)
UNKNOWN = (
    "SearchTracker does not know its accelerator: after accelerator.prepare(...), begin the loop with "
    "range(tracker.resume(accelerator), ...)"
)


class SearchTracker(GeneralTracker):  # type: ignore[misc]
    """A tracker for `Accelerator(log_with=...)`: what is logged is an iteration, with its state.

    The state is what `accelerator.save_state` writes: model, optimizers, schedulers, samplers, what was
    registered for it, random generators. It lies in a folder of the search: nothing is written to the
    `project_dir`. When the strategy ends the trial, `accelerator.log` does not return.
    """

    name = "raysearch"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, config: Mapping[str, Any] | None = None, *, metric: str | None = None) -> None:
        """
        Args:
            config: the trial's configuration, which the function was given; `tracker` gives it back.
            metric: a log that holds it ends an iteration, and what was logged since the last one goes with
                it; None: each log is an iteration.
        """
        super().__init__()
        self._config = dict(config or {})
        self._metric = metric
        self._logged: dict[str, float] = {}
        self._iterations = 0
        self._accelerator: accelerate.Accelerator | None = None

    @property
    def tracker(self) -> dict[str, Any]:
        """The trial's configuration."""
        return self._config

    def resume(self, accelerator: accelerate.Accelerator) -> int:
        """Loads the state from which this trial goes on, if there is one; returns its iterations so far.

        Call it after `accelerator.prepare`, before the loop. 0 for a fresh model, and outside a search.

        Raises:
            TrainableError: the accelerator trains in several processes.
            CheckpointError: the file of the random generators is torn.
        """
        self._accelerator = accelerator
        if not session.is_searching():
            return 0
        if accelerator.num_processes != session.processes():
            raise TrainableError(PROCESSES.format(count=accelerator.num_processes, have=session.processes()))
        folder = session.checkpoint_folder()
        if folder is None:
            return 0
        with _unnumbered(accelerator):
            accelerator.load_state(str(folder))
        session.restore_random(folder)
        self._iterations = int(session.notes_in(folder)["iterations"])
        return self._iterations

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Nothing: the search knows the configuration."""

    def log(self, values: dict[str, Any], step: int | None = None, **more: Any) -> None:
        """Reports an iteration, if the values end one.

        Raises:
            TrainableError: `resume` was not called.
            SystemExit: the trial is over.
        """
        if not session.is_searching():
            return
        if self._accelerator is None:
            raise TrainableError(UNKNOWN)
        self._logged |= session.numbers(values)
        if self._metric is not None and self._metric not in values:
            return
        metrics, self._logged = self._logged, {}
        self._iterations += 1
        with session.new_folder() as folder:
            with _unnumbered(self._accelerator):
                self._accelerator.save_state(str(folder))
            session.report(metrics, folder, iterations=self._iterations)

    def finish(self) -> None:
        """Nothing: the search ends the trial."""


@contextlib.contextmanager
def _unnumbered(accelerator: accelerate.Accelerator) -> Iterator[None]:
    """States are where they are said to be in the block, not numbered below the project's folder."""
    project = accelerator.project_configuration
    before, project.automatic_checkpoint_naming = project.automatic_checkpoint_naming, False
    try:
        yield
    finally:
        project.automatic_checkpoint_naming = before
