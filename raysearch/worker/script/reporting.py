"""A report from training code, wherever it runs: in a script's process, in a trial, or by itself."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from raysearch.worker.script.shim.raysearch_line import LINE, is_open


def report(metrics: dict[str, Any], checkpoint: str | None = None) -> None:
    """Reports an iteration; returns when the training may go on. See `raysearch.report`.

    Raises:
        SystemExit: the trial is over.
    """
    if is_open():
        LINE.send({"metrics": metrics, "checkpoint": checkpoint and os.path.abspath(checkpoint)})
        return
    if "ray" in sys.modules and _is_a_trial():
        from ray import tune

        folder = tune.Checkpoint.from_directory(checkpoint) if checkpoint else None
        tune.report(metrics, checkpoint=folder)
        return
    print(json.dumps(metrics, default=str), flush=True)


def _is_a_trial() -> bool:
    """Whether a function trainable trains in this process."""
    from raysearch import ray_private

    return ray_private.function_session() is not None
