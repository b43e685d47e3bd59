"""The note beside a checkpoint: the iteration, configuration and cost that it was written with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.core.error_text import in_words
from raysearch.errors import CheckpointError
from raysearch.storage.paths import CHECKPOINT_META


def read_meta(folder: Path) -> dict[str, Any]:
    """What `write_meta` wrote.

    Raises:
        CheckpointError: it is gone or torn.
    """
    try:
        meta: dict[str, Any] = json.loads((folder / CHECKPOINT_META).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(in_words(error)) from error
    return meta


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Writes after which iteration and under which configuration a checkpoint was saved, and its cost.

    Into a new file: one that was linked from another checkpoint must not be written into.
    """
    (folder / CHECKPOINT_META).unlink(missing_ok=True)
    (folder / CHECKPOINT_META).write_text(_as_json(meta))


def as_read(config: Mapping[str, Any]) -> Any:
    """The configuration as `read_meta` gives it back: tuples are lists, and objects are their `repr`."""
    return json.loads(_as_json(config))


def _as_json(meta: Mapping[str, Any]) -> str:
    return json.dumps(meta, default=repr)
