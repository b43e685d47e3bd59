"""What a framework's callback needs of the search around it: reports, checkpoints, random generators.

Outside a search, when the user calls the training function, nothing is reported and there is no checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raysearch import ray_private
from raysearch.worker import rng
from raysearch.worker.group.messages import PROCESSES

OURS = "raysearch"  # folder in a checkpoint: the random generators at its end, and notes
NOTES = "notes.json"


def is_searching() -> bool:
    """Whether this code runs in a trial of a search."""
    return ray_private.function_session() is not None


def processes() -> int:
    """How many processes train this trial together (`workers.processes`); 1 where it trains by itself."""
    return int(os.environ.get(PROCESSES, "1"))


def checkpoint_folder() -> Path | None:
    """The folder of the checkpoint to go on from; None for a fresh model, and outside a search."""
    if not is_searching():
        return None
    from ray import tune

    checkpoint = tune.get_checkpoint()
    return None if checkpoint is None else Path(checkpoint.path)


def restore_random(folder: Path) -> None:
    """Brings the random generators to where they were at the end of the checkpoint's iteration.

    Raises:
        CheckpointError: their file is torn.
    """
    rng.restore(folder / OURS)


def report(metrics: Mapping[str, Any], folder: Path, **notes: Any) -> None:
    """Reports an iteration with its checkpoint, which is moved away from `folder`.

    What is trained next draws the same random numbers, whether the search goes on here or another time.

    Args:
        metrics: of the iteration; numbers.
        folder: what the framework saved.
        notes: what `notes_in` finds in the checkpoint.

    Raises:
        SystemExit: the trial is over.
    """
    from ray import tune

    here = rng.state()
    (folder / OURS).mkdir()
    rng.save(folder / OURS)
    (folder / OURS / NOTES).write_text(json.dumps(notes), encoding="utf-8")
    try:
        tune.report(dict(metrics), checkpoint=tune.Checkpoint.from_directory(str(folder)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rng.put_back(here)


def notes_in(folder: Path) -> dict[str, Any]:
    """The notes of `report` in a checkpoint."""
    found: dict[str, Any] = json.loads((folder / OURS / NOTES).read_text(encoding="utf-8"))
    return found


@contextmanager
def new_folder() -> Iterator[Path]:
    """An empty folder, which is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="raysearch-") as folder:
        yield Path(folder)


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those of the metrics that are single numbers, as floats."""
    found = {}
    for name, value in metrics.items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError, RuntimeError):  # text, or a tensor of several values
            continue
    return found
