"""Runs at W&B: opened with the fewest features of the client, fed row by row, checked through its Api.

The modules of this package are the only ones that import wandb; they run in the tracking process only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import wandb

from raysearch.errors import without_keys
from raysearch.tracking.rows import Feed

OPEN = 48  # runs held open at a time; the one that was not written to for the longest is finished first
PATIENCE_S = 30.0  # with the server, for each run that is opened, and for all that are finished together
SLACK_S = 10.0  # the client can wait for ever for one of many runs that it finishes
LEAN = {
    "console": "off",
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "x_file_stream_transmit_interval": 2.0,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "silent": True,
}


class Unreachable(Exception):
    """The server did not take what was sent; the text is its answer."""


class Runs:
    """Open runs of one search in one project."""

    def __init__(self, where: Mapping[str, Any], scratch: Path, patience_s: float = PATIENCE_S) -> None:
        """`where`: project, entity, group, tags. `scratch`: the client's own files."""
        self._patience_s = patience_s
        self._api: Any = None
        self._where = dict(where)
        self._scratch = scratch
        self._open: OrderedDict[str, Any] = OrderedDict()
        self.url = ""
        scratch.mkdir(parents=True, exist_ok=True)

    def open(self, run_id: str, feed: Feed, name: str) -> int:
        """Opens or goes on with a run; returns how many rows the server has of it.

        Raises:
            Unreachable: the server did not answer.
        """
        if run_id in self._open:
            self._open.move_to_end(run_id)
            return -1
        while len(self._open) >= OPEN:
            self.finish(next(iter(self._open)))
        try:
            run = wandb.init(
                id=run_id,
                name=name,
                job_type=feed.kind,
                config=feed.config,
                resume="allow",
                reinit="create_new",
                dir=str(self._scratch),
                settings=wandb.Settings(
                    **LEAN, init_timeout=self._patience_s, finish_timeout=self._patience_s
                ),
                **self._where,
            )
        except Exception as error:  # the client raises many kinds: none may end the process
            raise Unreachable(_words(error)) from error
        # Rows that step back, as after a restored checkpoint, are dropped unless they have an axis of their own.  # noqa: E501
        step = "search/hours" if feed.kind == "search" else "training_iteration"
        run.define_metric(step)
        run.define_metric("*", step_metric=step)
        self._open[run_id] = run
        self.url = run.url or self.url
        return int(run.starting_step)

    def log(self, run_id: str, row: Mapping[str, Any]) -> None:
        """Adds a row to an open run; never waits for the server."""
        self._open[run_id].log(dict(row))

    def summarise(self, run_id: str, summary: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Sets the summary and the configuration of an open run."""
        run = self._open[run_id]
        run.config.update(dict(config), allow_val_change=True)
        run.summary.update(dict(summary))

    def handle(self, run_id: str) -> Any:
        """The client's own object of an open run."""
        return self._open[run_id]

    def within(self, step: Callable[[], None], what: str) -> None:
        """Calls `step`, which asks the client for more than rows, and waits for it so long as for a finish.

        The client tries some calls again for days; one that does not return is left to the process's end.

        Raises:
            Unreachable: it did not return in time; says `what` it was for.
        """
        pool = ThreadPoolExecutor(1)
        called = pool.submit(step)
        pool.shutdown(wait=False)
        limit = self._patience_s + SLACK_S
        if not wait([called], limit).done:
            raise Unreachable(f"the client did not send {what} within {limit:g} s")
        called.result()

    def finish(self, run_id: str) -> None:
        """Waits for what was logged, at most so long as `patience_s` says."""
        self._open.pop(run_id).finish()

    def finish_all(self) -> None:
        """Finishes every open run, all at once: a server that is away costs the patience of one, not of each.

        A run that the client does not finish in time is left; we ask the server for its rows later.
        """
        pool = ThreadPoolExecutor(OPEN)
        finishing = [pool.submit(run.finish) for run in self._open.values()]
        self._open.clear()
        done, _ = wait(finishing, self._patience_s + SLACK_S)
        pool.shutdown(wait=False)
        for finished in done:
            finished.result()

    def rows_there(self, run_id: str) -> int:
        """How many rows the server has of a run, as its public Api says; 0 if it has no such run.

        Raises:
            Unreachable: the server did not answer.
        """
        path = "/".join(p for p in (self._where.get("entity"), self._where["project"], run_id) if p)
        try:
            if self._api is None:
                self._api = wandb.Api(timeout=max(1, round(self._patience_s)))
            return int(self._api.run(path).lastHistoryStep) + 1
        except ValueError:
            return 0
        except Exception as error:
            raise Unreachable(_words(error)) from error


def _words(error: BaseException) -> str:
    """The first line of an error, without keys."""
    return without_keys(str(error).strip().split("\n")[0] or type(error).__name__)
