"""Which kind of history a file or folder holds, by its content, and its reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raysearch.errors import SpecError, unknown
from raysearch.interop.history import optuna, ray_tune, table, wandb_runs
from raysearch.interop.history.past import Asked, Past

KINDS = ("optuna", "ray", "wandb", "table")
SQLITE = b"SQLite format 3\x00"
PARQUET = b"PAR1"
Reader = Callable[[Path, Asked], Past]
EMPTY = "nothing in it: no trial has ended"


def read_past(source: Path, asked: Asked, kind: str | None = None) -> Past:
    """The history that a source holds.

    Args:
        kind: one of KINDS; None lets the content say.

    Raises:
        SpecError: it cannot be read, or needs something that was not asked for; names the option.
    """
    if kind is not None and kind not in KINDS:
        raise SpecError(f"--from: {unknown('kind of history', kind, KINDS)}")
    if not source.exists():
        raise SpecError(f"{source}: there is no such file or folder")
    try:
        past = _reader(source, kind)(source, asked)
    except OSError as error:
        raise SpecError(f"{source}: {error.strerror or error}") from None
    if not past.trials:
        why = "; ".join(f"{count} trials: {reason}" for reason, count in past.left_out.items())
        raise SpecError(f"{source}: {why or EMPTY}")
    return past


def is_study(source: Path) -> bool:
    """Whether a file is a storage of Optuna's, whose studies of one objective need no name for it."""
    if not source.is_file():
        return False
    with source.open("rb") as file:
        head = file.read(65536)
    return head.startswith(SQLITE) or "op_code" in (_first_object(head) or {})


def _reader(source: Path, kind: str | None) -> Reader:
    if source.is_dir():
        if kind in (None, "ray") and ray_tune.is_experiment(source):
            return ray_tune.read_experiment
        raise SpecError(
            f"{source} is a folder, and no experiment of Ray Tune's: it holds no result.json of a trial"
        )
    with source.open("rb") as file:
        head = file.read(65536)
    if head.startswith(SQLITE):
        return _only(source, kind, "optuna", optuna.read_sqlite)
    if head.startswith(PARQUET):
        return _read_parquet
    first = _first_object(head)
    if first is None:
        return _only(source, kind, "table", table.read_csv)
    if "op_code" in first:
        return _only(source, kind, "optuna", optuna.read_journal)
    if "config" in first or "summary" in first:
        return _only(source, kind, "wandb", wandb_runs.read_lines)
    raise SpecError(
        f"{source.name}: its lines are JSON, and neither a journal of Optuna's (op_code) nor runs of W&B "
        f"(config, summary): {', '.join(first)[:200]}"
    )


def _only(source: Path, kind: str | None, found: str, reader: Reader) -> Reader:
    if kind not in (None, found):
        raise SpecError(f"--from {kind}: {source.name} is of the kind {found!r}, by what is in it")
    return reader


def _first_object(head: bytes) -> dict[str, Any] | None:
    """The object in the first line, which may be cut; None where it is no object."""
    line = head.lstrip().split(b"\n", 1)[0]
    if not line.startswith(b"{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {name: None for name in ("op_code", "config", "summary") if f'"{name}"'.encode() in line}
    return found if isinstance(found, dict) else None


def _read_parquet(source: Path, asked: Asked) -> Past:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(source).to_pylist()
        names = pq.read_schema(source).names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SpecError(f"{source.name} cannot be read as Parquet: {error}") from None
    if "config" in names:
        return wandb_runs.read_rows(source, asked, rows)
    return table.read_rows(source, asked, names, rows)
