"""The note beside a checkpoint: the iteration, configuration and cost that it was written with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.core.error_text import in_words
from raysearch.errors import CheckpointError
from raysearch.storage.atomic import read_text
from raysearch.storage.checked_json import from_text, to_text
from raysearch.storage.paths import CHECKPOINT_META

ENTRIES = ("iteration", "grown_s", "config", "optimizer")
MOST_ITERATIONS = 1 << 53


def read_meta(folder: Path, needed: Sequence[str] = ("iteration", "grown_s")) -> dict[str, Any]:
    """What `write_meta` wrote: `iteration`, `grown_s`, `config`, and `optimizer` where there was one.

    Args:
        needed: entries that must be there.

    Raises:
        CheckpointError: it is gone, torn, or says what no version wrote.
    """
    file = folder / CHECKPOINT_META
    try:
        meta = from_text(read_text(file))
    except PermissionError as error:
        raise CheckpointError(f"{file}: cannot be read: {error.strerror}; allow this user to") from error
    except OSError as error:
        raise CheckpointError(in_words(error)) from error
    except ValueError as error:
        raise CheckpointError(f"{file}: {in_words(error)}") from error
    if wrong := _wrong(meta, needed):
        raise CheckpointError(f"{file}: {wrong}: no version wrote that")
    return meta


def _wrong(meta: Mapping[str, Any], needed: Sequence[str]) -> str:
    """What is wrong with a note, in words; empty if nothing is."""
    if strange := [name for name in meta if name not in ENTRIES]:
        return f"it has an entry {strange[0][:40]!r}"
    if missing := [name for name in needed if name not in meta]:
        return f"it has no {missing[0]}"
    iteration, grown_s = meta.get("iteration", 0), meta.get("grown_s", 0)
    if type(iteration) is not int or not 0 <= iteration < MOST_ITERATIONS:
        return f"iteration = {str(iteration)[:40]}"
    if type(grown_s) not in (int, float) or not 0 <= grown_s < math.inf:
        return f"grown_s = {str(grown_s)[:40]}"
    if not isinstance(meta.get("config", {}), dict):
        return "config is no mapping"
    return _wrong_optimizer(meta.get("optimizer", {}))


def _wrong_optimizer(note: Any) -> str:
    if not isinstance(note, dict) or not isinstance(note.get("given", {}), dict):
        return "optimizer is no mapping with a mapping `given`"
    places = note.get("places", [])
    if not isinstance(places, list) or not all(isinstance(place, list) for place in places):
        return "optimizer.places is no list of lists"
    if not all(len(place) == 4 and type(place[1]) is int for place in places):
        return "optimizer.places does not name optimizer, group, series and name"
    return ""


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Writes after which iteration and under which configuration a checkpoint was saved, and its cost.

    Into a new file: one that was linked from another checkpoint must not be written into.
    """
    (folder / CHECKPOINT_META).unlink(missing_ok=True)
    (folder / CHECKPOINT_META).write_text(to_text(json.loads(_as_json(meta))), encoding="utf-8")


def as_read(config: Mapping[str, Any]) -> Any:
    """The configuration as `read_meta` gives it back: tuples are lists, and objects are their `repr`."""
    return json.loads(_as_json(config))


def _as_json(meta: Mapping[str, Any]) -> str:
    return json.dumps(meta, default=repr)
